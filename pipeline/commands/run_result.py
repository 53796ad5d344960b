"""The outcome of a run: the decision and every slice, read from what the components made."""

from pathlib import Path
from typing import Literal

from tfx import types
from pydantic import BaseModel

from components.example_gen.spans import spans_of
from modules.evaluation.rules import DECISION_FILE, Decision, Judgement
from modules.evaluation.slicing import EVALUATION_FILE, Evaluation, Slice
from modules.settings import SliceKey
from pipeline.config import Config
from pipeline.runners import ComponentRun

RESULT_FILE = "result.json"
STUDY_FILE = "study.json"


class SliceResult(BaseModel):
    """The metrics of one slice of a test set."""

    slice: str
    """`overall`, or `feature:value` pairs joined by commas; those of external sets begin with `set:NAME`."""
    keys: dict[SliceKey, str]
    examples: int
    patients: int
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]


class ComponentResult(BaseModel):
    """How long a component took."""

    id: str
    seconds: float
    cached: bool


class Result(BaseModel):
    """What `result.json` holds."""

    status: Literal["blessed", "not_blessed"]
    pushed_version: str | None
    """Folder of the serving folder that holds this model."""
    pipeline: str
    data_span: int
    """The newest of `data_spans`."""
    data_spans: list[int]
    """Those that were read, rising."""
    policy: str
    failures: list[str]
    """Each rule that was broken, in words."""
    rules: list[Judgement]
    slices: list[SliceResult]
    components: list[ComponentResult]


class Study(BaseModel):
    """What `study.json` holds: a model trained with copies, and as baseline the one trained on originals only."""

    pipeline: str
    policy: str
    evaluation: Evaluation
    components: list[ComponentResult]


def collect_result(config: Config, runs: list[ComponentRun]) -> Result:
    """Puts the outcome together from the components' outputs."""
    outputs = _by_component(runs)
    evaluation = _read_evaluation(outputs)
    blessing = _single(outputs, "Evaluator", "blessing")
    decision = Decision.model_validate_json((Path(blessing.uri) / DECISION_FILE).read_text())
    probed = _single(outputs, "ServingProbe", "infra_blessing").get_int_custom_property("blessed") == 1
    version = _single(outputs, "Pusher", "pushed_model").get_string_custom_property("pushed_version")
    augmented = _single(outputs, "Augmenter", "augmented_examples")
    failures = [f"{one.metric} on {one.slice}: {one.reason}" for one in decision.rules if not one.passed]
    if not probed:
        failures.append("the exported model did not pass the serving probe; see the report")
    return Result(
        status="not_blessed" if failures else "blessed",
        pushed_version=version or None,
        pipeline=config.name,
        data_span=augmented.span,
        data_spans=spans_of(augmented),
        policy=augmented.get_string_custom_property("policy"),
        failures=failures,
        rules=decision.rules,
        slices=[_slice_result(one) for one in evaluation.slices],
        components=_components(runs),
    )


def collect_study(config: Config, runs: list[ComponentRun]) -> Study:
    """Puts a study's outcome together from the components' outputs."""
    outputs = _by_component(runs)
    augmented = _single(outputs, "Augmenter", "augmented_examples")
    return Study(
        pipeline=config.name,
        policy=augmented.get_string_custom_property("policy"),
        evaluation=_read_evaluation(outputs),
        components=_components(runs),
    )


def report_of(runs: list[ComponentRun]) -> Path:
    """The folder of the report that a run made."""
    return Path(_single(_by_component(runs), "Reporter", "report").uri)


def write_whole(path: Path, contents: BaseModel) -> None:
    """Writes a file, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(contents.model_dump_json(indent=1) + "\n")
    partial.replace(path)


_Outputs = dict[str, dict[str, list[types.Artifact]]]


def _by_component(runs: list[ComponentRun]) -> _Outputs:
    return {run.id: run.outputs for run in runs}


def _single(outputs: _Outputs, component_id: str, key: str) -> types.Artifact:
    (artifact,) = outputs[component_id][key]
    return artifact


def _read_evaluation(outputs: _Outputs) -> Evaluation:
    folder = Path(_single(outputs, "Evaluator", "evaluation").uri)
    return Evaluation.model_validate_json((folder / EVALUATION_FILE).read_text())


def _components(runs: list[ComponentRun]) -> list[ComponentResult]:
    return [ComponentResult(id=run.id, seconds=round(run.seconds, 1), cached=run.cached) for run in runs]


def _slice_result(of: Slice) -> SliceResult:
    return SliceResult(
        slice=of.slice,
        keys=of.keys,
        examples=of.examples,
        patients=of.patients,
        metrics={name: one.value for name, one in of.metrics.items() if one.value is not None},
        intervals={name: ends for name, one in of.metrics.items() if (ends := one.interval)},
    )
