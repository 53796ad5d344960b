"""How measured images become slices with statistics: TFMA slices and merges, the bootstrap estimates.

Measured images -> `to_extracts` -> TFMA with `eval_config` -> `read_evaluation`

TFMA stays for its slicing, which Beam merges on any runner, and for its files, which its own tools read: an estimate is
a value with bounds there as well.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.api.types import StructuredMetricValue
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2

from modules.evaluation.bootstrap import BASELINE, CANDIDATE, DIFFERENCE, BootstrapAccumulator, Floats
from modules.evaluation.measures import STATISTICS
from modules.evaluation.settings import EvaluateSettings
from schema import features
from schema.reports.estimate import Estimate
from schema.reports.evaluation import SET_KEY, TEST_SET, Evaluation, Slice, SliceKey, slice_name

_MODELS: Final = (CANDIDATE, BASELINE, DIFFERENCE)
_EXAMPLES, _PATIENTS = "examples", "patients"
_FIELDS: Final = {"value": "value", "low": "lower_bound", "high": "upper_bound"}
"""Of an estimate, and of TFMA's bounded value."""
_AGE_BANDS: Final = ((18, "under-18"), (40, "18-39"), (65, "40-64"), (np.inf, "65-and-over"))


class MeasuredImage(NamedTuple):
    """One image of a test set.

    Attributes:
        set: `TEST_SET`, or the name of an external one.
        original_id: Of the image that a copy was made from; an original's own.
        age: Years, -1 where not known.
        augmentation: `none`, or the transforms that fired, joined by `+`.
        lung_fraction: Of the true mask, 0-1.
        values: float64, as `BootstrapAccumulator.add` takes them; before images are set against their originals,
            without the drops.
        The others are as in the record.
    """

    set: str
    image_id: str
    original_id: str
    patient_id: str
    source: str
    finding: str
    view: str
    sex: str
    age: float
    is_augmented: bool
    augmentation: str
    lung_fraction: float
    values: Floats


def slice_values(image: MeasuredImage, small_lungs: float) -> dict[SliceKey, list[str]]:
    """Return the values by which an image falls into slices: none of what is not known, several transforms of a copy.

    Args:
        image: Its figures are not looked at.
        small_lungs: Share of the image below which lungs count as small.
    """
    fired = image.augmentation.split(features.TRANSFORM_SEPARATOR) if image.is_augmented else []
    texts: dict[SliceKey, str] = {
        "source": image.source,
        "finding": image.finding,
        "view": image.view,
        "sex": image.sex,
        "age": next(band for end, band in _AGE_BANDS if image.age < end) if image.age >= 0 else features.UNKNOWN,
        "lungs": "small" if image.lung_fraction < small_lungs else "large",
    }
    return {
        "is_augmented": [str(int(image.is_augmented))],
        "transform": sorted(set(fired)),
        **{key: [text] if text != features.UNKNOWN else [] for key, text in texts.items()},
    }


def to_extracts(image: MeasuredImage, small_lungs: float) -> dict[str, Any]:
    """Bring one measured image into the form that TFMA takes.

    Args:
        image: Measured.
        small_lungs: As of `slice_values`.
    """
    return {
        tfma.FEATURES_KEY: {
            SET_KEY: np.array([image.set]),
            **{key: np.array(values, str) for key, values in slice_values(image, small_lungs).items()},
        },
        tfma.LABELS_KEY: np.empty(0),
        tfma.PREDICTIONS_KEY: {
            # Patients are named within a source.
            "names": np.array([f"{image.source}/{image.patient_id}", image.image_id]),
            "values": image.values,
        },
        tfma.EXAMPLE_WEIGHTS_KEY: np.ones(1),
    }


class ImageStatistics(metric_types.Metric):
    """All statistics of a slice, for both models and their difference, each with its interval."""

    def __init__(self, resamples: int, confidence: float, name: str = "image_statistics") -> None:
        """Set up the metric.

        Args:
            resamples: As of `BootstrapAccumulator.estimate`.
            confidence: As of `BootstrapAccumulator.estimate`.
            name: Of the metric.
        """
        make = functools.partial(_image_statistics, resamples=resamples, confidence=confidence)
        super().__init__(make, name=name)


metric_types.register_metric(ImageStatistics)


def _image_statistics(resamples: int, confidence: float, **_: Any) -> metric_types.MetricComputations:
    keys = [metric_types.MetricKey(name=name, model_name=model) for model in _MODELS for name in STATISTICS]
    keys += [metric_types.MetricKey(name=name) for name in (_EXAMPLES, _PATIENTS)]
    return [
        metric_types.MetricComputation(keys=keys, preprocessors=None, combiner=_CombineImages(resamples, confidence))
    ]


