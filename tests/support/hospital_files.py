"""What a hospital has: radiographs and CT in all formats, in which two bright blocks stand for the lungs.

Of everything, lung is what the model of `threshold_model` finds: what is brighter than half. The patient's right lung,
at the image's left, is the larger one.

>>> hospital_files.write_radiograph(folder / "a.dcm", PixelSpacing=[0.2, 0.1])
>>> hospital_files.RADIOGRAPH_LUNGS.sum()
1100
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from medical_files import Array, dicom_file, nifti_file
from pydicom import uid
from tensorflow_metadata.proto.v0 import statistics_pb2

SHAPE = (60, 80)
SLICES = 12
STUDY = {
    "StudyInstanceUID": "1.2.840.1", "SeriesInstanceUID": "1.2.840.1.1", "StudyID": "S1", "StudyDate": "20260102",
    "StudyTime": "101112", "AccessionNumber": "A1", "ReferringPhysicianName": "HOUSE^GREGORY",
    "PatientName": "DOE^JOHN", "PatientBirthDate": "19700101", "PatientSex": "M", "Modality": "DX",
}  # fmt: skip

RADIOGRAPH_RIGHT = np.zeros(SHAPE, np.bool_)
RADIOGRAPH_RIGHT[10:45, 8:28] = True
RADIOGRAPH_LEFT = np.zeros(SHAPE, np.bool_)
RADIOGRAPH_LEFT[12:32, 50:70] = True
RADIOGRAPH_LUNGS = RADIOGRAPH_RIGHT | RADIOGRAPH_LEFT

# In voxels along x to the right, y to the front and z to the head.
SCAN_RIGHT = np.zeros((40, 30, SLICES), np.bool_)
SCAN_RIGHT[25:36, 8:22, 2:10] = True
SCAN_LEFT = np.zeros((40, 30, SLICES), np.bool_)
SCAN_LEFT[5:14, 8:22, 3:10] = True
SCAN_LUNGS = SCAN_RIGHT | SCAN_LEFT
AIR, BRIGHT = -900, 40
ROTATED = np.array([[0.8, -0.05, 0.1, -20], [0.04, 0.7, -0.2, -15], [-0.1, 0.15, 2.5, 100], [0, 0, 0, 1.0]])


def radiograph() -> Array:
    """Grey values of 12 bits."""
    ramp = np.linspace(0, 1000, SHAPE[1]).astype(np.uint16)
    return np.where(RADIOGRAPH_LUNGS, np.uint16(3500), ramp) + np.arange(SHAPE[0], dtype=np.uint16)[:, None]


def write_radiograph(path: Path, **elements: Any) -> Path:
    """A radiograph in DICOM."""
    pixels = radiograph()
    if elements.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = 4095 - pixels
    number = sum(path.as_posix().encode())
    described = {**STUDY, "BitsStored": 12, "SOPInstanceUID": f"1.2.840.2.{number}", **elements}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom_file(pixels, **described))
    return path


def hounsfield() -> Array:
    """A volume as SCAN_LUNGS lies."""
    return np.where(SCAN_LUNGS, BRIGHT, AIR).astype(np.int16)


def write_nifti(path: Path, affine: Array = ROTATED) -> Path:
    """A volume in NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(nifti_file(hounsfield(), affine, zipped=path.suffix == ".gz"))
    return path


def write_series(folder: Path, uid_of_series: str = "1.2.840.3", **elements: Any) -> Path:
    """The same volume as a DICOM series of anisotropic pixels, in no order; x and y run the other way."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, index in enumerate((3, 0, 11, 7, 1, 2, 5, 4, 6, 10, 8, 9)):
        pixels = (hounsfield()[::-1, ::-1, index].T + 1024).astype(np.uint16)
        described: dict[str, Any] = {
            **STUDY, "Modality": "CT", "SOPClassUID": uid.CTImageStorage, "SeriesInstanceUID": uid_of_series,
            "SOPInstanceUID": f"{uid_of_series}.{index}", "FrameOfReferenceUID": "1.2.840.4", "BitsStored": 12,
            "RescaleSlope": 1, "RescaleIntercept": -1024, "PixelSpacing": [0.9, 0.7], "SliceThickness": 2,
            "ImagePositionPatient": [-10, -12, 100 + 2.5 * index], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "InstanceNumber": index + 1, **elements,
        }  # fmt: skip
        (folder / f"slice-{number}.dcm").write_bytes(dicom_file(pixels, **described))
    return folder


def write_statistics(
    model: Path, views: Mapping[str, int], numbers: Mapping[str, Sequence[float]] | None = None
) -> Path:
    """Statistics beside a model, of so many images of each view, from two hospitals, and of features of numbers."""
    data = statistics_pb2.DatasetFeatureStatistics(num_examples=sum(views.values()))
    for name, counts in {"view": views, "source": {"north": 2, "south": 1}}.items():
        feature = data.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
        feature.path.step.append(name)
        for label, count in counts.items():
            feature.string_stats.rank_histogram.buckets.add(label=label, sample_count=count)
    for name, values in (numbers or {}).items():
        feature = data.features.add(type=statistics_pb2.FeatureNameStatistics.FLOAT)
        feature.path.step.append(name)
        shares, edges = np.histogram(values, range=(min(values), max(values)))
        histogram = feature.num_stats.histograms.add(type=statistics_pb2.Histogram.STANDARD)
        for share, low, high in zip(shares, edges, edges[1:], strict=False):
            histogram.buckets.add(low_value=low, high_value=high, sample_count=share)
    path = model / "assets.extra/statistics/FeatureStats.pb"
    path.parent.mkdir(parents=True)
    path.write_bytes(statistics_pb2.DatasetFeatureStatisticsList(datasets=[data]).SerializeToString())
    return model


def read_nifti(path: Path) -> tuple[Array, Array]:
    """Voxels and affine, as nibabel reads them."""
    image = nib.Nifti1Image.from_filename(path)
    return np.asanyarray(image.dataobj), image.affine
