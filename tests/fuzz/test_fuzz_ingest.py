"""Ingest of folders in which most files are damaged: each is a record or in the list of what was refused."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fuzz_inputs import make_input, mask_for_nifti, seeds
from PIL import Image

from pipeline.ingest.ingest import ingest
from schema.record import Record, decode

KEY = b"0123456789abcdef"
EXTENSIONS = {"png": "png", "jpeg": "jpg", "tiff": "tif", "dicom": "dcm"}
DAMAGED = 60
"""Files of each format."""


def records_in(span: Path) -> Iterator[Record]:
    import tensorflow as tf

    for path in sorted(span.glob("records-*")):
        for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            yield decode(serialized)


def refused_in(span: Path) -> dict[str, str]:
    with (span / "rejected.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    reasons = {row["file"]: row["reason"] for row in rows}
    assert len(reasons) == len(rows)
    return reasons


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Damaged images with sound masks, sound images with damaged masks, and one sound pair a format."""
    for folder in ("images", "masks"):
        (tmp_path / "clinic" / folder).mkdir(parents=True)
    mask = np.zeros((12, 16), np.uint8)
    mask[2:10, 2:14] = 255
    for kind, extension in EXTENSIONS.items():
        for number in range(DAMAGED):
            stem, masked = f"{kind}{number:03d}", kind != "dicom" and number % 6 == 5
            data = seeds(kind)[0] if masked or number == 0 else make_input(kind, number)
            named = data.replace(b"1.2.3.4", f"1.{number:05d}".encode())  # the UID of all
            (tmp_path / "clinic/images" / f"{stem}.{extension}").write_bytes(named)
            Image.fromarray(mask).save(tmp_path / "clinic/masks" / f"{stem}.png")
            if masked:
                (tmp_path / "clinic/masks" / f"{stem}.png").write_bytes(make_input(kind, number))
    return tmp_path / "clinic"


def test_images(images: Path, tmp_path: Path) -> None:
    report = ingest("folder", str(images), str(tmp_path), size=32, max_rejected=1, patient_key=KEY)
    span = Path(report.span)
    records, refused = list(records_in(span)), refused_in(span)
    assert report.found == DAMAGED * len(EXTENSIONS)
    assert report.found == report.written + report.rejected
    assert (len(records), len(refused)) == (report.written, report.rejected)
    assert len(records) > len(EXTENSIONS)
    for reason in refused.values():
        assert reason
        assert len(reason.splitlines()) == 1
    taken = {record.image_id for record in records}
    for path in (images / "images").iterdir():
        if path.suffix != ".dcm":  # those have pseudonyms
            assert (f"images/{path.name}" in refused) != (path.stem in taken), path.name


def test_volumes(tmp_path: Path) -> None:
    root = tmp_path / "clinic"
    for folder in ("volumes", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(DAMAGED):
        damaged, masked = make_input("nifti", number), number % 3 == 2
        sound = number == 0
        (root / f"volumes/v{number:03d}.nii.gz").write_bytes(seeds("nifti")[0] if masked or sound else damaged)
        (root / f"masks/v{number:03d}.nii.gz").write_bytes(damaged if masked else mask_for_nifti())
    report = ingest("ct", str(root), str(tmp_path), size=32, max_rejected=1, empty_slices=1)
    span = Path(report.span)
    records, refused = list(records_in(span)), refused_in(span)
    assert report.found == DAMAGED == report.written + report.rejected
    assert (len(records), len(refused)) == (report.records, report.rejected)
    taken = {record.patient_id for record in records}
    assert len(taken) == report.written > 1
    assert taken.isdisjoint(Path(name).name.removesuffix(".nii.gz") for name in refused)
    assert all(reason and len(reason.splitlines()) == 1 for reason in refused.values())
