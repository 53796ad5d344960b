"""What the Evaluator measures: images in TFMA's form, its slices and statistics, and how they are read back.

Measured images -> `to_extracts` -> TFMA with `eval_config` -> `read_evaluation`
"""

import functools
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from pydantic import BaseModel
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2

from modules.evaluation.bootstrap import BASELINE, CANDIDATE, DIFFERENCE, Estimate, Estimates, Floats, Images
from modules.evaluation.measures import STATISTICS
from modules.settings import EvaluateSettings, SliceKey
from schema import features

TEST_SET: Final = "test"
"""Name of the set of the test split; others are external."""
OVERALL: Final = "overall"
EVALUATION_FILE: Final = "evaluation.json"
IMAGES_FILE: Final = "images.csv"
"""Beside it: a row an image, with what was measured on it."""

_MODELS = (CANDIDATE, BASELINE, DIFFERENCE)
_SET = "set"
_AGE_BANDS = ((18, "under-18"), (40, "18-39"), (65, "40-64"), (np.inf, "65-and-over"))
_EXAMPLES, _PATIENTS = "examples", "patients"


class MeasuredImage(NamedTuple):
    """One image of a test set.

    Attributes:
        set: `TEST_SET`, or the name of an external one.
        original_id: of the image that a copy was made from; an original's own.
        age: years, -1 where not known.
        augmentation: `none`, or the transforms that fired, joined by `+`.
        lung_fraction: of the true mask, 0-1.
        values: float64, as `Images.add` takes them; before images are set against their originals,
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


class Slice(BaseModel):
    """The statistics of one slice of a set."""

    slice: str
    """`overall`, or `key:value` pairs joined by commas; those of an external set begin with `set:NAME`."""
    set: str
    keys: dict[SliceKey, str]
    examples: int
    patients: int
    enough: bool
    """Whether there are patients enough to judge by."""
    metrics: dict[str, Estimate]
    baseline: dict[str, Estimate] | None
    difference: dict[str, Estimate] | None
    """Candidate minus baseline, on the same images."""


class Evaluation(BaseModel):
    """What `evaluation.json` holds."""

    baseline: str | None
    """What the candidate was compared with, in words; None if with nothing."""
    tolerance: float
    min_patients: int
    confidence: float
    slices: list[Slice]

    def find(self, set_: str, keys: dict[SliceKey, str]) -> Slice | None:
        """The slice of a set with these values, if an image falls into it."""
        return next((one for one in self.slices if (one.set, one.keys) == (set_, keys)), None)


def to_extracts(image: MeasuredImage, small_lungs: float) -> dict[str, Any]:
    """One measured image as TFMA takes it; values that are not known fall into no slice.

    Args:
        image: measured.
        small_lungs: share of the image below which lungs count as small.
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
        tfma.FEATURES_KEY: {
            _SET: np.array([image.set]),
            "is_augmented": np.array([str(int(image.is_augmented))]),
            "transform": np.unique(np.array(fired, str)),
            **{key: np.array([text] if text != features.UNKNOWN else [], str) for key, text in texts.items()},
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
    """All statistics of a slice, for both models and their difference; ends of intervals as `NAME_low`, `NAME_high`."""

    def __init__(self, resamples: int, confidence: float, name: str = "image_statistics") -> None:
        """Takes what `Images.estimate` takes."""
        make = functools.partial(_image_statistics, resamples=resamples, confidence=confidence)
        super().__init__(make, name=name)


metric_types.register_metric(ImageStatistics)


def _image_statistics(resamples: int, confidence: float, **_: Any) -> metric_types.MetricComputations:
    names = [f"{name}{end}" for name in STATISTICS for end in ("", "_low", "_high")]
    keys = [metric_types.MetricKey(name=name, model_name=model) for model in _MODELS for name in names]
    keys += [metric_types.MetricKey(name=name) for name in (_EXAMPLES, _PATIENTS)]
    return [
        metric_types.MetricComputation(keys=keys, preprocessors=None, combiner=_CombineImages(resamples, confidence))
    ]


class _CombineImages(beam.CombineFn):
    """`Images` as Beam takes it."""

    def __init__(self, resamples: int, confidence: float) -> None:
        self._resamples, self._confidence = resamples, confidence

    def create_accumulator(self) -> Images:
        return Images()

    def add_input(self, accumulator: Images, element: metric_types.StandardMetricInputs) -> Images:
        predictions = element.get_predictions()
        patient, image = predictions["names"].tolist()
        return accumulator.add(patient, image, predictions["values"])

    def merge_accumulators(self, accumulators: Iterable[Images]) -> Images:
        return Images().merge(*accumulators)

    def compact(self, accumulator: Images) -> Images:
        return accumulator.compact()

    def extract_output(self, accumulator: Images) -> dict[metric_types.MetricKey, float]:
        estimates = accumulator.estimate(self._resamples, self._confidence)
        found = {metric_types.MetricKey(name=name, model_name=model): value for name, model, value in _flat(estimates)}
        found[metric_types.MetricKey(name=_EXAMPLES)] = float(len(accumulator))
        found[metric_types.MetricKey(name=_PATIENTS)] = float(accumulator.patients)
        return found


def _flat(estimates: Estimates) -> Iterator[tuple[str, str, float]]:
    for model, of_model in estimates.items():
        for name, estimate in of_model.items():
            ends = {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
            yield from ((name + end, model, value) for end, value in ends.items() if value is not None)


def eval_config(settings: EvaluateSettings) -> config_pb2.EvalConfig:
    """The slices and statistics for TFMA, those of each set apart."""
    metric = config_pb2.MetricConfig(
        class_name=ImageStatistics.__name__,
        module=__name__,
        config=f'{{"resamples": {settings.resamples}, "confidence": {settings.confidence}}}',
    )
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec()],
        slicing_specs=[config_pb2.SlicingSpec(feature_keys=[_SET, *keys]) for keys in ((), *settings.all_slices())],
        metrics_specs=[config_pb2.MetricsSpec(metrics=[metric])],
    )


