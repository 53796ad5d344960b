"""The runs under a root, as their metadata tell of them: what `lungseg history` lists.

    >>> [(run.started, run.status) for run in read_history(Path("lungseg-run"))]
    [('2026-03-01T09:30+01:00', 'blessed')]

Names of TFX's nodes are repeated here: importing what wrote them takes TFX, a quarter of a minute.
"""

import datetime
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from ml_metadata.proto import metadata_store_pb2
from rich.console import Console
from rich.table import Table

from pipeline.errors import UserError
from pipeline.root import STUDY_SUFFIX
from pipeline.store import Node, has_store, open_store, read_runs
from schema.reports.base import Report, ReportFileError
from schema.reports.blessing import BlessingDecision
from schema.reports.evaluation import Evaluation
from schema.reports.study import ArmComparison

ReportT = TypeVar("ReportT", bound=Report)

Kind = Literal["run", "study"]
Status = Literal["blessed", "not_blessed", "unchanged", "done", "failed", "unfinished"]

_DECIDING: Final[dict[Kind, frozenset[str]]] = {
    "run": frozenset({"Pusher"}),
    # Studies of before there were arms end with the Evaluator.
    "study": frozenset({"StudyComparison", "Evaluator"}),
}
"""The nodes, after one of which the outcome is known."""
_EVALUATION: Final = ("Evaluator", "evaluation")
_COMPARISON: Final = ("StudyComparison", "comparison")
"""The artifacts that tell figures."""
_SHORT = 8


@dataclass(frozen=True)
class Run:
    """One run or study; None where it is not known, or no more."""

    started: str
    """Local time with its offset, to the minute, as ISO 8601."""
    pipeline: str | None
    kind: Kind
    span: int | None
    """The newest of `spans`."""
    spans: list[int] | None
    """Those that were read, rising."""
    policy: str | None
    policy_hash: str | None
    dice_originals: float | None
    """Mean Dice, 0-1, on originals of the test split; of a study, that of its first arm."""
    dice_copies: float | None
    """Mean Dice, 0-1, on their augmented copies."""
    status: Status
    """A study is `done` rather than `blessed`; an `unchanged` run would have made the model that serves once more;
    `unfinished` runs were cut off, or go on."""
    reason: str | None
    """Of `not_blessed`, the first rule that was broken, or `serving probe`; of `failed`, the component; of `done`, what
    the study found."""
    version: str | None
    """What the model is called in the serving folder, if it was pushed; of an `unchanged` run, the one that serves."""


def read_history(root: Path) -> list[Run]:
    """List the runs and studies under a root, the oldest first. Change nothing there.

    Args:
        root: What was given to `lungseg run` or `lungseg study`.

    Raises:
        UserError: There are no runs, or their metadata cannot be read.
    """
    found = _read_runs(root)
    if not found:
        raise UserError(f"'{root}' holds no runs: make one with `lungseg run --root {root}`")
    return [describe(started, nodes) for started, nodes in found]


def read_training_seconds(root: Path) -> dict[str, float]:
    """Return how long the trainings of studies under a root took, seconds, by the id of the Trainer.

    What was cleaned away is left out, since it would be trained anew.

    Raises:
        UserError: Their metadata cannot be read.
    """
    made = {
        node.id: node.outputs["model"]
        for _, nodes in _read_runs(root)
        for node in nodes
        if node.id.startswith("Trainer-") and node.state == metadata_store_pb2.Execution.COMPLETE
    }
    live = metadata_store_pb2.Artifact.LIVE
    return {id_: model.custom_properties["seconds"].double_value for id_, model in made.items() if model.state == live}


def show_history(console: Console, runs: Iterable[Run]) -> None:
    """Print a table of runs, a row each."""
    table = Table(title="Runs, with Dice on originals and on copies of the test set", title_justify="left")
    for name in ("started", "spans", "policy", "originals", "copies", "version", "outcome"):
        number = name in {"spans", "originals", "copies", "version"}
        table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for run in runs:
        policy = f"{run.policy} {(run.policy_hash or '')[:_SHORT]}".rstrip() if run.policy else None
        spans = ", ".join(map(str, run.spans)) if run.spans else None
        cells = (spans, policy, _rounded(run.dice_originals), _rounded(run.dice_copies), run.version)
        shown = ["-" if cell is None else str(cell) for cell in cells]
        table.add_row(f"{datetime.datetime.fromisoformat(run.started):%Y-%m-%d %H:%M}", *shown, _outcome(run))
    console.print(table)


def to_json(runs: Iterable[Run]) -> str:
    """Return the runs as a JSON list of objects with the fields of `Run`."""
    return json.dumps([asdict(run) for run in runs], indent=1)


def _rounded(dice: float | None) -> str | None:
    return None if dice is None else f"{dice:.4f}"


