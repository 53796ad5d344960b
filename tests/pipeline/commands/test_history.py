"""`lungseg history`: what it tells of runs that TFX recorded, and of stores that are none."""

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from loaded_modules import SLOW_TO_IMPORT, run_and_list_modules
from ml_metadata import errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import constants
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from components import artifacts
from components.augmenter.component import AugmenterSpec
from components.change_detector import executor as change_detector
from components.evaluator.component import EvaluatorSpec
from components.pusher import executor as pusher_executor
from components.pusher.component import PusherSpec
from components.serving_probe import executor as probe_executor
from components.serving_probe.component import ServingProbeSpec
from pipeline import runners as local_runner
from pipeline import store as pipeline_store
from pipeline.commands.history import Run, read_history, read_training_seconds
from pipeline.errors import ComponentError, UserError
from pipeline.gc.lineage import Artifact, mark
from pipeline.root import METADATA_FILE
from pipeline.store import open_store
from schema.reports.blessing import BlessingDecision, RuleResult
from schema.reports.estimate import Estimate
from schema.reports.evaluation import Evaluation, Slice
from schema.reports.study import Arm, ArmComparison, ArmSlice, StudySlice

Lungseg = Callable[..., tuple[int, str, str]]

HASH = "25b935022b556319"


class Unheard:
    def started(self, component_id: str) -> None:
        pass

    def ended(self, run: local_runner.ComponentRun) -> None:
        pass


@component
def ExampleGen(  # noqa: N802
    examples: OutputArtifact[standard_artifacts.Examples], span: Parameter[int], spans: Parameter[str]
) -> None:
    examples.set_int_custom_property("span", span)
    if spans:
        examples.set_string_custom_property("spans", spans)


@component
def Augmenter(  # noqa: N802
    examples: InputArtifact[standard_artifacts.Examples],
    augmented_examples: OutputArtifact[standard_artifacts.Examples],
    policy: Parameter[str],
) -> None:
    augmented_examples.set_string_custom_property("policy", policy)
    augmented_examples.set_string_custom_property("policy_hash", HASH)


def slice_of(name: str, set_: str, dice: float | None) -> Slice:
    return Slice(
        slice=name,
        set=set_,
        keys={},
        examples=12,
        patients=12,
        enough=True,
        metrics={"dice_mean": Estimate(value=dice)},
        baseline=None,
        difference=None,
    )


def rule_result(metric: str, passed: bool) -> RuleResult:
    return RuleResult(
        metric=metric, slice="overall", set="test", keys={}, kind="at_least", bound=0.95, measured=Estimate(value=0.9),
        baseline=None, passed=passed, reason="is 0.9000, must be at least 0.95",
    )  # fmt: skip


@component
def Evaluator(  # noqa: N802
    examples: InputArtifact[standard_artifacts.Examples],
    evaluation: OutputArtifact[standard_artifacts.ModelEvaluation],
    blessing: OutputArtifact[standard_artifacts.ModelBlessing],
    blessed: Parameter[int],
    problem: Parameter[str],
) -> None:
    if problem == "interrupted":
        raise KeyboardInterrupt
    if problem:
        raise ValueError(problem)
    Evaluation(
        baseline=None,
        tolerance=0.01,
        min_patients=10,
        confidence=0.95,
        slices=[
            slice_of("overall", "test", 0.91),
            slice_of("is_augmented:0", "test", 0.93),
            slice_of("is_augmented:1", "test", 0.89),
            slice_of("set:other,is_augmented:0", "other", 0.5),
        ],
    ).write(evaluation.uri)
    rules = [rule_result("iou_mean", True), rule_result("dice_mean", bool(blessed)), rule_result("dice_p5", False)]
    BlessingDecision(blessed=bool(blessed), baseline=None, rules=rules).write(blessing.uri)
    blessing.set_int_custom_property("blessed", blessed)


@component
def ServingProbe(  # noqa: N802
    blessing: InputArtifact[standard_artifacts.ModelBlessing],
    infra_blessing: OutputArtifact[standard_artifacts.InfraBlessing],
    passed: Parameter[int],
) -> None:
    infra_blessing.set_int_custom_property("blessed", passed)


