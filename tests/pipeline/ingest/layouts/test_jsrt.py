"""JSRT's raw images with SCR's masks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.layouts.jsrt import JsrtSample
from pipeline.ingest.metadata import Description
from pipeline.ingest.samples import ReadOptions

LEFT, RIGHT = "masks/left lung", "masks/right lung"


@pytest.fixture
def jsrt(tmp_path: Path) -> Path:
    """Two images, white above and black below, with masks in SCR's two folds."""
    root = tmp_path / "jsrt"
    values = np.linspace(100, 4000, 2048).astype(">u2")[:, None] * np.ones(2048, ">u2")
    for stem, fold in (("JPCLN001", "fold1"), ("JPCNN002", "fold2")):
        (root / "All247images").mkdir(parents=True, exist_ok=True)
        values.astype(">u2").tofile(root / "All247images" / f"{stem}.IMG")
        for folder, columns in ((LEFT, slice(600, 900)), (RIGHT, slice(100, 400))):
            mask = np.zeros((1024, 1024), np.uint8)
            mask[200:800, columns] = 255
            path = root / fold / folder / f"{stem}.gif"
            path.parent.mkdir(parents=True)
            Image.fromarray(mask).save(path)
    return root


def sample(root: Path) -> JsrtSample:
    masks = (f"fold1/{LEFT}/JPCLN001.gif", f"fold1/{RIGHT}/JPCLN001.gif")
    description = Description("JPCLN001", "jsrt", "nodule", pixel_spacing=0.175)
    return JsrtSample(str(root), "All247images/JPCLN001.IMG", masks, "JPCLN001", description)


def test_images_and_masks_are_found(jsrt: Path, find: Callable[..., Any]) -> None:
    listing = find("jsrt", jsrt)
    assert listing.samples[0] == sample(jsrt)
    second = listing.samples[1]
    assert (second.image_id, second.description.finding) == ("JPCNN002", "normal")
    assert second.masks == (f"fold2/{LEFT}/JPCNN002.gif", f"fold2/{RIGHT}/JPCNN002.gif")
    assert listing.rejections == []


def test_an_image_is_inverted_and_its_masks_are_half_its_size(jsrt: Path) -> None:
    (record,) = sample(jsrt).read(ReadOptions(size=256))
    assert (record.width, record.height, record.pixel_spacing) == (2048, 2048, 0.175)
    assert record.image[0].max() >= 254  # the least value is white
    assert record.image[-1].min() <= 1
    assert (np.diff(record.image[:, 0].astype(int)) <= 0).all()
    assert np.count_nonzero(record.mask) == 150 * 75 * 2
    assert record.mask[100, 150] == record.mask[100, 26] == 255


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bytes(100), "has 100 bytes, not the 8388608 of 2048 x 2048 16-bit pixels"),
        (np.full(2048 * 2048, 9, ">u2").tobytes(), "is constant: every pixel is 9"),
        (
            np.full(2048 * 2048, 18 << 8, ">u2").tobytes(),
            "holds the value 4608, above the 4095 of 12 bits: is it big-endian?",
        ),
    ],
)
def test_what_is_refused(jsrt: Path, content: bytes, reason: str) -> None:
    (jsrt / "All247images" / "JPCLN001.IMG").write_bytes(content)
    with pytest.raises(ImageError) as caught:
        list(sample(jsrt).read(ReadOptions(size=32)))
    assert str(caught.value) == reason


def test_masks_of_another_size(jsrt: Path) -> None:
    mask = np.zeros((512, 1024), np.uint8)
    mask[100:200, 100:200] = 255
    Image.fromarray(mask).save(jsrt / "fold1" / LEFT / "JPCLN001.gif")
    with pytest.raises(ImageError) as caught:
        list(sample(jsrt).read(ReadOptions(size=32)))
    assert str(caught.value) == f"is 2048 x 2048, but its mask fold1/{LEFT}/JPCLN001.gif is 1024 x 512"
