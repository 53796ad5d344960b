"""Formats told apart by content, and pixels counted from the first bytes."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from medical_files import dicom_file
from numpy.typing import DTypeLike
from PIL import Image

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.extensions import stem_of
from pipeline.ingest.formats.registry import count_pixels, decode_image
from schema.record import Pixels

Save = Callable[..., Path]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_raster_images_are_decoded(image: Pixels, kind: str, dtype: DTypeLike) -> None:
    file = io.BytesIO()
    stretched = np.where(image == image.max(), 255, np.where(image == image.min(), 0, image)).astype(dtype)
    Image.fromarray(stretched).save(file, kind)
    decoded = decode_image(file.getvalue())
    assert np.array_equal(decoded.pixels, stretched)
    assert decoded.metadata is None


def test_dicom_is_decoded_with_its_metadata(image: Pixels) -> None:
    decoded = decode_image(dicom_file(image, PatientID="Miller", ViewPosition="PA"))
    assert decoded.pixels.shape == image.shape
    assert decoded.metadata is not None
    assert (decoded.metadata.patient_id, decoded.metadata.view) == ("Miller", "PA")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no readable PNG, JPEG or TIFF"),
        (b"no image", "is no readable PNG, JPEG or TIFF"),
        (b"GIF89a" + bytes(40), "is no readable PNG, JPEG or TIFF"),
        (bytes(128) + b"DICM", "has no known transfer syntax"),
    ],
)
def test_what_is_no_image(content: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(content)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("name", "channels"), [("a.png", 0), ("a.png", 3), ("a.jpg", 0), ("a.tif", 0), ("a.tif", 4), ("a.gif", 0)]
)
def test_pixels_are_counted_from_the_header(save: Save, name: str, channels: int) -> None:
    shape = (30, 50, channels) if channels else (30, 50)
    path = save(name, np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    assert count_pixels(path.read_bytes()) == 1500


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", bytes(128) + b"DICM"])
def test_pixels_of_what_is_no_image(content: bytes) -> None:
    assert count_pixels(content) == 0


def test_pixels_of_dicom_are_counted(image: Pixels) -> None:
    data = dicom_file(image)
    assert count_pixels(data) == count_pixels(data[: -image.size]) == image.size


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.PNG", "a"), ("1.2.840.3.dcm", "1.2.840.3"), ("1.2.840.3", "1.2.840.3"), ("a.nii.gz", "a"), ("b.txt", "b.txt")],
)
def test_stems(name: str, stem: str) -> None:
    assert stem_of(name) == stem
