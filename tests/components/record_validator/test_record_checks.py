"""What may be wrong with one record by itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from components.record_validator.checks.record_checks import CheckedRecord, Fault, check_record
from components.record_validator.settings import RecordValidationSettings
from schema.record import Pixels, Record, RecordNames, encode

Check = Callable[..., Record | Fault]


@pytest.fixture
def checked(make_record: Callable[..., Record]) -> Check:
    """Checks a record of 40 x 40 pixels with some changes."""
    image = np.random.default_rng(3).integers(0, 256, (40, 40), np.uint8)
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 5:15] = mask[10:30, 25:35] = 255

    def do(settings: RecordValidationSettings | None = None, **changes: Any) -> Record | Fault:
        record = make_record(**{"image": image, "mask": mask, **changes})
        return check_record(encode(record), settings or RecordValidationSettings()).outcome

    return do


def _mask(area: int) -> np.ndarray:
    mask = np.zeros(1600, np.uint8)
    mask[:area] = 255
    return mask.reshape(40, 40)


def _with_a_hot_pixel() -> Pixels:
    """What a stretch from lowest to highest value makes of an image with one pixel far above the others."""
    image = np.tile(np.arange(40, dtype=np.uint8) // 2, (40, 1))
    image[3, 3] = 255
    return image


def _specks(number: int, size: int = 2) -> np.ndarray:
    mask = np.zeros((40, 40), np.uint8)
    for speck in range(number):
        y, x = divmod(speck, 8)
        mask[5 * y : 5 * y + size, 5 * x : 5 * x + size] = 255
    return mask


def test_a_sound_record_passes(checked: Check) -> None:
    assert isinstance(checked(), Record)
    assert isinstance(checked(age=0.0, pixel_spacing=0.14), Record)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"is_augmented": True, "augmentation": "Blur"},
            Fault("copy", "is a copy already, made by Blur"),
        ),
        ({"width": 0}, Fault("description", "width must be above 0, is 0")),
        ({"height": -3}, Fault("description", "height must be above 0, is -3")),
        ({"age": 131.0}, Fault("description", "age must be 0-130 years, or -1, is 131")),
        ({"age": -2.0}, Fault("description", "age must be 0-130 years, or -1, is -2")),
        ({"age": float("nan")}, Fault("description", "age must be 0-130 years, or -1, is nan")),
        ({"pixel_spacing": 0.0}, Fault("description", "pixel_spacing must be above 0 mm, or -1, is 0")),
        ({"finding": "x" * 1025}, Fault("description", "finding has 1,025 bytes, at most 1,024 are allowed")),
        (
            {"image": np.full((40, 40), 7, np.uint8)},
            Fault(
                "constant_image", "grey values hardly differ: their standard deviation is 0, at least 0.01 is expected"
            ),
        ),
        (
            {"image": _with_a_hot_pixel()},
            Fault(
                "constant_image",
                "grey values lie between 0 and 19 of 0 to 255, but for stray pixels: "
                "at least 0.1 of the range is expected",
            ),
        ),
        ({"mask": _mask(0)}, Fault("mask_area", "lungs cover 0.00% of the image, 0.02-0.65 of it are expected")),
        ({"mask": _mask(31)}, Fault("mask_area", "lungs cover 1.94% of the image, 0.02-0.65 of it are expected")),
        ({"mask": _mask(1041)}, Fault("mask_area", "lungs cover 65.06% of the image, 0.02-0.65 of it are expected")),
        ({"mask": _specks(9)}, Fault("components", "mask is in 9 parts, at most 6 are expected")),
        (
            {"image": np.eye(30, dtype=np.uint8) * 255, "mask": np.eye(30, dtype=np.uint8) * 255},
            Fault("size", "image has 30 x 30 pixels, sides must be 32-4096"),
        ),
    ],
)  # fmt: skip
def test_faults(checked: Check, changes: dict[str, Any], fault: Fault) -> None:
    assert checked(**changes) == fault
    assert checked(RecordValidationSettings(ignore=(fault.reason,)), **changes) != fault


def test_bounds_are_inclusive(checked: Check) -> None:
    for area in (32, 1040):
        assert isinstance(checked(mask=_mask(area)), Record)


def test_slices_without_lungs_may_be_right(checked: Check) -> None:
    assert isinstance(checked(RecordValidationSettings(min_lung_fraction=0), mask=_mask(0)), Record)


def test_specks_are_no_components(checked: Check) -> None:
    """Nine of four pixels each in 1,600: a quarter of a per cent each."""
    assert isinstance(checked(RecordValidationSettings(min_component=0.003), mask=_specks(9)), Record)


@pytest.mark.parametrize(("value", "text"), [(0.9, "0.9000"), (float("nan"), "nan")])
def test_a_fingerprint_of_other_pixels(make_record: Callable[..., Record], value: float, text: str) -> None:
    record = make_record()
    example = tf.train.Example.FromString(encode(record))
    example.features.feature["mean_intensity"].float_list.value[0] = value
    settings = RecordValidationSettings(min_side=1)
    assert check_record(example.SerializeToString(), settings).outcome == Fault(
        "fingerprint", f"mean_intensity is {text}, but the pixels give {record.fingerprint()['mean_intensity']:.4f}"
    )
    del example.features.feature["mean_intensity"]
    assert check_record(example.SerializeToString(), settings).outcome == Fault(
        "fingerprint", "mean_intensity must hold one value, holds 0"
    )


def test_names_are_read_as_far_as_they_can(make_record: Callable[..., Record]) -> None:
    example = tf.train.Example.FromString(encode(make_record("a", source="x")))
    del example.features.feature["patient_id"]
    example.features.feature["source"].bytes_list.value[0] = b"\xff"
    named = check_record(example.SerializeToString(), RecordValidationSettings())
    assert named.names == RecordNames("a", "unknown", "\ufffd")
    assert named.outcome == Fault("undecodable", "record 'a', field 'patient_id': is missing")
    assert check_record(b"garbage", RecordValidationSettings()) == CheckedRecord(
        RecordNames("unknown", "unknown", "unknown"),
        Fault("undecodable", "record 'unknown', field '(all)': is no serialized tf.train.Example"),
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_lung_fraction": 0.9}, "min_lung_fraction must not be above max_lung_fraction, is 0.9 and 0.65"),
        ({"min_side": 5000}, "min_side must not be above max_side, is 5000 and 4096"),
        ({"ignore": ["undecodable"]}, "ignore: records that are undecodable cannot be used"),
    ],
)
def test_settings_that_contradict_themselves(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RecordValidationSettings.model_validate(settings)