@component
def Pusher(  # noqa: N802
    infra_blessing: InputArtifact[standard_artifacts.InfraBlessing],
    pushed_model: OutputArtifact[standard_artifacts.PushedModel],
    version: Parameter[str],
) -> None:
    if version:
        pushed_model.set_string_custom_property("pushed_version", version)


@component
def StudyComparison(  # noqa: N802
    blessing: InputArtifact[standard_artifacts.ModelBlessing],
    comparison: OutputArtifact[standard_artifacts.ModelEvaluation],
) -> None:
    dice = {"is_augmented:0": 0.92, "is_augmented:1": 0.87}
    ArmComparison(
        arms=[Arm(name="plain", settings={}), Arm(name="wide", settings={})], seeds=[7], folds=None, confidence=0.95,
        min_patients=10, tolerance=0.01, headline="Better than 'plain': 'wide'", shown=[],
        slices=[
            StudySlice(
                slice=name, set="test", keys={}, examples=12, patients=12, enough=True,
                arms=[ArmSlice(arm="plain", metrics={"dice_mean": Estimate(value=value)}, by_seed={}, differences={})],
            )
            for name, value in dice.items()
        ],
    ).write(comparison.uri)  # fmt: skip


def run(
    root: Path,
    *,
    name: str = "lungs",
    span: int = 1,
    spans: str = "",
    policy: str = "chest",
    blessed: bool = True,
    passed: bool = True,
    version: str = "",
    problem: str = "",
    last: str = "Pusher",
) -> None:
    """A run by TFX whose nodes and artifacts are called as the real ones, up to the node `last`."""
    example_gen = ExampleGen(span=span, spans=spans)
    augmenter = Augmenter(examples=example_gen.outputs["examples"], policy=policy)
    judge = Evaluator(examples=augmenter.outputs["augmented_examples"], blessed=int(blessed), problem=problem)
    probe = ServingProbe(blessing=judge.outputs["blessing"], passed=int(passed))
    pusher = Pusher(infra_blessing=probe.outputs["infra_blessing"], version=version)
    comparison = StudyComparison(blessing=judge.outputs["blessing"])
    nodes = [example_gen, augmenter, judge, *([comparison] if last == "StudyComparison" else [probe, pusher])]
    runner = local_runner.LocalRunner(root, Unheard())
    runner.run(
        Pipeline(
            pipeline_name=name,
            pipeline_root=str(root / "artifacts"),
            components=nodes[: [node.id for node in nodes].index(last) + 1],
            enable_cache=True,
            metadata_connection_config=runner.connection,
        )
    )


@component
def ChangeDetector(changes: OutputArtifact[standard_artifacts.ExampleAnomalies], version: Parameter[str]) -> None:  # noqa: N802
    changes.set_int_custom_property(change_detector.UNCHANGED, 1)
    changes.set_string_custom_property(change_detector.VERSION, version)
    changes.set_string_custom_property(artifacts.SPANS, "1,3")


def run_unchanged(root: Path) -> None:
    """A run that ends early, since version 4 is what it would make."""
    runner = local_runner.LocalRunner(root, Unheard())
    detector, example_gen = ChangeDetector(version="4"), ExampleGen(span=3, spans="")
    example_gen.add_upstream_node(detector)
    runner.run(
        Pipeline(
            pipeline_name="lungs",
            pipeline_root=str(root / "artifacts"),
            components=[detector, example_gen],
            metadata_connection_config=runner.connection,
        )
    )


@component
def Trainer(model: OutputArtifact[standard_artifacts.Model]) -> None:  # noqa: N802
    pass


def test_how_long_the_trainings_of_studies_took(tmp_path: Path) -> None:
    """Where it was trained, not where it was found in the cache."""
    assert read_training_seconds(tmp_path) == {}
    seconds = []
    for _ in range(2):
        runner = local_runner.LocalRunner(tmp_path, Unheard())
        runner.run(
            Pipeline(
                pipeline_name="lungs-study",
                pipeline_root=str(tmp_path / "artifacts"),
                components=[Trainer().with_id("Trainer-7-0a1b2c3d"), Trainer()],  # the second is that of a run
                enable_cache=True,
                metadata_connection_config=runner.connection,
            )
        )
        seconds += [run.seconds for run in runner.runs if run.id != "Trainer"]
        assert read_training_seconds(tmp_path) == {"Trainer-7-0a1b2c3d": pytest.approx(seconds[0], rel=1e-3)}
    assert len(seconds) == 2
    with pipeline_store.open_store(tmp_path, writes=True) as store:
        mark(store, [artifact.id for artifact in store.get_artifacts()], Artifact.DELETED)
    assert read_training_seconds(tmp_path) == {}, "what was cleaned away is trained anew"


