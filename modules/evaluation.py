"""What the Evaluator measures and demands: TFMA metrics over the counts of the `evaluate` signature."""

from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from modules import metrics
from modules.settings import EvaluateSettings, SliceKey

SIGNATURE = "evaluate"

_Sum = tuple[float, int]


class PerImageMean(metric_types.Metric):
    """The mean over images of one of `metrics.PER_IMAGE`, named as there."""

    def __init__(self, name: str) -> None:
        """Takes the name of the metric."""
        super().__init__(_per_image_mean, name=name)


metric_types.register_metric(PerImageMean)


def _per_image_mean(name: str, model_names: Iterable[str] = ("",), **_: Any) -> metric_types.MetricComputations:
    computations = []
    for model_name in model_names:
        key = metric_types.MetricKey(name=name, model_name=model_name)
        computations.append(metric_types.MetricComputation(keys=[key], preprocessors=None, combiner=_Mean(key)))
    return computations


class _Mean(beam.CombineFn):
    """Sums a metric and counts images; both add up in any order and grouping."""

    def __init__(self, key: metric_types.MetricKey) -> None:
        self._key = key

    def create_accumulator(self) -> _Sum:
        return 0.0, 0

    def add_input(self, accumulator: _Sum, element: metric_types.StandardMetricInputs) -> _Sum:
        predictions = element.get_predictions(self._key.model_name)
        counts = metrics.Counts(**{name: predictions[name].item() for name in metrics.Counts._fields})
        return accumulator[0] + float(metrics.PER_IMAGE[self._key.name](counts)), accumulator[1] + 1

    def merge_accumulators(self, accumulators: Iterable[_Sum]) -> _Sum:
        totals, counts = zip(*accumulators, strict=True)
        return sum(totals), sum(counts)

    def extract_output(self, accumulator: _Sum) -> dict[metric_types.MetricKey, float]:
        total, count = accumulator
        return {self._key: total / count if count else float("nan")}


def eval_config(settings: EvaluateSettings) -> config_pb2.EvalConfig:
    """The slices, metrics and thresholds for TFX's Evaluator, candidate and baseline model."""
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(signature_name=SIGNATURE, name="candidate"),
            config_pb2.ModelSpec(signature_name=SIGNATURE, name="baseline", is_baseline=True),
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *[config_pb2.SlicingSpec(feature_keys=keys) for keys in settings.slices],
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(class_name="ExampleCount"),
                    *[_metric_config(name, settings) for name in metrics.PER_IMAGE],
                ]
            )
        ],
    )


def _metric_config(name: str, settings: EvaluateSettings) -> config_pb2.MetricConfig:
    config = config_pb2.MetricConfig(class_name=PerImageMean.__name__, module=__name__, config=f'{{"name": "{name}"}}')
    for threshold in settings.thresholds:
        if threshold.metric == name:
            at_least = config_pb2.GenericValueThreshold(lower_bound={"value": threshold.at_least})
            config.per_slice_thresholds.append(
                _bound(threshold.slice, config_pb2.MetricThreshold(value_threshold=at_least))
            )
    if name == "dice_mean":
        change = config_pb2.GenericChangeThreshold(
            absolute={"value": -settings.max_regression}, direction=config_pb2.HIGHER_IS_BETTER
        )
        # Of the overall slice alone: a plain `threshold` would hold for every slice, however few its images.
        config.per_slice_thresholds.append(_bound({}, config_pb2.MetricThreshold(change_threshold=change)))
    return config


def _bound(
    slice_values: Mapping[SliceKey, str | int], threshold: config_pb2.MetricThreshold
) -> config_pb2.PerSliceMetricThreshold:
    spec = config_pb2.SlicingSpec(feature_values={key: str(value) for key, value in slice_values.items()})
    return config_pb2.PerSliceMetricThreshold(slicing_specs=[spec], threshold=threshold)
