"""Measures a model, and perhaps a baseline, on each image of a set, on all cores of a Beam worker."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import apache_beam as beam
import cv2
import numpy as np
import tensorflow as tf

from components.counters import count
from components.threads import OrderedPool, count_cpus
from modules.evaluation import overlap, surface_distance
from modules.evaluation.bootstrap import BASELINE, CANDIDATE, Floats
from modules.evaluation.measures import COLUMNS, LOWER_IS_BETTER, MEASURES, SAID
from modules.evaluation.region import columns_of_right_lung
from modules.evaluation.slicing import MeasuredImage
from schema import features
from schema.record import Pixels, Record, RecordError, decode
from schema.reports.evaluation import Region

READ: Final = "read"

_BATCH = 16
_MIRRORS = "HorizontalFlip"
"""The transform after which the patient's right is at the right of a copy."""
_OUTLINES = ("hd95", "hd95_px", "asd", "asd_px", "nsd")
_WORSE = np.array([1.0 if name in LOWER_IS_BETTER else -1.0 for name in MEASURES])


class MeasureError(ValueError):
    """A record or model that cannot be measured; the message names the set or the model."""


class MeasureImages(beam.PTransform):
    """Serialized records of one set in, `MeasuredImage`s out; counts what it reads in the set's namespace."""

    def __init__(self, models: Mapping[str, str], set_: str, tolerance: float, region: Region = "whole") -> None:
        """Take what to measure.

        Args:
            models: folders of SavedModels by `CANDIDATE` and, where there is one, `BASELINE`.
            set_: name of the set.
            tolerance: of the surface Dice, as a share of the image's width.
            region: the part of the images that is judged.
        """
        super().__init__()
        self._measure = _Measure(models, set_, tolerance, region)

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        """Measure images, then set copies against their originals."""
        return (
            records
            | beam.BatchElements(min_batch_size=_BATCH, max_batch_size=_BATCH)
            | beam.ParDo(self._measure)
            | beam.GroupBy(lambda image: image.original_id)
            | beam.FlatMap(lambda grouped: set_against_original(grouped[1]))
        )


def set_against_original(images: Iterable[MeasuredImage]) -> Iterator[MeasuredImage]:
    """Fill in by how much each copy is worse than its original; the images are an original and its copies."""
    images = list(images)
    originals = [image.values for image in images if not image.is_augmented]
    if len(originals) > 1:
        twice = images[0]
        raise MeasureError(
            f"set '{twice.set}': record '{twice.original_id}' is there twice: remove one and ingest the set again"
        )
    for image in images:
        drop = np.full_like(image.values, np.nan)
        if image.is_augmented and originals:
            drop[:, : len(MEASURES)] = _WORSE * (image.values - originals[0])[:, : len(MEASURES)]
        yield image._replace(values=np.concatenate([image.values, drop]))


