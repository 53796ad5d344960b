"""Everything that a hospital may send, with models of each kind: what is written, and what the tables say."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import hospital_files
import numpy as np
import pytest
from hospital_files import RADIOGRAPH_LEFT, RADIOGRAPH_LUNGS, RADIOGRAPH_RIGHT, SCAN_LEFT, SCAN_LUNGS, SCAN_RIGHT
from medical_files import Array
from pictures import read_picture
from predicting import Segment, read_table, results_in
from pydicom import dcmread

from pipeline.cli_options import OutputFormat, Overlays
from schema.reports.prediction import PredictionReport

Lungseg = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    """20 DICOMs, 10 PNGs, one NIfTI volume, a text renamed to .dcm, a Mac's file, a JPEG cut off."""
    folder = tmp_path / "hospital"
    for index in range(20):
        spacing = {"PixelSpacing": [0.2, 0.1]} if index < 10 else {}
        inverted = {"PhotometricInterpretation": "MONOCHROME1"} if index % 3 == 0 else {}
        hospital_files.write_radiograph(folder / f"d{index:02d}.dcm", **spacing, **inverted)
    for index in range(10):
        cv2.imwrite(str(folder / f"p{index}.png"), png_pixels(index))
    hospital_files.write_nifti(folder / "volume.nii.gz")
    (folder / "text.dcm").write_text("This is no DICOM at all, but a letter to a colleague.\n")
    (folder / "._x.png").write_bytes(b"\0\5\x16\7")
    jpeg = cv2.imencode(".jpg", png_pixels(0))[1].tobytes()
    (folder / "broken.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    return folder


def png_pixels(index: int) -> Array:
    return np.where(np.roll(RADIOGRAPH_LUNGS, index, axis=0), 250, 20).astype(np.uint8)


BROKEN = {
    "text.dcm": "is no readable PNG, JPEG or TIFF",
    "broken.jpg": "is truncated or damaged: ",
}


@pytest.mark.parametrize(
    ("model", "refused_kinds", "summary"),
    [
        ("both", (), "31 of 33 images segmented into out; 2 refused: 2 unreadable (see measurements.csv)"),
        (
            "radiographs",
            ("nifti",),
            "30 of 33 images segmented into out; 3 refused: 1 of a kind that the model was not trained on, "
            "2 unreadable (see measurements.csv)",
        ),
        (
            "silent",
            ("nifti",),
            "30 of 33 images segmented into out; 3 refused: 1 of a kind that the model was not trained on, "
            "2 unreadable (see measurements.csv)",
        ),
    ],
)
def test_a_folder_of_everything(
    lungseg: Lungseg, hospital: Path, models: dict[str, Path], tmp_path: Path, model: str,
    refused_kinds: tuple[str, ...], summary: str,
) -> None:  # fmt: skip
    code, output, errors = lungseg("predict", "--model", models[model], "--output", "out", hospital)
    assert code == 2
    assert output.splitlines()[-1] == summary
    rows = {Path(row["file"]).name: row for row in read_table(tmp_path / "out")}
    assert list(rows) == sorted(path.name for path in hospital.iterdir() if path.name != "._x.png")
    for name, row in rows.items():
        if name in BROKEN:
            assert (row["status"], row["cause"]) == ("refused", "unreadable")
            assert row["reason"].startswith(BROKEN[name])
            assert f"lungseg: {hospital}/{name} {row['reason']}\n" in errors
        elif row["kind"] in refused_kinds:
            assert (row["status"], row["cause"]) == ("refused", "other kind")
            assert row["reason"].startswith("is a CT volume, and ")
        elif name == "volume.nii.gz":
            check_volume(row, tmp_path / "out", 3)
        else:
            check_image(row, name, tmp_path / "out")

    report = PredictionReport.read(tmp_path / "out")
    refused = Counter(row["cause"] for row in rows.values() if row["cause"])
    assert (report.found, report.segmented, report.refused) == (33, 33 - refused.total(), refused.total())
    assert dict(report.refusals) == dict(refused)
    assert (report.reused, report.review) == (0, 0)
    assert report.model.version == (None if model == "silent" else 3)
    assert len(report.model.digest) == 64
    assert report.seconds > 0
    if model == "silent":
        assert report.model.trained_on is None
    else:
        assert report.model.trained_on is not None
        assert report.model.trained_on.modality == {"both": "radiographs and CT"}.get(model, model)
        assert report.model.trained_on.sources == {"north": 2, "south": 1}


def check_image(row: dict[str, str], name: str, output: Path) -> None:
    shift = int(name[1]) if name.startswith("p") else 0
    right, left = (np.roll(lung, shift, axis=0) for lung in (RADIOGRAPH_RIGHT, RADIOGRAPH_LEFT))
    is_dicom = name.endswith(".dcm")
    assert (row["status"], row["kind"]) == ("segmented", "radiograph" if is_dicom else "raster")
    assert row["result"] == name.replace(".png", "_mask.png").replace(".dcm", "_mask.dcm")
    if is_dicom:
        mask = dcmread(output / row["result"]).pixel_array.any(axis=0)
    else:
        mask = read_picture(output / row["result"]) == 255
    assert np.array_equal(mask, right | left)
    sizes = {"right": right.sum(), "left": left.sum(), "lung": (right | left).sum()}
    has_spacing = is_dicom and int(name[1:3]) < 10
    for lung, pixels in sizes.items():
        assert row[f"{lung}_px"] == str(pixels)
        assert (float(row[f"{lung}_mm2"]) if has_spacing else row[f"{lung}_mm2"]) == (
            pytest.approx(pixels * 0.2 * 0.1) if has_spacing else ""
        )
        assert row[f"{lung}_ml"] == ""
    box = [int(row[f"box_{key}"]) for key in ("x", "y", "width", "height")]
    rows, columns = np.nonzero(right | left)
    assert box == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    assert float(row["lung_fraction"]) == pytest.approx((right | left).mean())
    assert (row["slices"], row["review"], row["review_reason"]) == ("", "no", "")


def check_volume(row: dict[str, str], output: Path, version: int) -> None:
    voxels, affine = hospital_files.read_nifti(output / row["result"])
    assert np.array_equal(voxels, SCAN_LUNGS)
    assert np.allclose(affine, hospital_files.ROTATED, atol=1e-5)
    assert (row["status"], row["kind"], row["slices"]) == ("segmented", "nifti", str(hospital_files.SLICES))
    assert row["model_version"] == str(version)
    millilitres = abs(np.linalg.det(hospital_files.ROTATED[:3, :3])) / 1000
    for lung, voxels in {"right": SCAN_RIGHT, "left": SCAN_LEFT, "lung": SCAN_LUNGS}.items():
        assert row[f"{lung}_px"] == str(voxels.sum())
        assert float(row[f"{lung}_ml"]) == pytest.approx(voxels.sum() * millilitres)
    assert (row["box_z"], row["box_depth"]) == ("2", "8")


def test_a_model_of_ct_refuses_radiographs(
    lungseg: Lungseg, hospital: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    hospital_files.write_series(hospital / "ct")
    arguments = ("predict", "--model", models["CT"], "--output", "out", "--recursive", hospital)
    code, output, errors = lungseg(*arguments)
    assert code == 2
    assert output.splitlines()[-1].startswith("2 of 34 images segmented into out; 32 refused: 32 of a kind")
    assert f"lungseg: {hospital}/d00.dcm is no CT volume, and the model was trained on CT alone\n" in errors
    rows = read_table(tmp_path / "out")
    assert [row["kind"] for row in rows if row["status"] == "segmented"] == ["nifti", "series"]
    assert rows[-1]["file"] == str(hospital / "ct")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("affine", [hospital_files.ROTATED, np.diag([-0.7, 0.9, 2.5, 1]), np.diag([0.7, -0.7, -1, 1])])
def test_volumes_keep_their_geometry(segment: Segment, tmp_path: Path, affine: Array, suffix: str) -> None:
    hospital_files.write_nifti(tmp_path / f"v{suffix}", affine)
    [row] = segment(tmp_path / f"v{suffix}", overlays=Overlays.NONE).measurements
    voxels, own = hospital_files.read_nifti(tmp_path / "out" / "v_mask.nii.gz")
    assert np.array_equal(voxels, SCAN_LUNGS)
    assert np.allclose(own, affine, atol=1e-5)
    right = SCAN_RIGHT if affine[0, 0] > 0 else SCAN_LEFT
    assert row.right_px == right.sum()
    assert list(results_in(tmp_path / "out")) == ["v_mask.nii.gz"]


def test_both_formats_of_a_series_lie_in_one_place(segment: Segment, tmp_path: Path) -> None:
    hospital_files.write_series(tmp_path / "ct")
    segment(tmp_path / "ct")
    segment(tmp_path / "ct", format_=OutputFormat.NIFTI)
    voxels, affine = hospital_files.read_nifti(tmp_path / "out" / "ct_mask.nii.gz")
    by_place: Counter[tuple[float, ...]] = Counter()
    for place in np.argwhere(voxels):
        by_place[tuple(np.round(affine @ [*place, 1], 3)[:3])] += 1
    segmented = dcmread(tmp_path / "out" / "ct_mask.dcm")
    frames = segmented.pixel_array
    for frame, described in zip(frames, segmented.PerFrameFunctionalGroupsSequence, strict=True):
        corner = np.array(described.PlanePositionSequence[0].ImagePositionPatient, float)
        for row, column in np.argwhere(frame):
            left, back, up = corner + np.array([0.7 * column, 0.9 * row, 0])
            by_place[tuple(np.round([-left, -back, up], 3))] -= 1
    assert len(by_place) == SCAN_LUNGS.sum()
    assert set(by_place.values()) == {0}


def test_not_hounsfield(segment: Segment, tmp_path: Path) -> None:
    hospital_files.write_series(tmp_path / "ct", RescaleIntercept=0)
    [row] = segment(tmp_path / "ct").measurements
    assert row.reason.startswith("is not in Hounsfield units: ")


@pytest.mark.parametrize(
    ("format_", "name", "reason"),
    [
        ("dicom-seg", "p.png", "is no DICOM, so no patient and study that a DICOM SEG could refer to: "
         "take --format png, or auto"),
        ("nifti", "p.png", "is no DICOM, which has no place in space as NIfTI tells it: take --format png, or auto"),
        ("dicom-seg", "v.nii", "is NIfTI, so no patient and study that a DICOM SEG could refer to: "
         "take --format nifti, or auto"),
        ("png", "v.nii", "is NIfTI, a mask of whose slices fits in no PNG: take --format nifti, or auto"),
        ("nifti", "d.dcm", "is a radiograph, which has no place in space as NIfTI tells it: "
         "take --format dicom-seg or png, or auto"),
    ],
)  # fmt: skip
def test_formats_that_do_not_fit(segment: Segment, tmp_path: Path, format_: str, name: str, reason: str) -> None:
    hospital_files.write_radiograph(tmp_path / "d.dcm")
    hospital_files.write_nifti(tmp_path / "v.nii")
    cv2.imwrite(str(tmp_path / "p.png"), png_pixels(0))
    [row] = segment(tmp_path / name, format_=OutputFormat(format_)).measurements
    assert (row.status, row.cause, row.reason) == ("refused", "other format", reason)
    assert list(results_in(tmp_path / "out")) == []


def test_a_format_on_the_command_line(lungseg: Lungseg, models: dict[str, Path], tmp_path: Path) -> None:
    hospital_files.write_radiograph(tmp_path / "in" / "d.dcm")
    cv2.imwrite(str(tmp_path / "in" / "p.png"), png_pixels(0))
    arguments = ("predict", "--model", models["both"], "--output", "out", "in", "--format")
    code, output, errors = lungseg(*arguments, "dicom-seg", "--overlays", "none")
    assert code == 2
    assert output.splitlines()[-1] == (
        "1 of 2 images segmented into out; 1 refused: 1 whose masks this format cannot hold (see measurements.csv)"
    )
    assert errors.startswith("lungseg: in/p.png is no DICOM, ")
    assert list(results_in(tmp_path / "out")) == ["d_mask.dcm"]
    code, output, errors = lungseg(*arguments, "auto", "--overlays", "none")
    assert (code, errors) == (0, "")
    assert output.splitlines()[-1] == "2 of 2 images segmented into out; 1 were there already"


def test_what_was_written_is_no_image(segment: Segment, tmp_path: Path) -> None:
    hospital_files.write_radiograph(tmp_path / "d.dcm")
    segment(tmp_path / "d.dcm")
    (tmp_path / "out" / "d_mask.dcm").rename(tmp_path / "d_mask.dcm")
    [row] = segment(tmp_path / "d_mask.dcm").measurements
    assert (row.status, row.reason) == ("refused", "has 2 frames: save each as a file of its own")


def test_two_of_one_name(segment: Segment, tmp_path: Path) -> None:
    for ward in ("north", "south"):
        (tmp_path / ward).mkdir()
        cv2.imwrite(str(tmp_path / ward / "a.png"), png_pixels(len(ward)))
        hospital_files.write_radiograph(tmp_path / ward / "b.dcm")
    rows = segment(tmp_path / "north", tmp_path / "south", overlays=Overlays.NONE).measurements
    results = ["north-a_mask.png", "north-b_mask.dcm", "south-a_mask.png", "south-b_mask.dcm"]
    assert [row.result for row in rows] == list(results_in(tmp_path / "out")) == results


def test_a_name_that_is_no_text(segment: Segment, tmp_path: Path) -> None:
    """Linux takes any bytes for a name, such as those of an old archive in Latin 1."""
    name = os.fsdecode(b"M\xfcller.png")
    cv2.imwrite(str(tmp_path / "a.png"), png_pixels(0))
    (tmp_path / "a.png").rename(tmp_path / name)
    [row] = segment(tmp_path / name).measurements
    assert (row.file, row.result) == (f"{tmp_path}/M\\udcfcller.png", "M\\udcfcller_mask.png")
    assert read_table(tmp_path / "out")[0]["result"] == row.result
    assert segment(tmp_path / name).report.reused == 1


def test_an_empty_folder(lungseg: Lungseg, models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, output, errors = lungseg("predict", "--model", models["both"], "--output", "out", "empty")
    assert (code, output) == (2, "")
    assert errors.startswith("lungseg: 'empty' holds no images (.png, ")
    assert not (tmp_path / "out").exists()


def test_damaged_statistics(lungseg: Lungseg, models: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(models["CT"], tmp_path / "serving")
    statistics = tmp_path / "serving/3/assets.extra/statistics/FeatureStats.pb"
    statistics.write_bytes(b"none")
    cv2.imwrite(str(tmp_path / "a.png"), png_pixels(0))
    code, _, errors = lungseg("predict", "--model", "serving", "--output", "out", "a.png")
    expected = "lungseg: 'serving/3/assets.extra/statistics/FeatureStats.pb' is damaged: push the model again\n"
    assert (code, errors) == (2, expected)
