"""What may be wrong with one record by itself; pure functions.

>>> check_record(b"garbage", RecordValidationSettings()).outcome
Fault(reason='undecodable', detail="record 'unknown', field '(all)': is no serialized tf.train.Example")
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import cv2
import numpy as np

from components.record_validator.settings import RecordValidationSettings
from modules.grey_range import grey_range
from schema import features
from schema.record import Record, RecordError, RecordNames, StoredRecord
from schema.reports.validation import Reason

_LEVELS: Final = 256


class Fault(NamedTuple):
    """Why a record is refused, in a word and in a line."""

    reason: Reason
    detail: str


class CheckedRecord(NamedTuple):
    """The names of a record, as far as they can be read, with the record itself or what is wrong with it."""

    names: RecordNames
    outcome: Record | Fault


def check_record(serialized: bytes, settings: RecordValidationSettings) -> CheckedRecord:
    """Decode a record, and find the first fault of it that counts."""
    try:
        stored = StoredRecord(serialized)
    except RecordError as error:
        return CheckedRecord(RecordNames(), Fault("undecodable", str(error)))
    return CheckedRecord(stored.names(), _check(stored, settings))


def _check(stored: StoredRecord, settings: RecordValidationSettings) -> Record | Fault:
    try:
        record = stored.decode()
    except RecordError as error:
        return Fault("undecodable", str(error))
    for reason, find_problems in _CHECKS.items():
        if reason not in settings.ignore:
            for problem in find_problems(record, stored, settings):
                return Fault(reason, problem)
    return record


def _copy(record: Record, _stored: StoredRecord, _settings: RecordValidationSettings) -> Iterator[str]:
    if record.is_augmented:
        yield f"is a copy already, made by {record.augmentation}"


def _description(record: Record, _stored: StoredRecord, settings: RecordValidationSettings) -> Iterator[str]:
    for name in (features.WIDTH, features.HEIGHT):
        if getattr(record, name) <= 0:
            yield f"{name} must be above 0, is {getattr(record, name)}"
    if record.age != features.UNKNOWN_AGE and not 0 <= record.age <= settings.max_age:
        yield f"age must be 0-{settings.max_age:g} years, or {features.UNKNOWN_AGE:g}, is {record.age:g}"
    if record.pixel_spacing != features.UNKNOWN_SPACING and not record.pixel_spacing > 0:
        yield f"pixel_spacing must be above 0 mm, or {features.UNKNOWN_SPACING:g}, is {record.pixel_spacing:g}"
    for name in features.TEXT:
        size = len(getattr(record, name).encode())
        if size > settings.max_text:
            yield f"{name} has {size:,} bytes, at most {settings.max_text:,} are allowed"


def _size(record: Record, _stored: StoredRecord, settings: RecordValidationSettings) -> Iterator[str]:
    height, width = record.image.shape
    if min(height, width) < settings.min_side or max(height, width) > settings.max_side:
        yield f"image has {width} x {height} pixels, sides must be {settings.min_side}-{settings.max_side}"


def _constant_image(record: Record, _stored: StoredRecord, settings: RecordValidationSettings) -> Iterator[str]:
    contrast = record.fingerprint()[features.STD_INTENSITY]
    if contrast < settings.min_contrast:
        yield f"grey values hardly differ: their standard deviation is {contrast:.2g}, at least " + (
            f"{settings.min_contrast:g} is expected"
        )
    counts = np.bincount(record.image.ravel(), minlength=_LEVELS)
    black, white = grey_range(np.arange(_LEVELS), counts)
    if white - black < settings.min_grey_range * (_LEVELS - 1):
        yield f"grey values lie between {black} and {white} of 0 to {_LEVELS - 1}, but for stray pixels: at least " + (
            f"{settings.min_grey_range:g} of the range is expected"
        )


def _mask_area(record: Record, _stored: StoredRecord, settings: RecordValidationSettings) -> Iterator[str]:
    share = record.fingerprint()[features.LUNG_FRACTION]
    low, high = settings.min_lung_fraction, settings.max_lung_fraction
    if not low <= share <= high:
        yield f"lungs cover {share:.2%} of the image, {low:.3g}-{high:.3g} of it are expected"


def _components(record: Record, _stored: StoredRecord, settings: RecordValidationSettings) -> Iterator[str]:
    _, _, stats, _ = cv2.connectedComponentsWithStats(record.mask)
    areas = stats[1:, cv2.CC_STAT_AREA]  # the first is what is outside
    number = int((areas >= settings.min_component * record.mask.size).sum())
    if number > settings.max_components:
        yield f"mask is in {number} parts, at most {settings.max_components} are expected"


def _fingerprint(record: Record, stored: StoredRecord, settings: RecordValidationSettings) -> Iterator[str]:
    stored_values = stored.fingerprint()
    for name, computed in record.fingerprint().items():
        values = stored_values[name]
        if len(values) != 1:
            yield f"{name} must hold one value, holds {len(values)}"
        elif not abs(values[0] - computed) <= settings.fingerprint_tolerance:  # NaN as well
            yield f"{name} is {values[0]:.4f}, but the pixels give {computed:.4f}"


_CHECKS: Final[dict[Reason, Callable[[Record, StoredRecord, RecordValidationSettings], Iterator[str]]]] = {
    "copy": _copy,
    "description": _description,
    "size": _size,
    "constant_image": _constant_image,
    "mask_area": _mask_area,
    "components": _components,
    "fingerprint": _fingerprint,
}
