"""Inputs that people report in public trackers, through the ingest's reader: the right record, or a true line.

A case is what lies in the image's and in the mask's place; its name ends with the project and the number of the report.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from medical_files import dicom_file
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, Sequence

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.metadata import Description
from pipeline.ingest.samples import ImageSample, ReadOptions
from schema.record import Pixels, Record

SIDE = 256
Array = NDArray[Any]


def draw() -> tuple[Pixels, Pixels]:
    """A chest of noise and ribs, and its lungs."""
    rows, columns = np.indices((SIDE, SIDE)) / SIDE
    lungs = np.hypot((rows - 0.5) / 0.33, (np.abs(columns - 0.5) - 0.22) / 0.15) < 1
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 30, (SIDE, SIDE)), (0, 0), 2)
    chest = np.where(lungs, 70, 170) + 25 * np.sin(40 * rows) + 30 * (columns - rows) + noise
    return chest.clip(5, 250).astype(np.uint8), np.where(lungs, np.uint8(255), np.uint8(0))


CHEST, LUNGS = draw()
DEEP = CHEST.astype(np.uint16) * 16


def png(pixels: Array) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def saved(pixels: Array, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def paged(kind: str, first: Array, second: Array) -> bytes:
    return saved(first, kind, save_all=True, append_images=[Image.fromarray(second)])


def cmyk() -> bytes:
    file = io.BytesIO()
    Image.fromarray(CHEST).convert("RGB").convert("CMYK").save(file, "JPEG", quality=95)
    return file.getvalue()


def with_orientation(shown: Array, orientation: int, kind: str) -> bytes:
    stored = {2: shown[:, ::-1], 3: shown[::-1, ::-1], 6: np.rot90(shown), 8: np.rot90(shown, 3)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(np.ascontiguousarray(stored), kind, exif=exif)


def replaced(pixels: Array, value: int, rows: slice, columns: slice) -> Array:
    changed = pixels.copy()
    changed[rows, columns] = value
    return changed


def with_table(described: int) -> bytes:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4096, 0, described], np.arange(4096, dtype=np.uint16).tobytes()
    return dicom_file(DEEP, VOILUTSequence=Sequence([item]))


def jpeg_of_quality(quality: int) -> bytes:
    return cv2.imencode(".jpg", LUNGS, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def resaved(data: bytes) -> bytes:
    return png(np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)))


def with_alpha(grey: Array, alpha: Array) -> bytes:
    return png(np.dstack([grey, grey, grey, alpha]))


SIGNED = replaced(DEEP.astype(np.int16) - 2000, -32768, slice(None), slice(0, 20))
SPOT = (slice(10, 11), slice(10, 11))
MARKER = (slice(5, 15), slice(5, 25))
HALF_RED = np.where(LUNGS[..., None] > 0, CHEST[..., None] // 2 + np.array([0, 0, 127]), CHEST[..., None])


class Case(NamedTuple):
    """What lies in the places of image and mask."""

    report: str
    image: bytes = png(CHEST)
    mask: bytes = png(LUNGS)


RIGHT = [
    Case("hot pixel in 16 bits, lungmask", png(replaced(DEEP, 65535, *SPOT))),
    Case("marker in 16 bits, torchxrayvision", png(replaced(DEEP, 16383, *MARKER))),
    Case("marker in a deep TIFF, Pillow #4729", saved(replaced(DEEP, 65535, *MARKER), "TIFF")),
    Case("bits moved down by 4, stb #128", png(CHEST >> 4)),
    Case("bits moved down by 5", png(CHEST >> 5)),
    Case("signed, far surroundings, pydicom #1149", dicom_file(SIGNED)),
    Case("window of other values, cornerstoneWADO #143", dicom_file(DEEP, WindowCenter=90_000, WindowWidth=4000)),
    Case("window far below, cornerstoneWADO #36", dicom_file(DEEP, WindowCenter=-5000, WindowWidth=10)),
    Case("table of 12 bits called 16, dicom-rs #825", with_table(16)),
    Case("table of 12 bits called 8, cornerstoneWADO #259", with_table(8)),
    Case("no photometric interpretation, fo-dicom #340", dicom_file(DEEP, PhotometricInterpretation=None)),
    Case("lower case, dcmjs-imaging #5", dicom_file(DEEP, PhotometricInterpretation="monochrome2")),
    Case("no preamble, pydicom #150", dicom_file(DEEP)[128:]),
    Case("EXIF 3 of a JPEG, detectron2 #788", with_orientation(CHEST, 3, "JPEG")),
    Case("EXIF 2 of a PNG, D-FINE #308", with_orientation(CHEST, 2, "PNG")),
    Case("EXIF 6 of a TIFF, streamlit-seg #1", with_orientation(CHEST, 6, "TIFF")),
    Case("EXIF of both, Rectlabel #167", with_orientation(CHEST, 8, "PNG"), with_orientation(LUNGS, 8, "PNG")),
    Case("CMYK, torchvision #6538", cmyk()),
    Case("JPEG of quality 10, glasses-detector #23", mask=jpeg_of_quality(10)),
    Case("JPEG saved again as PNG, Pytorch-UNet #363", mask=resaved(jpeg_of_quality(10))),
    Case("soft mask, TotalSegmentator #71", mask=png(cv2.GaussianBlur(LUNGS, (0, 0), 4))),
    Case("very soft mask, SCT #3229", mask=png(cv2.GaussianBlur(LUNGS, (0, 0), 6))),
    Case("16-bit levels, mmseg #2556", mask=png((LUNGS > 0).astype(np.uint16) * 4095)),
    Case("0 and 1, AMICO #212", mask=png(LUNGS // 255)),
    Case("alpha as the lungs, sd-webui #560", mask=with_alpha(LUNGS, LUNGS)),
]

REFUSED = {
    "is no mask: ": [
        Case("the radiograph, EGE-UNet #13", mask=png(CHEST)),
        Case("the radiograph as JPEG", mask=saved(CHEST, "JPEG")),
        Case("an overlay", mask=png(HALF_RED.astype(np.uint8))),
        Case("white lungs on the radiograph", mask=png(np.maximum(CHEST, LUNGS))),
        Case("lungs cut out", mask=png(np.minimum(CHEST, LUNGS))),
        Case("another radiograph, 16 bits", mask=png(DEEP[::-1].copy())),
    ],
    "is white along ": [
        Case("black lungs, labelme #132", mask=png(255 - LUNGS)),
        Case("black lungs of 1 and 0", mask=png(1 - LUNGS // 255)),
    ],
    "transparen": [
        Case("alpha on black, controlnet #3079", mask=with_alpha(0 * LUNGS, LUNGS)),
        Case("alpha on white, ComfyUI #2539", mask=with_alpha(255 - LUNGS, LUNGS)),
    ],
    "holds 2 pictures: save each as a file of its own": [
        Case("a lung a page, jimp #816", mask=paged("TIFF", LUNGS, LUNGS // 2)),
        Case("a stack, aleph #20", paged("TIFF", CHEST, 255 - CHEST)),
        Case("an animation, ufo-filters #63", mask=paged("GIF", LUNGS, CHEST)),
    ],
    "name those that are lung with --labels": [
        Case("lungs and heart, labelme #785", mask=png(replaced(LUNGS // 255, 2, slice(100, 140), slice(120, 136)))),
    ],
    "is in colour": [
        Case("a screenshot, OHIF #3121", dicom_file(CHEST, PhotometricInterpretation="RGB", SamplesPerPixel=3)),
    ],
    "PALETTE COLOR": [
        Case("a palette, dcmjs-imaging #5", dicom_file(CHEST, PhotometricInterpretation="PALETTE COLOR")),
    ],
}  # fmt: skip

Read = Callable[[Case], Record]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def call(case: Case) -> Record:
        (tmp_path / "image").write_bytes(case.image)
        (tmp_path / "mask").write_bytes(case.mask)
        description = Description(patient_id="p", source="field")
        sample = ImageSample(str(tmp_path), "image", ("mask",), "image", description)
        (record,) = sample.read(ReadOptions(SIDE, patient_key=b"k" * 32))
        return record

    return call


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.report)
def test_what_was_meant_is_read(read: Read, case: Case) -> None:
    record = read(case)
    anatomy = np.ones(CHEST.shape, np.bool_)
    anatomy[:16] = anatomy[:, :26] = False  # where markers and far surroundings are put
    levels = record.image[anatomy].astype(float)
    assert np.corrcoef(levels, CHEST[anatomy])[0, 1] > 0.985
    assert np.ptp(levels) > 150, "nearly black, or nearly white"
    dice = 2 * np.count_nonzero(record.mask & LUNGS) / (np.count_nonzero(record.mask) + np.count_nonzero(LUNGS))
    assert dice > 0.98


@pytest.mark.parametrize(
    ("reason", "case"), [(reason, case) for reason, cases in REFUSED.items() for case in cases],
    ids=lambda value: value.report if isinstance(value, Case) else "",
)  # fmt: skip
def test_what_is_not_what_it_claims_to_be_is_refused(read: Read, reason: str, case: Case) -> None:
    with pytest.raises(ImageError) as caught:
        read(case)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