def read_evaluation(folder: str, settings: EvaluateSettings, baseline: str | None) -> Evaluation:
    """Reads what TFMA wrote into a folder; the overall slice first, then by set, number of keys and name."""
    slices = [_read_slice(one, settings.min_patients) for one in tfma.load_metrics(folder)]
    return Evaluation(
        baseline=baseline,
        tolerance=settings.tolerance,
        min_patients=settings.min_patients,
        confidence=settings.confidence,
        slices=sorted(slices, key=lambda one: (one.set != TEST_SET, one.set, len(one.keys), one.slice)),
    )


def _read_slice(stored: metrics_for_slice_pb2.MetricsForSlice, min_patients: int) -> Slice:
    values: dict[str, dict[str, float]] = {}
    for one in stored.metric_keys_and_values:
        values.setdefault(one.key.model_name, {})[one.key.name] = one.value.double_value.value
    keys: dict[Any, str] = {one.column: one.bytes_value.decode() for one in stored.slice_key.single_slice_keys}
    set_ = keys.pop(_SET)
    patients = int(values[""][_PATIENTS])
    return Slice(
        slice=slice_name(set_, keys),
        set=set_,
        keys=keys,
        examples=int(values[""][_EXAMPLES]),
        patients=patients,
        enough=patients >= min_patients,
        metrics=_estimates(values[CANDIDATE]),
        baseline=_estimates(values[BASELINE]) if BASELINE in values else None,
        difference=_estimates(values[DIFFERENCE]) if DIFFERENCE in values else None,
    )


def slice_name(set_: str, keys: dict[SliceKey, str]) -> str:
    """Such as `overall`, `is_augmented:1,source:X` and `set:NAME,is_augmented:1`."""
    named = [f"{key}:{value}" for key, value in sorted(keys.items())]
    return ",".join(named if set_ == TEST_SET else [f"{_SET}:{set_}", *named]) or OVERALL


def _estimates(values: dict[str, float]) -> dict[str, Estimate]:
    return {
        name: Estimate(value=values[name], low=values.get(f"{name}_low"), high=values.get(f"{name}_high"))
        for name in STATISTICS
        if name in values
    }
