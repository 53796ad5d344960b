"""Decoding of files inside the graph, beside the ingest's."""

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from modules.preprocessing.decode import decode_grey, encoded_size
from pipeline.ingest.formats.registry import decode_image

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5

Png = Callable[[NDArray[Any]], bytes]


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes) -> NDArray[np.float32]:
    grey = decode_grey(tf.constant(data))
    assert grey.dtype == tf.float32
    assert grey.shape[2] == 1
    return grey.numpy()[..., 0]


def test_8_bit_keeps_its_values(to_png: Png) -> None:
    assert decoded(to_png(RAMP)) == pytest.approx(RAMP / 255)


@pytest.mark.parametrize(("low", "high"), [(0, 4095), (0, 65535), (1000, 1200)], ids=["12-bit", "16-bit", "narrow"])
def test_16_bit_is_stretched_to_its_own_range(to_png: Png, low: int, high: int) -> None:
    stored = np.linspace(low, high, 48).round().astype(np.uint16).reshape(6, 8)
    expected = (stored.astype(float) - low) / (high - low)
    assert decoded(to_png(stored)) == pytest.approx(expected, abs=1e-6)


def random_image(generator: np.random.Generator) -> NDArray[Any]:
    """A picture of 8 to 16 bits, perhaps with stray pixels, a marker or black surroundings."""
    height, width = generator.integers(40, 90, 2)
    smooth = cv2.GaussianBlur(generator.normal(size=(height, width)), (0, 0), 4)
    bits = int(generator.choice([3, 4, 5, 8, 10, 12, 14, 16]))
    picture = (smooth - smooth.min()) / np.ptp(smooth) * (2**bits - 1)
    image = picture.round().astype(np.uint8 if bits <= 8 else np.uint16)
    top = np.iinfo(image.dtype).max
    faults = generator.random(3) < 0.3
    if faults[0]:
        image[generator.integers(height), generator.integers(width)] = top
    if faults[1]:
        image[2:5, 3:9] = min(top, 4 * 2**bits)
    if faults[2]:
        image[:, : width // 5] = 0
    return image


def test_the_ingest_and_the_graph_read_the_same_pixels(to_png: Png) -> None:
    generator = np.random.default_rng(0)
    for image in (random_image(generator) for _ in range(200)):
        ingested = decode_image(to_png(image)).pixels
        assert np.abs(decoded(to_png(image)) * 255 - ingested).max() <= 0.51
        assert np.abs(decoded(to_png(ingested)) * 255 - ingested).max() <= 1, "as predict sends them"


@pytest.mark.parametrize("fault", ["hot pixel", "marker", "surroundings", "16 levels"])
def test_what_is_no_anatomy_does_not_move_the_stretch(to_png: Png, fault: str) -> None:
    image = np.add.outer(np.arange(200), np.arange(200)).astype(np.uint16) * 10
    clean = image / image.max()
    if fault == "hot pixel":
        image[5, 5] = 65535
    elif fault == "marker":
        image[10:20, 10:30] = 16383
    elif fault == "surroundings":
        image[:, :60] = 0
    else:
        image = (image // 250).astype(np.uint8)
    read = decoded(to_png(image))
    assert np.abs(read - clean)[30:, 60:].max() < 0.08


def test_cmyk_jpeg() -> None:
    smooth = Image.fromarray(cv2.resize(RAMP, (64, 48), interpolation=cv2.INTER_LINEAR))
    data = saved(smooth.convert("RGB").convert("CMYK"), "JPEG", quality=95)
    assert decoded(data) * 255 == pytest.approx(decode_image(data).pixels.astype(float), abs=3)


def test_an_even_16_bit_image_is_black(to_png: Png) -> None:
    assert not decoded(to_png(np.full((4, 4), 777, np.uint16))).any()


def test_colour_becomes_luminance() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]]], np.uint8)
    expected = [[0.299, 0.587, 0.114, 90 / 255]]  # ITU-R BT.601
    assert decoded(saved(Image.fromarray(colours))) == pytest.approx(np.array(expected), abs=2 / 255)


def test_jpeg() -> None:
    smooth = cv2.resize(RAMP, (64, 48), interpolation=cv2.INTER_LINEAR)
    assert decoded(saved(Image.fromarray(smooth), "JPEG", quality=95)) == pytest.approx(smooth / 255, abs=4 / 255)


def test_palette() -> None:
    indices = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="P")
    indices.putpalette([0, 0, 0, 128, 128, 128, 255, 255, 255])
    assert decoded(saved(indices)) == pytest.approx(np.array([[0, 128], [255, 128]]) / 255, abs=1 / 255)


def test_1_bit() -> None:
    assert decoded(saved(Image.fromarray(RAMP > 100))) == pytest.approx((RAMP > 100).astype(float))


@pytest.mark.parametrize(("height", "width"), [(6, 8), (1, 1), (300, 7), (257, 513)])
def test_the_size_is_read_from_the_header(to_png: Png, height: int, width: int) -> None:
    pixels = np.zeros((height, width), np.uint8)
    files = {
        "png": to_png(pixels),
        "16-bit png": to_png(pixels.astype(np.uint16)),
        "colour png": saved(Image.new("RGB", (width, height))),
        "jpeg": saved(Image.fromarray(pixels), "JPEG"),
        "colour jpeg": saved(Image.new("RGB", (width, height)), "JPEG"),
        "progressive jpeg": saved(Image.fromarray(pixels), "JPEG", progressive=True),
    }
    sizes = {name: encoded_size(tf.constant(data)).numpy().tolist() for name, data in files.items()}
    assert sizes == {name: [height, width] for name in files}


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_grey(tf.constant(b"no image"))
