"""Encoding and decoding of records: nothing is lost, and every breach of the contract is named."""

import dataclasses
import re
import subprocess
import sys
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.example import example_pb2

from schema import features
from schema.example import Example
from schema.record import Pixels, Record, RecordError, RecordNames, StoredRecord, decode, encode

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
FLOATS_32 = st.floats(-1, 130, width=32)


@st.composite
def pixel_pairs(draw: st.DrawFn) -> tuple[Pixels, Pixels]:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))
    image = draw(hnp.arrays(np.uint8, shape))
    mask = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 255])))
    return image, mask


@st.composite
def records(draw: st.DrawFn) -> Record:
    image, mask = draw(pixel_pairs())
    texts: dict[str, Any] = {name: draw(TEXTS) for name in features.TEXT if name != features.AUGMENTATION}
    augmentation = draw(st.sampled_from(["none", "Affine", "Affine+GaussNoise"]))
    return Record(
        image=image,
        mask=mask,
        width=draw(st.integers(1, 2**40)),
        height=draw(st.integers(1, 2**40)),
        age=draw(FLOATS_32),
        is_augmented=augmentation != "none",
        augmentation=augmentation,
        **texts,
    )


def record(**changes: Any) -> Record:
    valid = Record(
        image=np.array([[0, 51], [102, 255]], np.uint8),
        mask=np.array([[0, 255], [0, 0]], np.uint8),
        image_id="a",
        patient_id="p1",
        source="clinic",
        width=2000,
        height=1800,
    )
    return dataclasses.replace(valid, **changes)


def example(**changes: list[Any] | None) -> example_pb2.Example:
    """A valid example with some features changed; None removes one, an empty list leaves it without a kind."""
    message = example_pb2.Example.FromString(encode(record()))
    for name, values in changes.items():
        del message.features.feature[name]
        if values is None:
            continue
        feature = message.features.feature[name]
        feature.SetInParent()
        for value in values:
            kind = {bytes: "bytes_list", int: "int64_list", float: "float_list"}[type(value)]
            getattr(feature, kind).value.append(value)
    return message


def whole(message: str) -> str:
    """A pattern that matches this message and no other."""
    return f"^{re.escape(message)}$"


def png(pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1])


@given(records())
def test_round_trip_loses_nothing(original: Record) -> None:
    restored = decode(encode(original))
    for field in dataclasses.fields(Record):
        before, after = getattr(original, field.name), getattr(restored, field.name)
        assert np.array_equal(before, after), field.name
        assert type(before) is type(after), field.name


@given(records())
def test_encoding_is_deterministic(original: Record) -> None:
    assert encode(original) == encode(decode(encode(original)))


@given(records())
def test_every_feature_is_written_once_with_its_type(original: Record) -> None:
    written = example_pb2.Example.FromString(encode(original)).features.feature
    kinds = dict.fromkeys((features.IMAGE, features.MASK, *features.TEXT), "bytes_list")
    kinds |= dict.fromkeys(features.INTEGERS, "int64_list") | dict.fromkeys(features.FLOATS, "float_list")
    assert {name: feature.WhichOneof("kind") for name, feature in written.items()} == kinds
    assert all(len(getattr(written[name], kind).value) == 1 for name, kind in kinds.items())


def test_pixels_are_8_bit_grey_png() -> None:
    written = example_pb2.Example.FromString(encode(record())).features.feature
    for name in (features.IMAGE, features.MASK):
        data = written[name].bytes_list.value[0]
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert (data[24], data[25]) == (8, 0)  # bit depth, colour type "grey"


def test_defaults_mean_unknown() -> None:
    restored = decode(encode(record()))
    assert (restored.finding, restored.view, restored.sex, restored.age) == ("unknown", "unknown", "unknown", -1.0)
    assert (restored.is_augmented, restored.augmentation) == (False, "none")


def test_fingerprint_by_hand() -> None:
    # (0 + 51 + 102 + 255) / 4 = 102; squared deviations 10404, 2601, 0, 23409 have the mean 9103.5.
    assert record().fingerprint() == {
        "mean_intensity": pytest.approx(0.4),
        "std_intensity": pytest.approx(9103.5**0.5 / 255),
        "lung_fraction": 0.25,
    }


@given(pixel_pairs())
def test_fingerprint_lies_in_the_ranges_of_the_schema(pixels: tuple[Pixels, Pixels]) -> None:
    image, mask = pixels
    fingerprint = record(image=image, mask=mask).fingerprint()
    assert tuple(fingerprint) == features.FINGERPRINT
    assert all(0 <= value <= 1 for value in fingerprint.values())
    written = example_pb2.Example.FromString(encode(record(image=image, mask=mask))).features.feature
    for name, value in fingerprint.items():
        assert written[name].float_list.value[0] == pytest.approx(value, abs=1e-6)


GREY = np.zeros((2, 2), np.uint8)

BREACHES = [
    ({"image": GREY.astype(np.float32)}, "image", "must be uint8 [height, width], is float32 [2, 2]"),
    ({"image": np.zeros((2, 2, 3), np.uint8)}, "image", "must be uint8 [height, width], is uint8 [2, 2, 3]"),
    ({"image": np.zeros((0, 2), np.uint8)}, "image", "must be uint8 [height, width], is uint8 [0, 2]"),
    ({"mask": GREY.astype(bool)}, "mask", "must be uint8 [height, width], is bool [2, 2]"),
    ({"mask": np.zeros((3, 2), np.uint8)}, "mask", "is 2 x 3, but the image is 2 x 2"),
    ({"mask": np.array([[0, 255], [7, 9]], np.uint8)}, "mask", "must hold 0 and 255 only, also holds 7"),
    ({"patient_id": ""}, "patient_id", "is empty"),
    ({"source": ""}, "source", "is empty"),
    ({"finding": ""}, "finding", "is empty"),
    ({"view": ""}, "view", "is empty"),
    ({"sex": ""}, "sex", "is empty"),
    ({"is_augmented": True, "augmentation": ""}, "augmentation", "is empty"),
    ({"is_augmented": True}, "augmentation", "is 'none', but is_augmented is 1"),
    ({"augmentation": "Affine"}, "augmentation", "is 'Affine', but is_augmented is 0"),
]


