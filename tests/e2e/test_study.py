"""A study with an external set, and an external set that is trained on."""

import shutil
from pathlib import Path

import pytest
from command_line import lungseg

from schema.reports.result import StudyResult
from schema.reports.training import TrainingHistory

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SETTINGS = (
    "--config", "demo", "--set", "model.image_size=64", "--set", "train.epochs=2", "--set", "evaluate.min_patients=3",
)  # fmt: skip


@pytest.fixture(scope="module")
def other_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other")
    assert lungseg("phantoms", "--output", folder / "images", "--count", 12, "--size", 128, "--seed", 9).returncode == 0
    metadata = folder / "images" / "metadata.csv"
    # Patients of another hospital, though they bear the same names.
    metadata.write_text(metadata.read_text().replace("phantom-a", "north-a").replace("phantom-b", "north-b"))
    arguments = ("--layout", "folder", "--input", folder / "images", "--output", folder / "data", "--size", 128)
    assert lungseg("ingest", *arguments).returncode == 0
    return folder / "data"


def test_a_study(phantom_data: Path, other_data: Path, tmp_path: Path) -> None:
    external = ("--external", f"north={other_data}")
    done = lungseg("study", "--data", phantom_data, "--root", tmp_path, *SETTINGS, *external)
    assert done.returncode == 0, done.stdout + done.stderr
    evaluation = StudyResult.read(tmp_path).evaluation
    assert evaluation.baseline == "originals only"
    slices = {slice_.slice: slice_ for slice_ in evaluation.slices}
    assert slices["set:north,is_augmented:0"].examples == 12
    for name in ("overall", "is_augmented:0", "set:north"):
        slice_ = slices[name]
        assert slice_.baseline is not None
        assert slice_.difference is not None
        plain, without, change = (
            metrics["dice_mean"] for metrics in (slice_.metrics, slice_.baseline, slice_.difference)
        )
        assert plain.value is not None
        assert without.value is not None
        assert change.interval is not None
        difference = plain.value - without.value
        assert change.value == pytest.approx(difference)
        low, high = change.interval
        assert low <= difference <= high
    assert "set:north" in done.stdout
    assert (tmp_path / "report" / "index.html").exists()
    assert not (tmp_path / "serving").exists(), "a study releases nothing"
    histories = {
        name: TrainingHistory.read(*(tmp_path / "artifacts" / name / "model_run").iterdir()).figures
        for name in ("Trainer", "OriginalsTrainer")
    }
    assert len(histories["Trainer"]["loss"]) == len(histories["OriginalsTrainer"]["loss"]) == 2
    assert histories["Trainer"]["loss"] != histories["OriginalsTrainer"]["loss"]


def test_an_external_set_that_is_trained_on(phantom_data: Path, tmp_path: Path) -> None:
    shutil.copytree(phantom_data, tmp_path / "copy")
    external = ("--external", f"north={tmp_path / 'copy'}")
    done = lungseg("run", "--data", phantom_data, "--root", tmp_path / "root", *SETTINGS, *external)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("lungseg: DataGate failed: external set 'north': ")
    assert "test sets must hold no image or patient that is trained on" in done.stderr
    assert not (tmp_path / "root" / "artifacts" / "Trainer").exists(), "before anything is trained"
