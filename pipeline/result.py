"""The outcome of a run: the decision and every slice, read from what the components made."""

from pathlib import Path
from typing import Any, Literal

import tensorflow_model_analysis as tfma
from tfx import types
from pydantic import BaseModel
from tensorflow_model_analysis.proto import metrics_for_slice_pb2, validation_result_pb2

from modules import metrics
from pipeline.config import Config
from pipeline.local_runner import ComponentRun

RESULT_FILE = "result.json"
OVERALL = "overall"
_BASELINE = "baseline"


class SliceResult(BaseModel):
    """The metrics of one slice of the test split."""

    slice: str
    """`overall`, or `feature:value` pairs joined by commas."""
    examples: int
    metrics: dict[str, float]


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
    policy: str
    failures: list[str]
    """Each threshold that was missed, in words."""
    slices: list[SliceResult]
    components: list[ComponentResult]

    def write(self, root: Path) -> None:
        """Writes `result.json`, whole or not at all."""
        partial = root / f".{RESULT_FILE}.partial"
        partial.write_text(self.model_dump_json(indent=1) + "\n")
        partial.replace(root / RESULT_FILE)


def collect_result(config: Config, runs: list[ComponentRun]) -> Result:
    """Puts the outcome together from the components' outputs."""
    outputs = {run.id: run.outputs for run in runs}
    evaluation = _single(outputs, "Evaluator", "evaluation")
    blessed = _single(outputs, "Evaluator", "blessing").get_int_custom_property("blessed") == 1
    version = _single(outputs, "Pusher", "pushed_model").get_string_custom_property("pushed_version")
    slices = [_slice_result(one) for one in tfma.load_metrics(evaluation.uri)]
    return Result(
        status="blessed" if blessed else "not_blessed",
        pushed_version=version or None,
        pipeline=config.name,
        data_span=_single(outputs, "Augmenter", "augmented_examples").span,
        policy=_single(outputs, "Augmenter", "augmented_examples").get_string_custom_property("policy"),
        failures=_failures(tfma.load_validation_result(evaluation.uri)),
        slices=sorted(slices, key=lambda one: (one.slice != OVERALL, one.slice.count(","), one.slice)),
        components=[ComponentResult(id=run.id, seconds=round(run.seconds, 1), cached=run.cached) for run in runs],
    )


def _single(outputs: dict[str, dict[str, list[types.Artifact]]], component_id: str, key: str) -> types.Artifact:
    (artifact,) = outputs[component_id][key]
    return artifact


def _slice_result(of: metrics_for_slice_pb2.MetricsForSlice) -> SliceResult:
    values = {
        one.key.name: one.value.double_value.value
        for one in of.metric_keys_and_values
        if one.key.model_name != _BASELINE and not one.key.is_diff
    }
    return SliceResult(
        slice=_slice_name(of.slice_key),
        examples=int(values["example_count"]),
        metrics={name: values[name] for name in metrics.PER_IMAGE},
    )


def _slice_name(key: metrics_for_slice_pb2.SliceKey) -> str:
    return ",".join(f"{one.column}:{_value(one)}" for one in key.single_slice_keys) or OVERALL


def _value(key: metrics_for_slice_pb2.SingleSliceKey) -> Any:
    value = getattr(key, key.WhichOneof("kind"))
    return value.decode() if isinstance(value, bytes) else value


def _failures(validation: validation_result_pb2.ValidationResult) -> list[str]:
    failures = []
    for of_slice in validation.metric_validations_per_slice:
        where = _slice_name(of_slice.slice_key)
        for failure in of_slice.failures:
            value = failure.metric_value.double_value.value
            threshold = failure.metric_threshold
            if threshold.HasField("change_threshold"):
                bound = threshold.change_threshold.absolute.value
                rule = f"changed by {value:+.4f} against the model blessed last, may change by {bound:+.4f}"
            else:
                rule = f"is {value:.4f}, must be at least {threshold.value_threshold.lower_bound.value:.4f}"
            failures.append(f"{failure.metric_key.name} on {where} {rule}")
    for missing in validation.missing_slices:
        named = ",".join(f"{key}:{value}" for key, value in missing.feature_values.items())
        failures.append(f"no test image falls into slice {named}, for which there is a threshold")
    return failures
