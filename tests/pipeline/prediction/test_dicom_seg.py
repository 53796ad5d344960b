"""DICOM segmentations, as pydicom, highdicom and dciodvfy read them."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import highdicom
import hospital_files
import numpy as np
import pytest
from hospital_files import RADIOGRAPH_LEFT, RADIOGRAPH_LUNGS, RADIOGRAPH_RIGHT, write_radiograph, write_series
from medical_files import Array, dicom_file
from pictures import read_picture
from predicting import Segment
from pydicom import Dataset, dcmread

from pipeline.cli_options import OutputFormat


def check(file: Path) -> None:
    """Fail on an error that dciodvfy finds."""
    checker = shutil.which("dciodvfy")
    if checker is None:
        pytest.skip("needs dciodvfy, a checker of DICOM files: sudo make system-packages")
    done = subprocess.run([checker, "-new", str(file)], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == []
    assert done.returncode == 0


def only_row(segment: Segment, *paths: Path, **options: Any) -> Any:
    [row] = segment(*paths, **options).measurements
    return row


def masks_by_label(file: Path) -> dict[str, Array]:
    """Each segment as [frames, rows, columns], as highdicom reads it; frames without lung may be left out."""
    segmentation = highdicom.seg.segread(file)
    sources = [uid for *_, uid in segmentation.get_source_image_uids()]
    pixels = segmentation.get_pixels_by_source_instance(sources, assert_missing_frames_are_empty=True)
    labels = [description.SegmentLabel for description in segmentation.SegmentSequence]
    return {label: pixels[..., index].astype(bool) for index, label in enumerate(labels)}


RADIOGRAPHS: dict[str, dict[str, Any]] = {
    "plain": {"PixelSpacing": [0.2, 0.2]},
    "anisotropic": {"PixelSpacing": [0.25, 0.125]},
    "at the detector": {"ImagerPixelSpacing": [0.15, 0.15]},
    "without spacing": {},
    "white is 0": {"PhotometricInterpretation": "MONOCHROME1", "PixelSpacing": [0.2, 0.2]},
    "in a frame of reference": {"PixelSpacing": [0.2, 0.1], "FrameOfReferenceUID": "1.2.840.9"},
    "in a frame of reference without spacing": {"FrameOfReferenceUID": "1.2.840.9"},
    "with an empty frame of reference": {"FrameOfReferenceUID": ""},
    "with its orientation": {"PatientOrientation": ["L", "F"], "PixelSpacing": [0.2, 0.2]},
    "of nobody": dict.fromkeys(
        ["PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
         "AccessionNumber", "ReferringPhysicianName", "Modality"]
    ),
    "of a name in Latin 1": {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "M\u00fcller^J\u00fcrgen"},
}  # fmt: skip


@pytest.mark.parametrize("name", RADIOGRAPHS)
def test_radiographs(segment: Segment, tmp_path: Path, name: str) -> None:
    source = write_radiograph(tmp_path / "a.dcm", **RADIOGRAPHS[name])
    row = only_row(segment, source)
    assert (row.status, row.result) == ("segmented", "a_mask.dcm")
    file = tmp_path / "out" / "a_mask.dcm"
    check(file)

    masks = masks_by_label(file)
    assert list(masks) == ["Right lung", "Left lung"]
    assert np.array_equal(masks["Right lung"][0], RADIOGRAPH_RIGHT)
    assert np.array_equal(masks["Left lung"][0], RADIOGRAPH_LEFT)
    assert np.array_equal(dcmread(file).pixel_array.any(axis=0), RADIOGRAPH_LUNGS)

    segmented, original = dcmread(file), dcmread(source)
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber"):
        assert str(segmented.get(keyword) or "") == str(original.get(keyword) or "")
    [referred] = segmented.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert referred.ReferencedSOPInstanceUID == original.SOPInstanceUID
    assert (segmented.PatientOrientation or "") == original.get("PatientOrientation", "")
    assert segmented.get("FrameOfReferenceUID", "") == original.get("FrameOfReferenceUID", "")
    assert spacing_of(segmented) == list(original.get("PixelSpacing") or original.get("ImagerPixelSpacing") or [])


def spacing_of(segmented: Dataset) -> list[float]:
    shared = segmented.SharedFunctionalGroupsSequence[0]
    return list(shared.PixelMeasuresSequence[0].PixelSpacing) if "PixelMeasuresSequence" in shared else []


def test_what_a_segment_says(segment: Segment, tmp_path: Path) -> None:
    only_row(segment, write_radiograph(tmp_path / "a.dcm"))
    segmented = dcmread(tmp_path / "out" / "a_mask.dcm")
    for description, code, meaning in zip(
        segmented.SegmentSequence, ("24028007", "7771000"), ("Right", "Left"), strict=True
    ):
        [property_] = description.SegmentedPropertyTypeCodeSequence
        assert (property_.CodeValue, property_.CodingSchemeDesignator) == ("39607008", "SCT")
        [side] = property_.SegmentedPropertyTypeModifierCodeSequence
        assert (side.CodeValue, side.CodingSchemeDesignator, side.CodeMeaning) == (code, "SCT", meaning)
        [algorithm] = description.SegmentationAlgorithmIdentificationSequence
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("lungseg", "3")
        assert description.SegmentAlgorithmType == "AUTOMATIC"


@pytest.mark.parametrize("elements", [{"ViewPosition": "LL"}, {"PatientOrientation": ["A", "F"]}])
def test_lateral_views_have_one_segment(segment: Segment, tmp_path: Path, elements: dict[str, Any]) -> None:
    row = only_row(segment, write_radiograph(tmp_path / "a.dcm", **elements))
    assert (row.right_px, row.left_px, row.lung_px) == (None, None, RADIOGRAPH_LUNGS.sum())
    check(tmp_path / "out" / "a_mask.dcm")
    assert np.array_equal(masks_by_label(tmp_path / "out" / "a_mask.dcm")["Lung"][0], RADIOGRAPH_LUNGS)


def test_seen_from_behind_sides_are_exchanged(segment: Segment, tmp_path: Path) -> None:
    row = only_row(segment, write_radiograph(tmp_path / "a.dcm", PatientOrientation=["R", "F"]))
    assert (row.right_px, row.left_px) == (RADIOGRAPH_LEFT.sum(), RADIOGRAPH_RIGHT.sum())


def test_no_lung_is_a_segment_too(segment: Segment, tmp_path: Path) -> None:
    dark = np.tile(np.arange(100, dtype=np.uint8), (50, 1))
    (tmp_path / "a.dcm").write_bytes(dicom_file(dark, WindowCenter=100, WindowWidth=160, **hospital_files.STUDY))
    row = only_row(segment, tmp_path / "a.dcm")
    assert (row.lung_px, row.review_reason) == (0, "has an empty mask: no lung was found")
    check(tmp_path / "out" / "a_mask.dcm")
    assert not dcmread(tmp_path / "out" / "a_mask.dcm").pixel_array.any()


@pytest.mark.parametrize(
    "elements", [{}, {"SliceThickness": None}, {"ImageOrientationPatient": [0.8, 0.6, 0, -0.6, 0.8, 0]}]
)
def test_a_series(segment: Segment, tmp_path: Path, elements: dict[str, Any]) -> None:
    write_series(tmp_path / "ct", **elements)
    row = only_row(segment, tmp_path / "ct")
    assert (row.status, row.result, row.slices) == ("segmented", "ct_mask.dcm", hospital_files.SLICES)
    file = tmp_path / "out" / "ct_mask.dcm"
    check(file)
    segmented = dcmread(file)
    assert segmented.FrameOfReferenceUID == "1.2.840.4"
    assert spacing_of(segmented) == [0.9, 0.7]
    masks = masks_by_label(file)
    segmentation = highdicom.seg.segread(file)
    for source, place in zip(segmentation.get_source_image_uids(), range(hospital_files.SLICES), strict=True):
        index = int(source[2].rpartition(".")[2])
        for label, lung in (("Right lung", hospital_files.SCAN_RIGHT), ("Left lung", hospital_files.SCAN_LEFT)):
            assert np.array_equal(masks[label][place], lung[::-1, ::-1, index].T), (label, index)
    for frame in segmented.PerFrameFunctionalGroupsSequence:
        [derived] = frame.DerivationImageSequence[0].SourceImageSequence
        index = int(derived.ReferencedSOPInstanceUID.rpartition(".")[2])
        assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == [-10, -12, 100 + 2.5 * index]


def test_a_series_without_lung(segment: Segment, tmp_path: Path) -> None:
    write_series(tmp_path / "ct", RescaleSlope=0.2, RescaleIntercept=-1000)  # what stands for lungs is darker than half
    row = only_row(segment, tmp_path / "ct")
    assert (row.lung_px, row.lung_ml, row.box_x, row.review) == (0, 0, None, True)
    check(tmp_path / "out" / "ct_mask.dcm")
    assert not dcmread(tmp_path / "out" / "ct_mask.dcm").pixel_array.any()


@pytest.mark.parametrize("missing", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"])
def test_what_cannot_be_referred_to_is_refused(segment: Segment, tmp_path: Path, missing: str) -> None:
    source = write_radiograph(tmp_path / "a.dcm")
    dataset = dcmread(source)
    del dataset[missing]
    dataset.save_as(source)
    row = only_row(segment, source)
    expected = f"has no {missing}, which a DICOM SEG refers to: take --format png"
    assert (row.status, row.cause, row.reason) == ("refused", "other format", expected)
    assert only_row(segment, source, format_=OutputFormat.PNG).status == "segmented"
    assert np.array_equal(read_picture(tmp_path / "out" / "a_mask.png") > 0, RADIOGRAPH_LUNGS)


def test_a_series_without_a_frame_of_reference(segment: Segment, tmp_path: Path) -> None:
    write_series(tmp_path / "ct", FrameOfReferenceUID=None)
    row = only_row(segment, tmp_path / "ct")
    assert row.reason == "has no FrameOfReferenceUID, which a DICOM SEG refers to: take --format nifti"
    assert only_row(segment, tmp_path / "ct", format_=OutputFormat.NIFTI).status == "segmented"


def test_names_and_tables_hold_nothing_of_a_patient(segment: Segment, tmp_path: Path) -> None:
    write_series(tmp_path / "ct", PatientID="P7734")
    write_radiograph(tmp_path / "x.dcm", PatientID="P7734")
    segment(tmp_path / "ct", tmp_path / "x.dcm")
    for path in (tmp_path / "out").rglob("*"):
        content = path.read_bytes() if path.suffix in (".csv", ".json") else b""
        for secret in ("DOE", "P7734", "1.2.840", "HOUSE"):
            assert secret not in path.name
            assert secret.encode() not in content