def start_at(root: Path, *milliseconds: int) -> None:
    """Sets when the runs started, of the oldest first, in milliseconds since 1970."""
    store = sqlite3.connect(root / METADATA_FILE)
    with store:
        contexts = store.execute(
            "SELECT Context.id FROM Context JOIN Type ON type_id = Type.id WHERE Type.name = 'pipeline_run' ORDER BY 1"
        ).fetchall()
        for (context,), when in zip(contexts, milliseconds, strict=True):
            store.execute("UPDATE Context SET create_time_since_epoch = ? WHERE id = ?", (when, context))
    store.close()


@pytest.fixture(autouse=True)
def kathmandu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is five hours and 45 minutes ahead."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "NPT-5:45")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with runs of every outcome, made in another order than that of their starts."""
    root = tmp_path_factory.mktemp("recorded")
    run(root, version="4")
    run(root, version="4")  # all from the cache
    run(root, span=2, blessed=False)
    run(root, span=3, spans="1,3", passed=False)
    with pytest.raises(ComponentError):
        run(root, span=4, policy="strong", problem="the data are upside down")
    with pytest.raises(KeyboardInterrupt):
        run(root, span=5, problem="interrupted")
    run(root, span=6, last="ServingProbe")
    run(root, name="lungs-study", last="StudyComparison")
    with pytest.raises(ComponentError):
        run(root, name="lungs-study", span=2, problem="the data are upside down", last="StudyComparison")
    # 2026-03-01 18:14:59.999 and 18:15:00 UTC: midnight in Kathmandu lies between them.
    start_at(root, 1772388899999, 1772388900000, *(1772388900000 + 60000 * minute for minute in range(1, 7)), 0)
    return root


def run_of(started: str, **changes: Any) -> Run:
    usual: dict[str, Any] = {
        "pipeline": "lungs",
        "kind": "run",
        "span": 1,
        "policy": "chest",
        "policy_hash": HASH,
        "dice_originals": 0.93,
        "dice_copies": 0.89,
        "status": "blessed",
        "reason": None,
        "version": None,
    }
    spans = {"spans": [changes.get("span", usual["span"])]}
    return Run(started=f"{started}+05:45", **{**usual, **spans, **changes})


def test_an_unchanged_run(tmp_path: Path, lungseg: Lungseg) -> None:
    run_unchanged(tmp_path)
    start_at(tmp_path, 1772388900000)
    nothing = {"policy": None, "policy_hash": None, "dice_originals": None, "dice_copies": None}
    expected = run_of("2026-03-02T00:00", span=3, spans=[1, 3], status="unchanged", version="4", **nothing)
    assert read_history(tmp_path) == [expected]
    _, output, _ = lungseg("history", "--root", tmp_path)
    assert cells(output.splitlines()[-2]) == ["2026-03-02 00:00", "1, 3", "-", "-", "-", "4", "unchanged"]


UNJUDGED = {"dice_originals": None, "dice_copies": None}


def test_every_outcome(recorded: Path) -> None:
    broken = "dice_mean on overall: is 0.9000, must be at least 0.95"
    assert read_history(recorded) == [
        run_of(
            "1970-01-01T05:45",
            pipeline="lungs-study", kind="study", span=2, status="failed", reason="Evaluator", **UNJUDGED,
        ),
        run_of("2026-03-01T23:59", version="4"),
        run_of("2026-03-02T00:00", version="4"),
        run_of("2026-03-02T00:01", span=2, status="not_blessed", reason=broken),
        run_of("2026-03-02T00:02", span=3, spans=[1, 3], status="not_blessed", reason="serving probe"),
        run_of("2026-03-02T00:03", span=4, policy="strong", status="failed", reason="Evaluator", **UNJUDGED),
        run_of("2026-03-02T00:04", span=5, status="unfinished", **UNJUDGED),
        run_of("2026-03-02T00:05", span=6, status="unfinished"),
        run_of(
            "2026-03-02T00:06",
            pipeline="lungs-study", kind="study", status="done", reason="Better than 'plain': 'wide'",
            dice_originals=0.92, dice_copies=0.87,
        ),
    ]  # fmt: skip


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("│┃\n").replace("┃", "│").split("│")]


