"""Segmentation on Beam gives what it gives in this process; on Flink: tests/flink/test_prediction.py."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import beam_workers
import cv2
import hospital_files
import numpy as np
import pytest
from predicting import Segment, read_table, results_in

from pipeline.beam.settings import BeamSettings
from pipeline.errors import ComponentError, UserError
from pipeline.prediction import on_beam
from pipeline.prediction.predict import OutputError, Prediction
from pipeline.prediction.step import Step
from schema.files import write_whole

Lungseg = Callable[..., tuple[int, str, str]]

ON_BEAM = partial(on_beam.on_beam, beam_args=BeamSettings().arguments())
RASTERS = 19


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """19 PNGs, of which the eighteenth is empty, two volumes in two places and a text."""
    random = np.random.default_rng(5)
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(RASTERS):
        cv2.imwrite(str(folder / f"{index:02}.png"), random.integers(0, 256, (20, 30), np.uint8))
    (folder / "17.png").write_bytes(b"")
    hospital_files.write_nifti(folder / "08.nii")
    hospital_files.write_nifti(folder / "x.nii.gz")
    (folder / "text.dcm").write_text("This is no DICOM at all.")
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    """All files, receipts too, but for the report, which tells the time."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "predictions.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_same_bytes(segment: Segment, images: Path, tmp_path: Path) -> None:
    told: list[int] = []
    here = segment(images)
    (tmp_path / "out").rename(tmp_path / "here")
    there = segment(images, where=ON_BEAM, progress=told.append)
    assert there.measurements == here.measurements
    assert (there.report.found, there.report.segmented, there.report.refused) == (RASTERS + 3, RASTERS + 1, 2)
    assert files_in(tmp_path / "out") == files_in(tmp_path / "here")
    assert told == list(range(RASTERS + 4))
    assert not list((tmp_path / "out").glob(".call-*"))


def test_does_only_what_is_missing(segment: Segment, images: Path, tmp_path: Path) -> None:
    segment(images)
    before = files_in(tmp_path / "out")
    (tmp_path / "out" / "03_mask.png").unlink()
    again = segment(images, where=ON_BEAM)
    assert again.report.reused == RASTERS
    assert files_in(tmp_path / "out") == before