class _Measure(beam.DoFn):
    """TensorFlow predicts a batch on all cores; then threads measure outlines, for OpenCV releases the GIL."""

    def __init__(self, models: Mapping[str, str], set_: str, tolerance: float, region: Region) -> None:
        self._models = models
        self._set = set_
        self._tolerance = tolerance
        self._region = region

    def setup(self) -> None:
        cv2.setNumThreads(1)
        self._loaded = {name: _load(name, folder) for name, folder in self._models.items()}
        self._pool = OrderedPool(count_cpus(), _BATCH)

    def process(self, batch: list[bytes]) -> Iterator[MeasuredImage]:
        count(None, self._set, READ, len(batch))
        records = list(self._pool.map(self._decode, batch))
        of_models = []
        for name in (CANDIDATE, BASELINE):
            if name in self._loaded:
                answers = self._loaded[name].signatures["evaluate"](examples=tf.constant(batch))
                of_models.append(self._values(records, {name: answer.numpy() for name, answer in answers.items()}))
        values = np.stack(of_models, axis=1)
        for record, measured in zip(records, values, strict=True):
            yield _describe(self._set, record, measured)

    def teardown(self) -> None:
        self._pool.close()

    def _decode(self, serialized: bytes) -> Record:
        try:
            return decode(serialized)
        except RecordError as error:
            raise MeasureError(f"set '{self._set}': {error}") from error

    def _values(self, records: list[Record], answers: dict[str, Any]) -> Floats:
        """Measure the masks of a batch; float64 [batch, len(COLUMNS)]."""
        unknown = set() if "expected_dice" in answers else set(SAID)
        masks = list(self._pool.map(self._cut_masks, records, answers["mask_png"]))
        if self._region != "whole":
            unknown.add("brier")  # the model gives that of the whole image alone
            answers = answers | _count(masks)._asdict()
            if "expected_dice_of_sides" in answers:
                sides = [0 if _has_right_at_left(record) else 1 for record in records]
                answers["expected_dice"] = answers["expected_dice_of_sides"][np.arange(len(records)), sides]
            else:
                unknown |= {"expected_dice", "expected_dice_error"}
        counts = overlap.Counts(*[answers[name] for name in overlap.Counts._fields])
        ratios = {name: np.asarray(ratio(counts)) for name, ratio in overlap.OVERLAP.items()}
        widths = [record.mask.shape[1] for record in records]
        outlines = np.array(list(self._pool.map(self._measure_outlines, masks, widths)))
        by_name = {**answers, **ratios, **dict(zip(_OUTLINES, outlines.T, strict=True))}
        if "expected_dice" in answers:
            by_name["expected_dice_error"] = np.abs(answers["expected_dice"] - ratios["dice"])
        by_name |= dict.fromkeys(unknown, np.full(len(records), np.nan))
        values = np.stack([by_name[name] for name in COLUMNS], axis=-1).astype(np.float64)
        needed = [name not in unknown for name in COLUMNS]
        for record, measured in zip(records, values, strict=True):
            if not np.isfinite(measured[needed]).all():
                raise MeasureError(
                    f"set '{self._set}': record '{record.image_id}' has no finite figures: the model answers with NaN"
                )
        return values

    def _cut_masks(self, record: Record, mask_png: bytes) -> tuple[Pixels, Pixels]:
        """Return the true and the predicted mask of the region."""
        predicted = np.asarray(cv2.imdecode(np.frombuffer(mask_png, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
        if self._region == "whole":
            return record.mask, predicted
        columns = columns_of_right_lung(record.mask, right_at_left=_has_right_at_left(record))
        return record.mask[:, columns], predicted[:, columns]

    def _measure_outlines(self, masks: tuple[Pixels, Pixels], width: int) -> tuple[float, ...]:
        distances = surface_distance.surface_distances(*masks)
        hd95, asd = surface_distance.hausdorff_95(distances), surface_distance.average_surface_distance(distances)
        nsd = surface_distance.surface_dice(distances, self._tolerance * width)
        return hd95 / width, hd95, asd / width, asd, nsd


def _has_right_at_left(record: Record) -> bool:
    """Return whether the patient's right is at the image's left."""
    return _MIRRORS not in record.augmentation.split(features.TRANSFORM_SEPARATOR)


def _count(masks: Iterable[tuple[Pixels, Pixels]]) -> overlap.Counts:
    """Count the pixels of true and predicted masks, which may be of several sizes."""
    counted = [overlap.count(*[mask[np.newaxis, ..., np.newaxis] > 0 for mask in pair]) for pair in masks]
    return overlap.Counts(
        *[np.concatenate([np.asarray(part) for part in parts]) for parts in zip(*counted, strict=True)]
    )


def _load(name: str, folder: str) -> Any:
    loaded = tf.saved_model.load(folder)
    signature = loaded.signatures.get("evaluate")
    needed = {*overlap.Counts._fields, "brier", "mask_png"}
    if signature is None or not needed <= set(signature.structured_outputs):
        raise MeasureError(
            f"the {name} model has no signature 'evaluate' that gives {', '.join(sorted(needed))}: it was exported by "
            "another version of lungseg; start a new root, or put a model of this version back with `lungseg promote`"
        )
    return loaded


def _describe(set_: str, record: Record, values: Floats) -> MeasuredImage:
    return MeasuredImage(
        set=set_,
        image_id=record.image_id,
        original_id=record.original_id,
        patient_id=record.patient_id,
        source=record.source,
        finding=record.finding,
        view=record.view,
        sex=record.sex,
        age=record.age,
        is_augmented=record.is_augmented,
        augmentation=record.augmentation,
        lung_fraction=cv2.countNonZero(record.mask) / record.mask.size,
        values=values,
    )