def test_the_table(lungseg: Lungseg, recorded: Path) -> None:
    code, output, errors = lungseg("history", "--root", recorded)
    assert (code, errors) == (0, "")
    title, _, head, _, *rows, _ = output.splitlines()
    assert title.strip() == "Runs, with Dice on originals and on copies of the test set"
    assert cells(head) == ["started", "spans", "policy", "originals", "copies", "version", "outcome"]
    chest, numbers = "chest 25b93502", ["0.9300", "0.8900"]
    assert [cells(row) for row in rows] == [
        ["1970-01-01 05:45", "2", chest, "-", "-", "-", "study: failed in Evaluator"],
        ["2026-03-01 23:59", "1", chest, *numbers, "4", "blessed"],
        ["2026-03-02 00:00", "1", chest, *numbers, "4", "blessed"],
        ["2026-03-02 00:01", "2", chest, *numbers, "-", "dice_mean on overall: is 0.9000, must be"],
        ["", "", "", "", "", "", "at least 0.95"],
        ["2026-03-02 00:02", "1, 3", chest, *numbers, "-", "serving probe"],
        ["2026-03-02 00:03", "4", "strong 25b93502", "-", "-", "-", "failed in Evaluator"],
        ["2026-03-02 00:04", "5", chest, "-", "-", "-", "unfinished"],
        ["2026-03-02 00:05", "6", chest, *numbers, "-", "unfinished"],
        ["2026-03-02 00:06", "1", chest, "0.9200", "0.8700", "-", "study: Better than 'plain': 'wide'"],
    ]


def test_json(lungseg: Lungseg, recorded: Path) -> None:
    code, output, errors = lungseg("history", "--root", recorded, "--json")
    assert (code, errors) == (0, "")
    listed = json.loads(output)
    assert listed[1] == {
        "started": "2026-03-01T23:59+05:45",
        "pipeline": "lungs",
        "kind": "run",
        "span": 1,
        "spans": [1],
        "policy": "chest",
        "policy_hash": HASH,
        "dice_originals": 0.93,
        "dice_copies": 0.89,
        "status": "blessed",
        "reason": None,
        "version": "4",
    }
    assert [Run(**entry) for entry in listed] == read_history(recorded)


def test_nothing_under_the_root_changes(lungseg: Lungseg, recorded: Path) -> None:
    def state() -> dict[Path, tuple[int, str]]:
        files = [path for path in recorded.rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files}

    before = state()
    lungseg("history", "--root", recorded)
    assert state() == before


@pytest.fixture
def copy(recorded: Path, tmp_path: Path) -> Callable[..., Path]:
    """A root with the same store, changed by statements."""

    def make(*statements: str) -> Path:
        root = tmp_path / "copy"
        root.mkdir()
        path = shutil.copy(recorded / METADATA_FILE, root)
        store = sqlite3.connect(path)
        with store:
            for statement in statements:
                store.execute(statement)
        store.close()
        return root

    return make


def test_what_was_removed_or_damaged_is_not_known(lungseg: Lungseg, tmp_path: Path) -> None:
    run(tmp_path, blessed=False)
    (evaluation,) = (tmp_path / "artifacts").rglob(Evaluation.FILE)
    (decision,) = (tmp_path / "artifacts").rglob(BlessingDecision.FILE)
    shutil.rmtree(decision.parent)
    (entry,) = read_history(tmp_path)
    assert (entry.status, entry.reason, entry.dice_originals) == ("not_blessed", None, 0.93)
    evaluation.write_text(evaluation.read_text()[:100])
    (two,) = read_history(tmp_path)
    assert (two.dice_originals, two.dice_copies) == (None, None)
    shutil.rmtree(tmp_path / "artifacts")
    assert read_history(tmp_path) == [two]
    row = lungseg("history", "--root", tmp_path)[1].splitlines()[-2]
    assert cells(row)[1:] == ["1", "chest 25b93502", "-", "-", "-", "not blessed"]


