"""A study with an external set, and an external set that is trained on."""

import csv
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from command_line import lungseg, started
from PIL import Image

from schema.reports.study import StudyResult
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


def trainings(outcome: StudyResult) -> dict[str, bool]:
    """Whether each training came from the cache, by the id of its Trainer."""
    return {run.id: run.cached for run in outcome.components if run.id.startswith("Trainer-")}


class Studied(NamedTuple):
    """A study with and without copies."""

    root: Path
    command: tuple[object, ...]
    said: str
    result: StudyResult


@pytest.fixture(scope="module")
def studied(phantom_data: Path, other_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Studied:
    root = tmp_path_factory.mktemp("study")
    command = (
        "study",
        "--data",
        phantom_data,
        "--root",
        root,
        *SETTINGS,
        "--external",
        f"north={other_data}",
        "--seeds",
        1,
    )
    done = lungseg(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return Studied(root, command, done.stdout, StudyResult.read(root))


def test_a_study(studied: Studied) -> None:
    root, _, said, first = studied
    assert "2 trainings (2 arms x 1 seed); how long they take will be known after the first" in said
    assert "Training 2 of 2: " in said
    assert [arm.name for arm in first.comparison.arms] == ["originals only", "with copies"]
    north = first.comparison.find("north", {"is_augmented": "0"})
    assert north is not None
    assert north.examples == 12
    for set_ in ("test", "north"):
        slice_ = first.comparison.find(set_, {})
        assert slice_ is not None
        without, with_ = slice_.arms
        change = with_.differences["dice_mean"].estimate
        assert change.interval is not None
        plain, other = (arm.metrics["dice_mean"].value for arm in (with_, without))
        assert plain is not None
        assert other is not None
        assert change.value == pytest.approx(plain - other)
        low, high = change.interval
        assert low <= plain - other <= high
    assert (root / "report" / "index.html").exists()
    assert not (root / "serving").exists(), "a study releases nothing"
    assert list(trainings(first).values()) == [False, False]
    histories = [
        TrainingHistory.read(*(root / "artifacts" / trainer / "model_run").iterdir()).figures
        for trainer in trainings(first)
    ]
    assert [len(history["loss"]) for history in histories] == [2, 2]
    assert histories[0]["loss"] != histories[1]["loss"]


@pytest.mark.nightly
def test_a_study_of_other_arms_trains_what_is_new(studied: Studied, tmp_path: Path) -> None:
    root, command, _, first = studied
    arms = tmp_path / "arms.yaml"
    arms.write_text("plain: { train.copies: false }\nas it is:\nslow: { train.learning_rate: 0.001 }\n")
    done = lungseg(*command, "--arms", arms)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "; 2 of them were done before and are not done again unless data or code have changed; about " in done.stdout
    second = StudyResult.read(root)
    assert [arm.name for arm in second.comparison.arms] == ["plain", "as it is", "slow"]
    known = trainings(first)
    assert {trainer: cached for trainer, cached in trainings(second).items() if trainer in known} == dict.fromkeys(
        known, True
    )
    assert sorted(trainings(second).values()) == [False, True, True], "only the arm that was added is trained"


@pytest.mark.nightly
def test_a_study_that_is_broken_off_goes_on(phantom_data: Path, tmp_path: Path) -> None:
    arms = tmp_path / "arms.yaml"
    arms.write_text("a:\nb: { train.learning_rate: 0.001 }\nc: { augment.copies.train: 2 }\n")
    command = ("study", "--data", phantom_data, "--root", tmp_path / "root", *SETTINGS, "--seeds", 2, "--arms", arms)
    with started(*command) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Training 4 of 6"):
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    done = lungseg(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 trainings (3 arms x 2 seeds); 3 of them were done before" in done.stdout
    assert sorted(trainings(StudyResult.read(tmp_path / "root")).values()) == [False] * 3 + [True] * 3

    with arms.open("a") as file:
        file.write("d: { model.filters: 4 }\n")
    done = lungseg(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(trainings(StudyResult.read(tmp_path / "root")).values()) == [False] * 2 + [True] * 6


@pytest.mark.nightly
def test_folds_test_every_patient_once(phantom_data: Path, tmp_path: Path) -> None:
    done = lungseg("study", "--data", phantom_data, "--root", tmp_path, *SETTINGS, "--seeds", 1, "--folds", 3)
    assert done.returncode == 0, done.stdout + done.stderr
    originals = StudyResult.read(tmp_path).comparison.find("test", {"is_augmented": "0"})
    assert originals is not None
    assert originals.examples == 80
    tested = [
        row["image_id"]
        for folder in sorted((tmp_path / "artifacts").glob("Evaluator-with-copies-7-fold-*/evaluation/*"))
        for row in csv.DictReader((folder / "images.csv").open())
        if row["is_augmented"] == "0"
    ]
    assert len(tested) == len(set(tested)) == 80


@pytest.mark.nightly
def test_spoilt_masks_are_among_the_most_doubtful(tmp_path: Path) -> None:
    drawn, data, root = tmp_path / "drawn", tmp_path / "data", tmp_path / "root"
    assert lungseg("phantoms", "--output", drawn, "--count", 240, "--size", 128).returncode == 0
    with (drawn / "metadata.csv").open() as file:
        patients = {row["patient_id"]: row["image"] for row in csv.DictReader(file)}
    spoilt = list(patients.values())[5:165:20]
    files = [drawn / "masks" / f"{name}.png" for name in spoilt]
    masks = [np.asarray(Image.open(file)) for file in files]
    swapped, shifted = (*masks[1:4], masks[0]), [np.roll(mask, (-6, 9), axis=(0, 1)) for mask in masks[4:]]
    for path, mask in zip(files, (*swapped, *shifted), strict=True):
        Image.fromarray(mask).save(path)
    assert lungseg("ingest", "--layout", "folder", "--input", drawn, "--output", data, "--size", 128).returncode == 0

    settings = ("--config", "demo", "--set", "model.image_size=64", "--seeds", 1, "--folds", 5)
    done = lungseg("study", "--data", data, "--root", root, *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    with (root / "doubtful" / "doubtful.csv").open() as file:
        most = [row["image_id"] for row in csv.DictReader(file)][:12]
    assert not set(spoilt) - set(most), most


def test_an_external_set_that_is_trained_on(phantom_data: Path, tmp_path: Path) -> None:
    shutil.copytree(phantom_data, tmp_path / "copy")
    external = ("--external", f"north={tmp_path / 'copy'}")
    done = lungseg("run", "--data", phantom_data, "--root", tmp_path / "root", *SETTINGS, *external)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("lungseg: DataGate failed: external set 'north': ")
    assert "test sets must hold no image or patient that is trained on" in done.stderr
    assert not (tmp_path / "root" / "artifacts" / "Trainer").exists(), "before anything is trained"