def _outcome(run: Run) -> str:
    words: dict[Status, str | None] = {
        "not_blessed": run.reason or "not blessed",
        "done": run.reason,
        "failed": f"failed in {run.reason}",
    }
    said = (run.kind if run.kind == "study" else None, words.get(run.status, run.status))
    return ": ".join(word for word in said if word)


def _read_runs(root: Path) -> list[tuple[datetime.datetime, list[Node]]]:
    if not has_store(root):
        return []
    with open_store(root) as store:
        return read_runs(store)


def describe(started: datetime.datetime, nodes: Sequence[Node]) -> Run:
    """Tell of a run what its nodes, as `pipeline.store.read_runs` has them, show of it."""
    pipeline = nodes[0].pipeline if nodes else None
    kind: Kind = "study" if pipeline and pipeline.endswith(STUDY_SUFFIX) else "run"
    made = {(node.id, key): artifact for node in nodes for key, artifact in node.outputs.items()}
    augmented = made.get(("Augmenter", "augmented_examples"))
    dice = _dice(made)
    # Runs of before several spans could be read have it under TFX's own name.
    examples = made.get(("ExampleGen", "examples")) or made.get(("ImportExampleGen", "examples"))
    changes, pushed = made.get(("ChangeDetector", "changes")), made.get(("Pusher", "pushed_model"))
    spans = _spans(examples or changes)
    status, reason = ("unchanged", None) if _number(changes, "unchanged") == 1 else _judge(kind, nodes, made)
    return Run(
        started=started.isoformat(timespec="minutes"),
        pipeline=pipeline,
        kind=kind,
        span=spans[-1] if spans else None,
        spans=spans,
        policy=_text(augmented, "policy"),
        policy_hash=_text(augmented, "policy_hash"),
        dice_originals=dice.get("is_augmented:0"),
        dice_copies=dice.get("is_augmented:1"),
        status=status,
        reason=reason,
        version=_text(changes, "version") if status == "unchanged" else _text(pushed, "pushed_version"),
    )


def _judge(
    kind: Kind, nodes: Sequence[Node], made: dict[tuple[str, str], metadata_store_pb2.Artifact]
) -> tuple[Status, str | None]:
    states = metadata_store_pb2.Execution
    failed = next((node.id for node in nodes if node.state == states.FAILED), None)
    if failed:
        return "failed", failed
    done = {node.id for node in nodes if node.state in (states.COMPLETE, states.CACHED)}
    if len(done) < len(nodes) or not _DECIDING[kind] & done:
        return "unfinished", None
    if kind == "study":
        comparison = _read(ArmComparison, made.get(_COMPARISON))
        return "done", comparison.headline if comparison else None
    blessing = made.get(("Evaluator", "blessing"))
    if _number(blessing, "blessed") != 1:
        return "not_blessed", _broken_rule(blessing)
    # Runs of before there was a probe have been served without.
    if "ServingProbe" in done and _number(made.get(("ServingProbe", "infra_blessing")), "blessed") != 1:
        return "not_blessed", "serving probe"
    return "blessed", None


def _dice(made: dict[tuple[str, str], metadata_store_pb2.Artifact]) -> dict[str, float]:
    """Return mean Dice by slice, where there is one."""
    evaluation, comparison = _read(Evaluation, made.get(_EVALUATION)), _read(ArmComparison, made.get(_COMPARISON))
    estimates = {slice_.slice: slice_.metrics.get("dice_mean") for slice_ in evaluation.slices} if evaluation else {}
    if comparison:
        estimates = {slice_.slice: slice_.arms[0].metrics.get("dice_mean") for slice_ in comparison.slices}
    return {name: estimate.value for name, estimate in estimates.items() if estimate and estimate.value is not None}


def _broken_rule(artifact: metadata_store_pb2.Artifact | None) -> str | None:
    decision = _read(BlessingDecision, artifact)
    broken = [rule for rule in decision.rules if not rule.passed] if decision else []
    return f"{broken[0].metric} on {broken[0].slice}: {broken[0].reason}" if broken else None


def _read(kind: type[ReportT], artifact: metadata_store_pb2.Artifact | None) -> ReportT | None:
    """Read a report of an artifact; None where it was removed, or was written by another version of this code."""
    try:
        return kind.read(artifact.uri) if artifact else None
    except (OSError, ReportFileError):
        return None


def _spans(examples: metadata_store_pb2.Artifact | None) -> list[int] | None:
    """Return the numbers of the spans that were read, rising."""
    several, newest = _text(examples, "spans"), _number(examples, "span")
    if several:
        return [int(number) for number in several.split(",")]
    return None if newest is None else [newest]


def _text(artifact: metadata_store_pb2.Artifact | None, name: str) -> str | None:
    return artifact.custom_properties[name].string_value or None if artifact else None


def _number(artifact: metadata_store_pb2.Artifact | None, name: str) -> int | None:
    return artifact.custom_properties[name].int_value if artifact else None
