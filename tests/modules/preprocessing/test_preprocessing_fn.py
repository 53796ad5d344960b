"""What Transform makes of records: what it learns, and of each image by itself."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from numpy.typing import NDArray

from modules.preprocessing.settings import Normalization
from modules.preprocessing.transform import parse_pixels
from schema import features
from schema.record import Record, encode

SIZE = 16

Transform = Callable[..., Path]


def test_pixels_of_another_size_are_refused() -> None:
    stored = tf.io.serialize_tensor(tf.zeros([8, 8, 1], tf.uint8))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[8,8,1\] is not compatible with .* \[16,16,1\]"):
        parse_pixels(stored, tf.uint8, SIZE)


def read(folder: Path) -> list[tuple[NDArray[np.float32], NDArray[np.uint8], int]]:
    """Image, mask and is_augmented of each transformed example."""
    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in (features.IMAGE, features.MASK)}
    spec[features.IS_AUGMENTED] = tf.io.FixedLenFeature([], tf.int64)
    examples = []
    for serialized in tf.data.TFRecordDataset(sorted(map(str, folder.glob("examples*.gz"))), "GZIP"):
        parsed = tf.io.parse_single_example(serialized, spec)
        image = parse_pixels(parsed[features.IMAGE], tf.float16, SIZE).numpy().astype(np.float32)
        mask = parse_pixels(parsed[features.MASK], tf.uint8, SIZE).numpy()
        examples.append((image, mask, int(parsed[features.IS_AUGMENTED])))
    return examples


def test_every_record_is_transformed(transform_graph: Path, records: list[Record]) -> None:
    transformed = read(transform_graph)
    assert len(transformed) == len(records)
    assert sorted(flag for *_, flag in transformed) == sorted(int(record.is_augmented) for record in records)
    assert {image.shape for image, *_ in transformed} == {mask.shape for _, mask, _ in transformed} == {(SIZE, SIZE, 1)}


def test_the_transformed_features(transform_graph: Path) -> None:
    spec = tft.TFTransformOutput(str(transform_graph)).transformed_feature_spec()
    assert {name: feature.dtype for name, feature in spec.items()} == {
        "image": tf.string,
        "mask": tf.string,
        "is_augmented": tf.int64,
    }


def test_originals_have_mean_0_and_variance_1(transform_graph: Path) -> None:
    originals = np.stack([image for image, _, flag in read(transform_graph) if flag == 0])
    copies = np.stack([image for image, _, flag in read(transform_graph) if flag == 1])
    assert originals.mean() == pytest.approx(0, abs=1e-3)
    assert originals.var() == pytest.approx(1, abs=2e-3)
    assert abs(copies.mean() - originals.mean()) > 0.02, "the copies are too much like the originals to tell"


def test_copies_do_not_move_what_is_learned(
    transform: Transform, transform_graph: Path, records: list[Record], tmp_path: Path
) -> None:
    originals = [record for record in records if not record.is_augmented]
    alone = transform([encode(record) for record in originals], tmp_path)

    def images(folder: Path) -> list[bytes]:
        return sorted(image.tobytes() for image, _, flag in read(folder) if flag == 0)

    assert images(alone) == images(transform_graph)


def test_masks_hold_the_share_of_lung(transform: Transform, records: list[Record], tmp_path: Path) -> None:
    # 32 x 32 halves: each output pixel covers 2 x 2 pixels; the edge at column 15 leaves half a pixel of lung.
    mask = np.zeros((32, 32), np.uint8)
    mask[:, :15] = 255
    image = np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)
    record = dataclasses.replace(records[0], image=image, mask=mask)
    ((_, transformed, _),) = read(transform([encode(record)], tmp_path))
    assert (transformed[:, :6] == 255).all()
    assert (transformed[:, 9:] == 0).all()
    assert transformed.mean() / 255 == pytest.approx(15 / 32, abs=0.01)
    assert ((transformed[:, 7] > 50) & (transformed[:, 7] < 205)).all()


def test_masks_of_the_network_size_are_kept_as_they_are(
    transform: Transform, records: list[Record], tmp_path: Path
) -> None:
    draw = np.random.default_rng(4)
    mask = (draw.integers(0, 2, (SIZE, SIZE)) * 255).astype(np.uint8)
    image = draw.integers(0, 256, (SIZE, SIZE), np.uint8)
    record = dataclasses.replace(records[0], image=image, mask=mask)
    ((_, transformed, _),) = read(transform([encode(record)], tmp_path))
    assert np.array_equal(transformed[..., 0], mask)


def test_even_images_do_not_divide_by_zero(transform: Transform, records: list[Record], tmp_path: Path) -> None:
    record = dataclasses.replace(records[0], image=np.full_like(records[0].image, 90))
    ((image, _, _),) = read(transform([encode(record)], tmp_path))
    assert np.abs(image).max() < 0.01


@pytest.mark.parametrize("normalization", ["image", "percentile"])
def test_each_image_by_itself(
    transform: Transform, records: list[Record], tmp_path: Path, normalization: Normalization
) -> None:
    draw = np.random.default_rng(2)
    picture = draw.normal(120, 40, (SIZE, SIZE)).clip(1, 254).astype(np.uint8)
    part = picture[: SIZE // 2, : SIZE // 2]
    images = [picture, (picture // 2 + 90).astype(np.uint8), np.pad(part, SIZE // 4)]
    originals = [
        dataclasses.replace(records[0], image=image, mask=np.full_like(image, 255), image_id=str(number))
        for number, image in enumerate(images)
    ]
    plain, brighter, bordered = (
        image[..., 0]
        for image, _, _ in read(transform([encode(record) for record in originals], tmp_path, SIZE, normalization))
    )
    assert plain == pytest.approx(by_itself(picture, normalization), abs=5e-3)
    assert brighter == pytest.approx(plain, abs=0.05), "what is lost is the last bit of the grey values"
    within = bordered[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4]
    assert within == pytest.approx(by_itself(part, normalization), abs=5e-3)


@pytest.mark.parametrize("normalization", ["image", "percentile"])
def test_grain_that_the_network_does_not_see_counts_for_nothing(
    transform: Transform, records: list[Record], tmp_path: Path, normalization: Normalization
) -> None:
    smooth = np.kron(np.random.default_rng(3).integers(90, 160, (SIZE, SIZE)), np.ones((4, 4)))
    grain = np.tile([[60, -60], [-60, 60]], (2 * SIZE, 2 * SIZE))
    originals = [
        dataclasses.replace(records[0], image=image.astype(np.uint8), mask=np.full(image.shape, 255, np.uint8))
        for image in (smooth, smooth + grain)
    ]
    (plain, *_), (grainy, *_) = read(transform([encode(r) for r in originals], tmp_path, SIZE, normalization))
    within = np.s_[1:-1, 1:-1]  # at the rim half a grain is left
    assert grainy[within] == pytest.approx(plain[within], abs=0.015)
    assert np.ptp(plain) > 1.9


def by_itself(picture: NDArray[np.uint8], normalization: Normalization) -> NDArray[np.float64]:
    values = picture / 255
    if normalization == "image":
        return np.asarray((values - values.mean()) / values.std())
    low, high = np.percentile(values, [1, 99], method="inverted_cdf")
    return np.asarray((2 * values - low - high) / (high - low))
