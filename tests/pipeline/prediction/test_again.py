"""A call after one that came to its end, or did not."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hospital_files
import pytest
from predicting import Segment, read_table, results_in

from pipeline.prediction import step
from pipeline.prediction.predict import OutputError
from schema.files import write_whole

Lungseg = Callable[..., tuple[int, str, str]]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for index in range(4):
        hospital_files.write_radiograph(tmp_path / "images" / f"{index}.dcm", PixelSpacing=[0.2, 0.2])
    hospital_files.write_series(tmp_path / "images" / "ct")
    return tmp_path / "images"


def times(output: Path) -> dict[str, int]:
    return {name: (output / name).stat().st_mtime_ns for name in results_in(output)}


def test_does_only_what_is_missing(
    segment: Segment, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = segment(images, recursive=True)
    before = times(tmp_path / "out")
    (tmp_path / "out" / "1_mask.dcm").unlink()
    (tmp_path / "out" / "2_overlay.png").unlink()
    second = segment(images, recursive=True)
    assert second.measurements == first.measurements
    assert (first.report.reused, second.report.reused) == (0, 3)
    after = times(tmp_path / "out")
    done = {name for name, time in after.items() if before.get(name) != time}
    assert done == {"1_mask.dcm", "1_overlay.png", "2_mask.dcm", "2_overlay.png"}
    # Nothing is left to do: the model is not loaded.
    monkeypatch.setattr(step.Step, "run", None)
    assert segment(images, recursive=True).report.reused == 5


def test_all_when_asked(segment: Segment, images: Path, tmp_path: Path) -> None:
    segment(images, recursive=True)
    before = times(tmp_path / "out")
    assert segment(images, recursive=True, again=True).report.reused == 0
    assert all(before[name] != time for name, time in times(tmp_path / "out").items())


@pytest.fixture
def other(models: dict[str, Path], tmp_path: Path) -> str:
    """Name of another model, of version 1."""
    folder = tmp_path / "other" / "1"
    shutil.copytree(models["both"] / "3", folder)
    (folder / "assets.extra" / "note.txt").write_text("another")
    models["other"] = folder.parent
    return "other"


def test_by_another_model(segment: Segment, images: Path, other: str, tmp_path: Path) -> None:
    segment(images / "0.dcm", images / "1.dcm")
    report = segment(images, recursive=True, model=other).report
    assert (report.reused, report.model.version) == (0, 1)
    assert {row["model_version"] for row in read_table(tmp_path / "out")} == {"1"}


def test_by_the_first_model_after_another_was_stopped(
    segment: Segment, images: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment(images / "0.dcm")

    def stop_at_the_overlay(path: Path, content: Any) -> None:
        if path.name == "0_overlay.png":
            raise OSError(28, "No space left on device")
        write_whole(path, content)

    monkeypatch.setattr("pipeline.prediction.step.write_whole", stop_at_the_overlay)
    with pytest.raises(OutputError):
        segment(images / "0.dcm", model=other)
    monkeypatch.undo()
    assert segment(images / "0.dcm").report.reused == 0, "its mask is of the other model"


def test_of_a_changed_file(segment: Segment, images: Path) -> None:
    segment(images / "0.dcm", images / "1.dcm")
    hospital_files.write_radiograph(images / "1.dcm", PixelSpacing=[0.4, 0.4])
    os.utime(images / "1.dcm", ns=(1, 1))
    zero, one = segment(images / "0.dcm", images / "1.dcm").measurements
    assert one.lung_mm2 == pytest.approx(4 * (zero.lung_mm2 or 0))


def test_after_a_disk_was_full(
    lungseg: Lungseg, models: dict[str, Path], images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def fill_up(path: Path, content: Any) -> None:
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        written.append(path.name)
        write_whole(path, content)

    monkeypatch.setattr("pipeline.prediction.step.write_whole", fill_up)
    monkeypatch.setattr("pipeline.prediction.step.count_cpus", lambda: 1)  # so that images are written in their order
    arguments = ("predict", "--model", models["both"], "--output", "out", "--recursive", images)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "measurements.csv").write_text("of an earlier call")
    code, _, errors = lungseg(*arguments)
    assert code == 1
    assert errors.splitlines() == [
        "lungseg: 'out' cannot be written: No space left on device: make room or rights there and call it again, "
        "which does only what is missing",
        *(f"lungseg: {images}/{name} is not done" for name in ("2.dcm", "3.dcm", "ct")),
    ]
    assert list(results_in(tmp_path / "out")) == ["0_mask.dcm", "0_overlay.png", "1_mask.dcm", "1_overlay.png"]
    assert not (tmp_path / "out" / "measurements.csv").exists()

    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    code, output, errors = lungseg(*arguments)
    assert (code, errors) == (0, "")
    assert output.splitlines()[-1] == "5 of 5 images segmented into out; 2 were there already"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(segment: Segment, images: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        segment(images / "0.dcm")