@pytest.mark.parametrize(("changes", "field", "problem"), BREACHES, ids=[problem for _, _, problem in BREACHES])
def test_a_breach_is_named(changes: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(RecordError, match=whole(f"record 'a', field '{field}': {problem}")):
        encode(record(**changes))


def test_an_original_is_not_named_as_copies_are() -> None:
    """Else the first copy of `a` and an original `a-copy1` would be one."""
    problem = "ends with '-copy12', as the names of augmented copies do: give the image another name"
    with pytest.raises(RecordError, match=whole(f"record 'a-copy12', field 'image_id': {problem}")):
        encode(record(image_id="a-copy12"))
    encode(record(image_id="a-copy12", is_augmented=True, augmentation="Affine"))
    encode(record(image_id="a-copy1-left"))


def test_a_record_without_a_name_is_refused() -> None:
    with pytest.raises(RecordError, match=r"^record '', field 'image_id': is empty$"):
        encode(record(image_id=""))


NOT_DECODABLE = [
    *[({name: None}, name, "is missing") for name in (features.IMAGE, features.WIDTH, features.AGE, features.SEX)],
    ({"image": []}, "image", "must be a bytes_list, is empty"),
    ({"image": [3]}, "image", "must be a bytes_list, is int64_list"),
    ({"image": [b"", b""]}, "image", "must hold one value, holds 2"),
    ({"image": [b""]}, "image", "cannot be decoded as an image"),
    ({"image": [b"no image"]}, "image", "cannot be decoded as an image"),
    ({"mask": [png(GREY)[:-20]]}, "mask", "cannot be decoded as an image"),
    ({"image": [png(np.zeros((2, 2, 3), np.uint8))]}, "image", "must be uint8 [height, width], is uint8 [2, 2, 3]"),
    ({"image": [png(GREY.astype(np.uint16))]}, "image", "must be uint8 [height, width], is uint16 [2, 2]"),
    ({"mask": [png(np.full((2, 2), 1, np.uint8))]}, "mask", "must hold 0 and 255 only, also holds 1"),
    ({"width": [2.0]}, "width", "must be a int64_list, is float_list"),
    ({"height": [1, 2]}, "height", "must hold one value, holds 2"),
    ({"age": [40]}, "age", "must be a float_list, is int64_list"),
    ({"is_augmented": [1]}, "augmentation", "is 'none', but is_augmented is 1"),
    ({"source": [b"\xff"]}, "source", "is no UTF-8 text"),
    ({"source": [b""]}, "source", "is empty"),
]


@pytest.mark.parametrize(
    ("changes", "field", "problem"), NOT_DECODABLE, ids=[f"{field} {problem}" for _, field, problem in NOT_DECODABLE]
)
def test_what_cannot_be_decoded_is_named(changes: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(RecordError, match=whole(f"record 'a', field '{field}': {problem}")):
        decode(example(**changes).SerializeToString())


@pytest.mark.parametrize(
    ("changes", "problem"), [({"image_id": None}, "is missing"), ({"image_id": [b"\xff"]}, "is no UTF-8 text")]
)
def test_an_unnamed_record_is_called_unknown(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecordError, match=f"^record 'unknown', field 'image_id': {problem}$"):
        decode(example(**changes).SerializeToString())


def test_other_bytes_are_refused() -> None:
    with pytest.raises(
        RecordError, match=re.escape("record 'unknown', field '(all)': is no serialized tf.train.Example")
    ):
        decode(b"these bytes are no protobuf message")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_record_or_a_record_error(data: bytes) -> None:
    with pytest.raises(RecordError):
        decode(data)


def test_names_are_read_as_far_as_they_can() -> None:
    """Of a record that cannot be decoded as well, and reading them changes nothing about it."""
    stored = StoredRecord(example(patient_id=None, source=[b"\xff"]).SerializeToString())
    assert stored.names() == RecordNames("a", "unknown", "\ufffd")
    with pytest.raises(RecordError, match=whole("record 'a', field 'patient_id': is missing")):
        stored.decode()
    assert StoredRecord(b"").names() == RecordNames("unknown", "unknown", "unknown")


def test_a_fingerprint_is_read_as_it_is_stored() -> None:
    stored = StoredRecord(example(mean_intensity=[0.5, 0.25], lung_fraction=None).SerializeToString())
    assert stored.fingerprint() == {
        "mean_intensity": [0.5, 0.25],
        "std_intensity": [pytest.approx(record().fingerprint()["std_intensity"])],
        "lung_fraction": [],
    }


def test_a_record_error_is_a_value_error() -> None:
    assert issubclass(RecordError, ValueError)


@given(records())
def test_the_bytes_are_those_of_tensorflow(record: Record) -> None:
    serialized = encode(record)
    assert example_pb2.Example.FromString(serialized).SerializeToString(deterministic=True) == serialized
    assert Example.FromString(serialized).SerializeToString(deterministic=True) == serialized


def test_a_record_needs_no_tensorflow() -> None:
    code = "import sys, schema.record; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
