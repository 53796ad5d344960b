"""Images that lie in a store: found, read and refused as those of this machine."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import bucket_store
import hospital_files
import pytest
from predicting import Segment, inputs_of, results_in

from pipeline.beam.settings import BeamSettings
from pipeline.errors import UserError
from pipeline.prediction.find import find_files
from pipeline.prediction.on_beam import on_beam

Lungseg = Callable[..., tuple[int, str, str]]

EXTENSIONS = ".png, .jpg, .jpeg, .tif, .tiff, .dcm, .dicom, .ima, .nii, .nii.gz"


@pytest.fixture(autouse=True)
def clinic(tmp_path: Path) -> Iterator[Path]:
    """Radiographs, a series and what is none, in a bucket."""
    bucket_store.ROOT[:] = [tmp_path]
    folder = tmp_path / "clinic"
    for name in ("a.dcm", "IM0001", "deep/b.dcm", ".hidden/c.dcm"):
        hospital_files.write_radiograph(folder / name)
    hospital_files.write_series(folder / "ct")
    for name in ("broken.png", "notes.txt", "DICOMDIR"):
        (folder / name).write_bytes(b"no image")
    yield folder
    bucket_store.ROOT.clear()


@pytest.mark.parametrize(
    ("url", "recursive", "names"),
    [
        ("bucket://clinic/notes.txt", False, ["notes.txt"]),
        ("bucket://clinic", False, ["IM0001", "a.dcm", "broken.png"]),
        ("bucket://clinic/deep/", False, ["deep/b.dcm"]),
        ("bucket://clinic/[ab]*", False, ["a.dcm", "broken.png"]),
        ("bucket://clinic/**.dcm", False, ["a.dcm", *(f"ct/slice-{i}.dcm" for i in range(12)), "deep/b.dcm"]),
        ("bucket://clinic", True, ["IM0001", "a.dcm", "broken.png", *(f"ct/slice-{i}.dcm" for i in range(12)),
         "deep/b.dcm"]),
    ],
)  # fmt: skip
def test_files_folders_and_patterns(url: str, recursive: bool, names: list[str]) -> None:
    found = find_files([url, url], recursive=recursive)
    assert sorted(found) == sorted(f"bucket://clinic/{name}" for name in names)


def test_the_same_as_from_a_folder(segment: Segment, clinic: Path, tmp_path: Path) -> None:
    here = segment(clinic / "a.dcm", clinic / "ct", clinic / "broken.png")
    names = list(results_in(tmp_path / "out"))
    shutil.rmtree(tmp_path / "out")
    there = segment("bucket://clinic/a.dcm", "bucket://clinic/ct/", "bucket://clinic/broken.png")
    assert list(results_in(tmp_path / "out")) == names
    for local, stored in zip(here.measurements, there.measurements, strict=True):
        assert stored == local.model_copy(update={"file": stored.file})
    assert [row.file for row in there.measurements] == [
        f"bucket://clinic/{name}" for name in ("a.dcm", "ct", "broken.png")
    ]


def test_only_what_is_missing_or_has_changed(segment: Segment, clinic: Path) -> None:
    urls = ("bucket://clinic/a.dcm", "bucket://clinic/deep/b.dcm")
    segment(*urls)
    assert segment(*urls).report.reused == 2
    hospital_files.write_radiograph(clinic / "a.dcm", PixelSpacing=[0.4, 0.4])
    assert segment(*urls).report.reused == 1


def test_on_beam(segment: Segment) -> None:
    rows = segment("bucket://clinic", where=partial(on_beam, beam_args=BeamSettings().arguments())).measurements
    assert [row.status for row in rows] == ["segmented", "segmented", "refused"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("bucket://clinic/none.png", "'bucket://clinic/none.png' is no file, and no folder with files"),
        ("bucket://clinic/*.jpg", "pattern 'bucket://clinic/*.jpg' matches nothing"),
        ("bucket://clinic/n*", f"'bucket://clinic/n*' holds no images ({EXTENSIONS})"),
    ],
)  # fmt: skip
def test_what_is_not_there(url: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        inputs_of(url)
    assert str(caught.value) == message


@pytest.mark.parametrize("url", ["s3://clinic/*.png", "hdfs://clinic/a.png", "https://clinic/a.png"])
def test_stores_that_are_unknown_or_not_set_up(lungseg: Lungseg, models: dict[str, Path], url: str) -> None:
    code, _, errors = lungseg("predict", "--model", models["both"], "--output", "out", url)
    assert code == 2
    assert errors.startswith(f"lungseg: '{url}' cannot be reached: ")
    assert errors.count("\n") == 1


def test_the_output_is_no_url(lungseg: Lungseg, models: dict[str, Path], clinic: Path) -> None:
    code, _, errors = lungseg("predict", "--model", models["both"], "--output", "s3://clinic/masks", clinic / "a.dcm")
    assert (code, errors) == (
        2, "lungseg: output 's3://clinic/masks' must be a folder that this machine and all workers see: mount the "
        "bucket, or copy it\n"
    )  # fmt: skip