def test_paths_that_hold_here_alone(
    segment: Segment, images: Path, tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers have another working directory."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(models["both"], tmp_path / "model")
    models["relative"] = Path("model")
    monkeypatch.chdir(tmp_path)

    class Pipeline(beam.Pipeline):
        def run(self, *arguments: Any) -> Any:
            with pytest.MonkeyPatch.context() as moved:
                moved.chdir(elsewhere)
                return super().run(*arguments)

    monkeypatch.setattr(beam, "Pipeline", Pipeline)
    files = [Path("images", name) for name in ("00.png", "08.nii")]
    rows = segment(*files, model="relative", where=ON_BEAM).measurements
    assert [(row.file, row.status) for row in rows] == [(str(file), "segmented") for file in files]


def test_a_disk_that_is_full(segment: Segment, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_up(path: Path, content: Any) -> None:
        if path.name.startswith("12"):
            raise OSError(28, "No space left on device")
        write_whole(path, content)

    monkeypatch.setattr("pipeline.prediction.step.write_whole", fill_up)
    monkeypatch.setattr("pipeline.prediction.step.count_cpus", lambda: 1)
    with pytest.raises(OutputError) as caught:
        segment(images, where=ON_BEAM)
    assert str(caught.value) == f"'{tmp_path}/out' cannot be written: No space left on device"
    done = {name.partition("_")[0] for name in results_in(tmp_path / "out")}
    undone = {Path(label).name.partition(".")[0] for label in caught.value.undone}
    assert "12" in undone
    assert done.isdisjoint(undone)
    assert not (tmp_path / "out" / "measurements.csv").exists()
    assert not list((tmp_path / "out").glob(".call-*"))
    monkeypatch.undo()
    assert segment(images).report.segmented == RASTERS + 1


def test_a_batch_that_is_lost(segment: Segment, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = on_beam._Segment.process

    def lose(self: on_beam._Segment, packed: bytes) -> None:
        if b"rows-1.json" not in packed:
            process(self, packed)

    monkeypatch.setattr(on_beam._Segment, "process", lose)
    with pytest.raises(ComponentError) as caught:
        segment(images, where=ON_BEAM)
    assert str(caught.value) == (
        f"predict failed: 1 of {RASTERS + 3} inputs got lost, such as {images}/08.nii: call it again"
    )
    assert not (tmp_path / "out" / "measurements.csv").exists()


def test_a_batch_that_is_tried_again_is_done_once(
    segment: Segment, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, runs = on_beam._Segment.process, []
    run = Step.run

    def count(self: Step, *arguments: Any) -> Any:
        runs.append(arguments)
        return run(self, *arguments)

    def twice(self: on_beam._Segment, packed: bytes) -> None:
        process(self, packed)
        process(self, packed)

    monkeypatch.setattr(on_beam._Segment, "process", twice)
    monkeypatch.setattr(Step, "run", count)
    prediction = segment(images, where=ON_BEAM)
    assert len(prediction.measurements) == RASTERS + 3
    assert len(runs) == 5  # eight images, a volume, eight, the last four, a volume


def test_a_job_that_is_interrupted_is_cancelled(
    segment: Segment, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Handed:
        def wait_until_finish(self) -> None:
            raise KeyboardInterrupt

        def cancel(self) -> None:
            told.append("cancelled")

    monkeypatch.setattr(beam.Pipeline, "run", lambda *_: Handed())
    with pytest.raises(KeyboardInterrupt):
        segment(images, where=ON_BEAM)
    assert told == ["cancelled"]
    assert not list((tmp_path / "out").glob(".call-*"))


def test_a_worker_process_that_is_killed(
    segment: Segment, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beam.Pipeline, "run", beam_workers.lose_one)
    with pytest.raises(ComponentError) as caught:
        segment(images, where=ON_BEAM)
    assert str(caught.value) == f"predict failed: {beam_workers.SAID}"
    assert list((tmp_path / "out").iterdir()) == []


def test_what_else_fails_is_one_line(segment: Segment, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Prediction:
        raise RuntimeError("the engine is gone\nTraceback")

    monkeypatch.setattr(beam.Pipeline, "run", fail)
    with pytest.raises(ComponentError, match=r"^predict failed: the engine is gone$"):
        segment(images, where=ON_BEAM)


def test_a_model_that_cannot_be_loaded(segment: Segment, images: Path, models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "saved_model.pb").write_bytes(b"damaged")
    models["damaged"] = tmp_path / "damaged"
    with pytest.raises(UserError, match=rf"^the model in '{tmp_path}/damaged' cannot be read: [^\n]*$"):
        segment(images, model="damaged", where=ON_BEAM)


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (("beam.runner=flink",), "configuration: beam: runner flink needs 'job_endpoint': set beam.job_endpoint"),
        (("beam.runner=dataflow", "beam.project=p", "beam.region=r", "beam.image=i", "beam.temp_location=gs://t"),
         "beam.runner: the machines of dataflow see no folder of this one: take flink or spark"),
        (("train.epochs=3",), "--set train.epochs: only keys of the section 'beam' count here, such as beam.runner"),
    ],
)  # fmt: skip
def test_where_nothing_can_be_segmented(
    lungseg: Lungseg, images: Path, models: dict[str, Path], assignments: tuple[str, ...], message: str
) -> None:
    options = [part for assignment in assignments for part in ("--set", assignment)]
    code, _, errors = lungseg("predict", "--model", models["both"], "--output", "out", *options, images)
    assert (code, errors) == (2, f"lungseg: {message}\n")


def test_a_configuration_that_says_where(
    lungseg: Lungseg, images: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    """Other sections are not those of `predict`; with a runner of this process there is no need of Beam."""
    (tmp_path / "flink.yaml").write_text("train: {epochs: 3}\nbeam: {runner: flink, job_endpoint: localhost:1}\n")
    arguments = ("predict", "--model", models["both"], "--output", "out", "--config", "flink.yaml", images / "00.png")
    code, _, errors = lungseg(*arguments)
    assert (code, errors) == (
        2, "lungseg: configuration: beam: runner flink needs 'worker_pool': set beam.worker_pool\n"
    )  # fmt: skip
    (tmp_path / "flink.yaml").write_text("beam: {mode: in_memory}\n")
    assert lungseg(*arguments)[0] == 0


@pytest.mark.slow
@pytest.mark.nightly
def test_worker_processes(lungseg: Lungseg, images: Path, models: dict[str, Path], tmp_path: Path) -> None:
    arguments = ("predict", "--model", models["both"], images)
    here = lungseg(*arguments, "--output", "here")
    there = lungseg(*arguments, "--output", "there", "--set", "beam.mode=multi_processing", "--set", "beam.workers=2")
    assert here[0] == there[0] == 2  # two are refused
    assert here[2] == there[2]
    assert read_table(tmp_path / "there")
    assert files_in(tmp_path / "there") == files_in(tmp_path / "here")