def test_a_slice_without_a_value(tmp_path: Path) -> None:
    run(tmp_path)
    (path,) = (tmp_path / "artifacts").rglob(Evaluation.FILE)
    slices = [slice_of("overall", "test", 0.91), slice_of("is_augmented:0", "test", None)]
    Evaluation.read(path.parent).model_copy(update={"slices": slices}).write(path.parent)
    (entry,) = read_history(tmp_path)
    assert (entry.status, entry.dice_originals, entry.dice_copies) == ("blessed", None, None)


def test_a_run_that_has_only_begun(copy: Callable[..., Path]) -> None:
    root = copy("DELETE FROM Association")
    assert {
        (entry.pipeline, entry.kind, entry.span, entry.spans, entry.policy, entry.status)
        for entry in read_history(root)
    } == {(None, "run", None, None, None, "unfinished")}


def test_an_earlier_run_of_one_span(copy: Callable[..., Path]) -> None:
    """TFX's own ExampleGen made its examples."""
    root = copy("UPDATE Context SET name = 'lungs.ImportExampleGen' WHERE name = 'lungs.ExampleGen'")
    assert [entry.span for entry in read_history(root)[1:5]] == [1, 1, 2, 3]


def test_an_earlier_run_without_a_probe(copy: Callable[..., Path]) -> None:
    """Pushed on the Evaluator's word alone."""
    root = copy(
        "DELETE FROM Association WHERE execution_id IN (SELECT execution_id FROM Association WHERE context_id IN "
        "(SELECT id FROM Context WHERE name = 'lungs.ServingProbe'))"
    )
    assert [entry.status for entry in read_history(root)[1:5]] == ["blessed", "blessed", "not_blessed", "blessed"]


EVALUATION_BEFORE_FORMATS = """{
 "baseline": null, "tolerance": 0.01, "min_patients": 10, "confidence": 0.95,
 "slices": [{"slice": "is_augmented:0", "set": "test", "keys": {"is_augmented": "0"},
   "examples": 26, "patients": 17, "enough": true,
   "metrics": {"dice_mean": {"value": 0.98, "low": 0.97, "high": 0.99}, "dice_drop": {"value": null}},
   "baseline": null, "difference": null}]
}"""
DECISION_BEFORE_FORMATS = """{
 "blessed": false, "baseline": null,
 "rules": [{"metric": "hd95", "slice": "overall", "set": "test", "keys": {}, "kind": "at_most", "bound": 0.05,
   "value": 0.06, "low": 0.05, "high": 0.07, "baseline": null, "passed": false,
   "reason": "is 0.0600, may be at most 0.05"}]
}"""


def test_an_earlier_run_whose_files_have_no_format(tmp_path: Path) -> None:
    run(tmp_path, blessed=False)
    (evaluation,) = (tmp_path / "artifacts").rglob(Evaluation.FILE)
    (decision,) = (tmp_path / "artifacts").rglob(BlessingDecision.FILE)
    evaluation.write_text(EVALUATION_BEFORE_FORMATS)
    decision.write_text(DECISION_BEFORE_FORMATS)
    (entry,) = read_history(tmp_path)
    assert (entry.dice_originals, entry.dice_copies) == (0.98, None)
    assert (entry.status, entry.reason) == ("not_blessed", "hd95 on overall: is 0.0600, may be at most 0.05")


@pytest.mark.parametrize("arguments", [(), ("--root", "elsewhere")])
def test_no_store(lungseg: Lungseg, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    root = arguments[-1] if arguments else "lungseg-run"
    expected = f"lungseg: '{root}' holds no runs: make one with `lungseg run --root {root}`\n"
    assert lungseg("history", *arguments) == (2, "", expected)
    assert list(tmp_path.iterdir()) == []


def test_a_store_without_runs(copy: Callable[..., Path]) -> None:
    root = copy("DELETE FROM Context")
    with pytest.raises(UserError) as caught:
        read_history(root)
    assert str(caught.value) == f"'{root}' holds no runs: make one with `lungseg run --root {root}`"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "UPDATE MLMDEnv SET schema_version = 99",
            "MLMD database version 99 is greater than library version 10",
        ),
        (
            "UPDATE MLMDEnv SET schema_version = 6",
            "MLMD database version 6 is older than library version 10",
        ),
    ],
)
def test_a_store_of_another_version(lungseg: Lungseg, copy: Callable[..., Path], change: str, reason: str) -> None:
    root = copy(change)
    before = (root / METADATA_FILE).read_bytes()
    expected = (
        f"lungseg: '{root}/metadata.sqlite' cannot be read: {reason}; "
        "use the version of lungseg that wrote it, or another root\n"
    )
    assert lungseg("history", "--root", root) == (2, "", expected)
    assert (root / METADATA_FILE).read_bytes() == before