class _CombineImages(beam.CombineFn):
    """`BootstrapAccumulator` as Beam takes it."""

    def __init__(self, resamples: int, confidence: float) -> None:
        self._resamples, self._confidence = resamples, confidence

    def create_accumulator(self) -> BootstrapAccumulator:
        return BootstrapAccumulator()

    def add_input(
        self, accumulator: BootstrapAccumulator, element: metric_types.StandardMetricInputs
    ) -> BootstrapAccumulator:
        predictions = element.get_predictions()
        patient, image = predictions["names"].tolist()
        return accumulator.add(patient, image, predictions["values"])

    def merge_accumulators(self, accumulators: Iterable[BootstrapAccumulator]) -> BootstrapAccumulator:
        return BootstrapAccumulator().merge(*accumulators)

    def compact(self, accumulator: BootstrapAccumulator) -> BootstrapAccumulator:
        return accumulator.compact()

    def extract_output(self, accumulator: BootstrapAccumulator) -> dict[metric_types.MetricKey, Any]:
        estimates = accumulator.estimate(self._resamples, self._confidence)
        numbers: dict[metric_types.MetricKey, Any] = {
            metric_types.MetricKey(name=name, model_name=model): _BoundedValue(estimate)
            for model, by_statistic in estimates.items()
            for name, estimate in by_statistic.items()
        }
        numbers[metric_types.MetricKey(name=_EXAMPLES)] = float(len(accumulator))
        numbers[metric_types.MetricKey(name=_PATIENTS)] = float(accumulator.patients)
        return numbers


def eval_config(settings: EvaluateSettings) -> config_pb2.EvalConfig:
    """Make TFMA's configuration of the slices and statistics, those of each set apart."""
    metric = config_pb2.MetricConfig(
        class_name=ImageStatistics.__name__,
        module=__name__,
        config=f'{{"resamples": {settings.resamples}, "confidence": {settings.confidence}}}',
    )
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec()],
        slicing_specs=[config_pb2.SlicingSpec(feature_keys=[SET_KEY, *keys]) for keys in ((), *settings.all_slices())],
        metrics_specs=[config_pb2.MetricsSpec(metrics=[metric])],
    )


def read_evaluation(folder: str, settings: EvaluateSettings, baseline: str | None) -> Evaluation:
    """Read what TFMA wrote into a folder; the overall slice first, then by set, number of keys and name."""
    slices = [_read_slice(stored, settings) for stored in tfma.load_metrics(folder)]
    return Evaluation(
        baseline=baseline,
        tolerance=settings.tolerance,
        min_patients=settings.min_patients,
        confidence=settings.confidence,
        slices=sorted(slices, key=lambda slice_: (slice_.set != TEST_SET, slice_.set, len(slice_.keys), slice_.slice)),
    )


def _read_slice(stored: metrics_for_slice_pb2.MetricsForSlice, settings: EvaluateSettings) -> Slice:
    values: dict[str, dict[str, metrics_for_slice_pb2.MetricValue]] = {}
    for pair in stored.metric_keys_and_values:
        values.setdefault(pair.key.model_name, {})[pair.key.name] = pair.value
    keys: dict[Any, str] = {key.column: key.bytes_value.decode() for key in stored.slice_key.single_slice_keys}
    set_ = keys.pop(SET_KEY)
    patients = int(values[""][_PATIENTS].double_value.value)
    return Slice(
        slice=slice_name(set_, keys),
        set=set_,
        region=settings.region_of(set_),
        keys=keys,
        examples=int(values[""][_EXAMPLES].double_value.value),
        patients=patients,
        enough=patients >= settings.min_patients,
        metrics=_read_estimates(values[CANDIDATE]),
        baseline=_read_estimates(values[BASELINE]) if BASELINE in values else None,
        difference=_read_estimates(values[DIFFERENCE]) if DIFFERENCE in values else None,
    )


def _read_estimates(values: Mapping[str, metrics_for_slice_pb2.MetricValue]) -> dict[str, Estimate]:
    """Read the estimates of one model, in the order of `STATISTICS`, without those that have no value."""
    estimates = {name: _read_estimate(values[name].bounded_value) for name in STATISTICS if name in values}
    return {name: estimate for name, estimate in estimates.items() if estimate.value is not None}


def _read_estimate(stored: metrics_for_slice_pb2.BoundedValue) -> Estimate:
    return Estimate(**{name: getattr(stored, field).value for name, field in _FIELDS.items() if stored.HasField(field)})


class _BoundedValue(StructuredMetricValue):
    """An estimate in TFMA's form."""

    def __init__(self, estimate: Estimate) -> None:
        self._estimate = estimate

    def to_proto(self) -> metrics_for_slice_pb2.MetricValue:
        stored = metrics_for_slice_pb2.MetricValue()
        stored.bounded_value.SetInParent()
        for name, field in _FIELDS.items():
            number = getattr(self._estimate, name)
            if number is not None:
                getattr(stored.bounded_value, field).value = number
        return stored

    def _apply_binary_op_elementwise(
        self, other: "_BoundedValue", op: Callable[[float, float], float]
    ) -> "_BoundedValue":
        ours, theirs = (value._estimate.model_dump(exclude_none=True) for value in (self, other))
        return _BoundedValue(Estimate(**{name: op(ours[name], theirs[name]) for name in ours.keys() & theirs}))

    def _apply_binary_op_broadcast(self, other: float, op: Callable[[float, float], float]) -> "_BoundedValue":
        ours = self._estimate.model_dump(exclude_none=True)
        return _BoundedValue(Estimate(**{name: op(number, other) for name, number in ours.items()}))
