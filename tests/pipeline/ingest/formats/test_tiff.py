"""TIFFs whose tags say what Pillow passes over: signs, depths, planes and pages."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.masks import decode_mask
from pipeline.ingest.formats.raster import decode_grey

GREY = np.random.default_rng(3).integers(0, 256, (40, 48), np.uint8)
DEEP = GREY.astype(np.uint16) * 16
LUNGS = np.where(np.indices(GREY.shape)[1] % 24 > 9, np.uint8(1), np.uint8(0))
LUNGS[:5] = LUNGS[-5:] = LUNGS[:, -5:] = 0


def tiff(*pages: NDArray[Any], reduced: bool = False, **options: Any) -> bytes:
    """Write pages, those behind the first flagged as reduced where told so."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, imagej=options.pop("imagej", False)) as writer:
        for number, page in enumerate(pages):
            writer.write(page, subfiletype=int(reduced and number > 0), **options)
    return file.getvalue()


def without_planes(stack: NDArray[Any], **options: Any) -> bytes:
    """Write a stack, and cut off all but its first plane, as programs do that keep the description."""
    data = tiff(stack, truncate=True, **options)
    return data[: len(data) - (len(stack) - 1) * stack[0].nbytes]


KEPT: dict[str, Callable[[], tuple[bytes, NDArray[Any]]]] = {
    "uint8": lambda: (tiff(GREY), GREY),
    "uint16": lambda: (tiff(DEEP), DEEP),
    "int8 from 0": lambda: (tiff((GREY // 2).astype(np.int8)), GREY // 2),
    "int16": lambda: (tiff(DEEP.astype(np.int16) - 2000), DEEP.astype(np.int32) - 2000),
    "int32": lambda: (tiff(DEEP.astype(np.int32) - 2000), DEEP.astype(np.int32) - 2000),
    "uint32": lambda: (tiff(DEEP.astype(np.uint32)), DEEP),
    "planar colour": lambda: (tiff(np.stack([GREY] * 3), photometric="rgb", planarconfig="separate"), GREY),
    "one plane": lambda: (tiff(GREY[None], truncate=True), GREY),
    "one plane, ImageJ": lambda: (tiff(GREY, imagej=True), GREY),
    "what is left of a stack": lambda: (without_planes(np.stack([GREY, 255 - GREY])), GREY),
    "a pyramid": lambda: (tiff(GREY, GREY[::2, ::2], reduced=True), GREY),
}


@pytest.mark.parametrize("kind", KEPT)
def test_levels_are_kept(kind: str) -> None:
    data, levels = KEPT[kind]()
    assert np.array_equal(decode_grey(data).values, levels)


BELOW_0 = "has signed 8-bit levels below 0: save it as unsigned 8-bit grey"
TOO_DEEP = "has 16 bits a channel in colour or with transparency: save it as 16-bit grey"
SEVERAL = "holds 2 pictures: save each as a file of its own"
STACK = np.stack([GREY, 255 - GREY])
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "int8": (lambda: tiff((GREY.astype(int) - 128).astype(np.int8)), BELOW_0),
    "uint32": (
        lambda: tiff(GREY.astype(np.uint32) * 2**24), "has levels above 2147483647: save it as 16-bit grey"
    ),
    "deep colour": (lambda: tiff(np.dstack([DEEP] * 3), photometric="rgb"), TOO_DEEP),
    "deep planar colour": (lambda: tiff(np.stack([DEEP] * 3), photometric="rgb", planarconfig="separate"), TOO_DEEP),
    "stack of one page, ImageJ": (lambda: tiff(STACK, imagej=True, truncate=True), SEVERAL),
    "stack of one page, tifffile": (lambda: tiff(STACK, truncate=True), SEVERAL),
    "stack of pages": (lambda: tiff(STACK), SEVERAL),
    "page as large as the first called its copy": (lambda: tiff(GREY, 255 - GREY, reduced=True), SEVERAL),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_pillow_would_misread_is_refused(kind: str) -> None:
    make, reason = REFUSED[kind]
    with pytest.raises(ImageError) as caught:
        decode_grey(make())
    assert str(caught.value) == reason


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32])
def test_masks_of_any_depth(dtype: type) -> None:
    assert np.array_equal(decode_mask(tiff(LUNGS.astype(dtype))), LUNGS * 255)
