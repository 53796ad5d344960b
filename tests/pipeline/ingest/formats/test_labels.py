"""Labels of raster masks, and how they are written on the command line."""

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import UserError
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.labels import parse_labels
from pipeline.ingest.formats.masks import decode_mask

Array = NDArray[Any]
MAP = np.zeros((40, 60), np.uint8)
MAP[5:35, 5:25], MAP[5:35, 35:55], MAP[15:30, 27:33] = 1, 2, 3


def saved(pixels: Array, kind: str = "png", palette: list[int] | None = None, **options: Any) -> bytes:
    image = Image.fromarray(pixels)
    if palette:
        image.putpalette(palette)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(palette: list[int] | None = None) -> bytes:
    """Save the map upside down, with an orientation that turns it back."""
    exif = Image.Exif()
    exif[0x0112] = 3
    return saved(np.ascontiguousarray(MAP[::-1, ::-1]), palette=palette, exif=exif)


@pytest.mark.parametrize(
    ("text", "labels"), [(None, None), ("1", {1}), ("10,11,12", {10, 11, 12}), (" 1, 2 ", {1, 2}), ("2,2", {2})]
)
def test_labels_on_the_command_line(text: str | None, labels: set[int] | None) -> None:
    assert parse_labels(text) == labels


@pytest.mark.parametrize(
    ("text", "part"), [("", ""), ("1,,2", ""), ("0", "0"), ("1,-2", "-2"), ("1.5", "1.5"), ("lung", "lung"), ("²", "²")]
)
def test_what_is_no_label(text: str, part: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_labels(text)
    assert str(caught.value) == (f"--labels {text}: '{part}' is no label: write whole numbers above 0, as in 10,11,12")


WAYS: dict[str, Callable[[], bytes]] = {
    "grey": lambda: saved(MAP),
    "16 bits": lambda: saved(MAP.astype(np.uint16)),
    "TIFF": lambda: saved(MAP, "tiff"),
    "GIF": lambda: saved(MAP, "gif", [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255]),
    "palette": lambda: saved(MAP, "png", [9, 9, 9, 255, 0, 0, 9, 9, 9, 0, 0, 255]),
    "turned": turned,
    "palette, turned": lambda: turned([9, 9, 9, 255, 0, 0, 9, 9, 9, 0, 0, 255]),
    "equal channels": lambda: saved(np.repeat(MAP[..., None], 3, axis=2)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("labels", [{1}, {1, 2}, {2, 3}])
def test_chosen_labels_are_lung(way: str, labels: set[int]) -> None:
    mask = decode_mask(WAYS[way](), frozenset(labels))
    assert np.array_equal(mask, np.where(np.isin(MAP, list(labels)), 255, 0))


@pytest.mark.parametrize(
    ("data", "labels", "reason"),
    [
        (saved(MAP), {1, 7}, "has no label 7, which --labels names: it has 3 labels (1, 2, 3)"),
        (saved(MAP), {8, 9}, "has no label 8, 9, which --labels names: it has 3 labels (1, 2, 3)"),
        (saved(MAP * 0), {1}, "is empty"),
        (saved(MAP * 0 + 1), {1}, "covers the whole image"),
        (saved(MAP, "jpeg"), {1},
         "is compressed as JPEG, which does not keep labels exactly: save the label map as PNG"),
        (saved(MAP, "tiff", compression="jpeg"), {1},
         "is compressed as JPEG, which does not keep labels exactly: save the label map as PNG"),
        (saved(np.stack([MAP * 80, MAP, MAP], axis=2)), {1},
         "is in colour, so that --labels cannot choose: save the label map as grey levels"),
    ],
)  # fmt: skip
def test_label_maps_that_are_refused(data: bytes, labels: set[int], reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_mask(data, frozenset(labels))
    assert str(caught.value) == reason


def large_map(low: int, high: int) -> NDArray[np.uint8]:
    """Two lungs of a label each, round so that their edges run through all levels."""
    rows, columns = np.indices((256, 256)) / 256
    lungs = np.hypot((rows - 0.5) / 0.33, (np.abs(columns - 0.5) - 0.22) / 0.15) < 1
    return np.where(lungs, np.where(columns < 0.5, low, high), 0).astype(np.uint8)


def resaved(pixels: Array, quality: int) -> Array:
    """Bring pixels through JPEG."""
    return np.asarray(Image.open(io.BytesIO(saved(pixels, "jpeg", quality=quality))))


DAMAGES: dict[str, Callable[[Array], Array]] = {
    "JPEG 50": lambda pixels: resaved(pixels, 50),
    "JPEG 95": lambda pixels: resaved(pixels, 95),
    "enlarged": lambda pixels: cv2.resize(pixels, (700, 700), interpolation=cv2.INTER_LINEAR),
    "shrunk": lambda pixels: cv2.resize(pixels, (180, 180), interpolation=cv2.INTER_AREA),
    "cubic": lambda pixels: cv2.resize(pixels, (400, 400), interpolation=cv2.INTER_CUBIC),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("labels", [(100, 200), (10, 20)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_levels_between_labels(damage: str, labels: tuple[int, int], dtype: type) -> None:
    damaged: Array = DAMAGES[damage](large_map(*labels)).astype(dtype)
    with pytest.raises(ImageError, match=r"^is no label map: \d+\.\d% of its pixels have levels between"):
        decode_mask(saved(damaged, "tiff"), frozenset(labels))


@pytest.mark.parametrize("labels", [(1, 2), (100, 200)])
def test_thin_labels_are_not_between(labels: tuple[int, int]) -> None:
    drawn = large_map(*labels)
    lungs = drawn > 0
    drawn[cv2.morphologyEx(drawn, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0] = 255  # not to be judged
    drawn[::32] = 7
    read = decode_mask(saved(drawn), frozenset(labels))
    assert np.array_equal(read > 0, np.isin(drawn, labels))
    assert np.count_nonzero(read) > 0.8 * np.count_nonzero(lungs)