def test_a_store_that_another_program_has_locked(copy: Callable[..., Path]) -> None:
    """MLMD tries for most of a minute before it says so."""
    root = copy("DELETE FROM Context")
    with pytest.raises(UserError) as caught, open_store(root):
        raise errors.AbortedError("Concurrent writes aborted after max number of retries.")
    assert str(caught.value) == (
        f"'{root}/metadata.sqlite' cannot be read: another program has locked it; start again when that has ended"
    )


KILLED_WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE Context SET name = hex(randomblob(100000))")
os.kill(os.getpid(), 9)
"""
"""Some of its change lies in the store, and the journal beside it says what was there before."""


@pytest.mark.parametrize("writes", [False, True])
def test_a_store_that_a_killed_run_was_writing(copy: Callable[..., Path], writes: bool) -> None:
    root = copy("DELETE FROM Context WHERE 0")
    before = [(run.started, run.status) for run in read_history(root)]
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(root / METADATA_FILE)], check=False)
    assert (root / f"{METADATA_FILE}-journal").stat().st_size > 0
    with open_store(root, writes=writes):
        pass
    assert [(run.started, run.status) for run in read_history(root)] == before


def test_a_store_that_a_killed_run_was_making(tmp_path: Path) -> None:
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(tmp_path / METADATA_FILE)
    metadata_store.MetadataStore(config)
    with closing(sqlite3.connect(tmp_path / METADATA_FILE)) as connection, connection:
        connection.execute("DELETE FROM Type")
    with pytest.raises(UserError, match="holds no runs: make one with "):
        read_history(tmp_path)


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    store = tmp_path / "metadata.sqlite"
    store.write_bytes(b"no database" * 100)
    with pytest.raises(UserError) as caught:
        read_history(tmp_path)
    assert str(caught.value) == (
        f"'{store}' cannot be read: file is not a database; use the version of lungseg that wrote it, or another root"
    )
    assert store.read_bytes() == b"no database" * 100
    assert list(tmp_path.iterdir()) == [store]


def test_a_database_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "metadata.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE Other (id INTEGER)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"metadata\.sqlite' cannot be read: "):
        read_history(tmp_path)
    assert path.read_bytes() == before


def test_an_empty_store(tmp_path: Path) -> None:
    """What a run leaves that was killed before it wrote anything."""
    store = tmp_path / "metadata.sqlite"
    store.touch()
    with pytest.raises(UserError) as caught:
        read_history(tmp_path)
    assert str(caught.value) == f"'{tmp_path}' holds no runs: make one with `lungseg run --root {tmp_path}`"
    assert (list(tmp_path.iterdir()), store.read_bytes()) == ([store], b"")


def test_names_are_those_of_what_wrote_them() -> None:
    assert pipeline_store._RUN_CONTEXT == constants.PIPELINE_RUN_CONTEXT_TYPE_NAME
    assert pipeline_store._NODE_CONTEXT == constants.NODE_CONTEXT_TYPE_NAME
    assert set(AugmenterSpec.OUTPUTS) == {"augmented_examples"}
    assert set(EvaluatorSpec.OUTPUTS) == {"evaluation", "blessing"}
    assert set(ServingProbeSpec.OUTPUTS) == {"infra_blessing"}
    assert set(PusherSpec.OUTPUTS) == {"pushed_model"}
    assert (artifacts.SPAN, artifacts.SPANS) == ("span", "spans")
    assert (artifacts.POLICY, artifacts.POLICY_HASH) == ("policy", "policy_hash")
    assert probe_executor.BLESSED == "blessed"
    assert pusher_executor.PUSHED_VERSION == "pushed_version"


def test_it_loads_nothing_that_takes_time(recorded: Path) -> None:
    output, modules = run_and_list_modules("history", "--root", recorded)
    assert output
    assert modules & SLOW_TO_IMPORT == {"ml_metadata"}, "which reads the store"
