"""Which files are meant, what they are, and what their results are called."""

from pathlib import Path

import cv2
import hospital_files
import numpy as np
import pytest
from medical_files import dicom_file
from predicting import inputs_of

from pipeline.errors import UserError
from pipeline.prediction.find import find_files, name_left_out
from pipeline.prediction.names import distinct_names


def refused(*paths: Path, recursive: bool = False) -> str:
    with pytest.raises(UserError) as caught:
        found(*paths, recursive=recursive)
    return str(caught.value)


def found(*paths: Path, recursive: bool = False, without: Path | None = None) -> list[Path]:
    return [Path(file) for file in find_files([str(path) for path in paths], recursive=recursive, without=without)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images a to c, and what is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "abc":
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((4, 4), np.uint8))
    for name in ("notes.txt", "._a.png", ".b.dcm", "README", "DICOMDIR"):
        (folder / name).write_bytes(b"no image")
    return folder


def test_files_and_folders(images: Path, tmp_path: Path) -> None:
    other = tmp_path / "z.TIFF"
    other.touch()
    (images / "1.2.3.DCM").touch()
    (images / "x.nii.gz").touch()
    files = found(other, images, images / "c.png")
    assert files == [other, *(images / name for name in ("1.2.3.DCM", "a.png", "b.png", "c.png", "x.nii.gz"))]


@pytest.mark.parametrize("name", ["IM0001", "1.2.840.113619.2", "a.dicom", "b.IMA", "c.dcm"])
def test_dicom_in_a_folder_is_found_whatever_its_name(images: Path, name: str) -> None:
    """chester-xray #26, vindr-cxr #3, OnkoDICOM #290."""
    (images / name).write_bytes(dicom_file(np.eye(8, dtype=np.uint8)))
    assert images / name in found(images)


def test_folders_in_folders(images: Path, tmp_path: Path) -> None:
    for folder in ("2026/01", "2026/02", ".cache", "out"):
        (images / folder).mkdir(parents=True)
        (images / folder / "d.png").touch()
    own = [images / f"{name}.png" for name in "abc"]
    inner = [images / "2026/01/d.png", images / "2026/02/d.png"]
    assert found(images) == own
    assert found(images, recursive=True, without=images / "out") == [*own, *inner]


def test_what_is_left_out_is_named(images: Path) -> None:
    for name in ("more/d.png", "more/deep/e.dcm", "more/.f.png", ".cache/g.png", "out/h.png", "i.bmp", "more/j.WEBP"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).touch()
    (images / "k.png").symlink_to(images / "none")
    others = "files of formats that are not read (2, such as i.bmp)"
    links = "links that lead to no file (1, such as k.png)"
    told = {recursive: list(name_left_out([str(images), "gs://x", str(images / "a.png")], recursive=recursive,
                                          without=images / "out")) for recursive in (False, True)}  # fmt: skip
    assert told == {
        False: [f"of '{images}' are left out: {others}; images in its folders, which --recursive "
                f"takes (2, such as more/d.png); {links}"],
        True: [f"of '{images}' are left out: {others}; {links}"],
    }  # fmt: skip
    for name in ("i.bmp", "more/j.WEBP", "k.png"):
        (images / name).unlink()
    assert list(name_left_out([str(images)], recursive=True)) == []


def test_patterns(images: Path) -> None:
    (images / "deep" / "er").mkdir(parents=True)
    (images / "deep" / "er" / "d.png").touch()
    assert found(images / "[ab].png") == [images / "a.png", images / "b.png"]
    assert found(images / "*") == [images / f"{name}.png" for name in "abc"]
    assert found(images / "**" / "*.png")[-1] == images / "deep/er/d.png"
    assert found(images / "**" / "*.png", without=images / "deep")[-1] == images / "c.png"
    assert refused(images / "*.jpg") == f"pattern '{images}/*.jpg' matches nothing"


def test_a_name_with_brackets_is_a_name(images: Path) -> None:
    (images / "a[1].png").touch()
    assert found(images / "a[1].png") == [images / "a[1].png"]


def test_a_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "scan.dat").touch()
    assert found(tmp_path / "scan.dat") == [tmp_path / "scan.dat"]


def test_a_missing_image(images: Path, tmp_path: Path) -> None:
    assert refused(images, tmp_path / "none.png") == f"image '{tmp_path}/none.png' does not exist"


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    extensions = ".png, .jpg, .jpeg, .tif, .tiff, .dcm, .dicom, .ima, .nii, .nii.gz"
    assert refused(tmp_path) == f"'{tmp_path}' holds no images ({extensions})"
    assert refused(tmp_path, recursive=True) == f"'{tmp_path}' holds no images ({extensions}) below it"


def test_kinds_are_told_by_content(tmp_path: Path) -> None:
    hospital_files.write_radiograph(tmp_path / "x.png")
    hospital_files.write_nifti(tmp_path / "v.dcm")
    hospital_files.write_nifti(tmp_path / "w.nii.gz")
    (tmp_path / "broken.nii.gz").write_bytes(b"none")
    cv2.imwrite(str(tmp_path / "y.png"), np.zeros((4, 4), np.uint8))
    (tmp_path / "y.png").rename(tmp_path / "y.dcm")
    hospital_files.write_series(tmp_path / "ct")
    kinds = {Path(input_.path).name: input_.kind for input_ in inputs_of(tmp_path, recursive=True)}
    assert kinds == {
        "x.png": "radiograph",
        "v.dcm": "nifti",
        "w.nii.gz": "nifti",
        "broken.nii.gz": "nifti",
        "y.dcm": "raster",
        "ct": "series",
    }


def test_a_long_header_before_the_series_is_read(tmp_path: Path) -> None:
    hospital_files.write_series(tmp_path / "ct", LongCodeValue="x" * 100_000)
    [series] = inputs_of(tmp_path / "ct")
    assert (series.kind, series.path, len(series.files)) == ("series", str(tmp_path / "ct"), hospital_files.SLICES)


def test_two_series_in_a_folder(tmp_path: Path) -> None:
    hospital_files.write_series(tmp_path / "a", "1.2.8")
    hospital_files.write_series(tmp_path / "b", "1.2.9")
    for file in (tmp_path / "b").iterdir():
        file.rename(tmp_path / "a" / f"other-{file.name}")
    inputs = inputs_of(tmp_path / "a")
    assert [(input_.kind, len(input_.files)) for input_ in inputs] == [("series", 12), ("series", 12)]
    assert [Path(input_.path).name for input_ in inputs] == ["other-slice-0.dcm", "slice-0.dcm"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/1.2.840.7.dcm", "a/b.nii.gz"], ["1.2.840.7", "b"]),
        (["north/a.png", "south/a.png", "south/b.png"], ["north-a", "south-a", "b"]),
        (["x/1/a.png", "y/1/a.png", "y/2/a.png"], ["x-1-a", "y-1-a", "2-a"]),
        (["n/a.png", "n/a.jpg", "m/a.png"], ["a.png", "a.jpg", "a"]),
        (["n/.png", "n/.dcm"], [".png", ".dcm"]),
        (["n/a.png", "n/A.jpg"], ["a.png", "A.jpg"]),
        (["s3://north/a.png", "gs://south/x/a.png", "b.png"], ["north-a", "x-a", "b"]),
        (["/p/a-x.png", "/p/a/x.png", "/p/b/x.png"], ["p-a-x", "p-a-x-2", "b-x"]),
    ],
)
def test_names(paths: list[str], names: list[str]) -> None:
    assert distinct_names(paths) == names
