"""Trainings that a run can ask for: after a search, from the model blessed last, and again after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import Outcome, run_pipeline

from schema.reports.training import TrainingHistory

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SMALL = ("--config", "demo", "--set", "model.image_size=32", "--set", "model.levels=2", "--set", "train.warmup=0")
LENIENT = ("--set", "evaluate.rules=[{metric: dice_mean, at_least: 0.1}]", "--set", "evaluate.min_patients=1")


def history_of(root: Path) -> dict[str, list[float | None]]:
    files = sorted(
        (root / "artifacts/Trainer/model_run").glob("*/history.json"), key=lambda path: int(path.parent.name)
    )
    return TrainingHistory.read(files[-1].parent).figures


@pytest.fixture(scope="module")
def searched(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    root = tmp_path_factory.mktemp("searched")
    search = ("--set", "tune.trials=2", "--set", "tune.trial_epochs=1", "--set", "tune.filters=[4]")
    return root, run_pipeline(root, phantom_data, *SMALL, *LENIENT, *search, "--set", "train.epochs=2")


@pytest.mark.nightly
def test_a_search_feeds_the_training(searched: tuple[Path, Outcome]) -> None:
    root, outcome = searched
    assert outcome.code == 0, outcome.output
    (file,) = (root / "artifacts/Tuner/best_hyperparameters").glob("*/*")
    best = json.loads(file.read_text())["values"]
    assert f"as tuned: train.learning_rate {best['train.learning_rate']:.4g}" in outcome.output
    assert "trial 1 of 2: " in outcome.output
    assert list((root / "checkpoints").iterdir()) == []


@pytest.mark.nightly
def test_a_warm_start_begins_with_the_blessed_model(searched: tuple[Path, Outcome], phantom_data: Path) -> None:
    root, _ = searched
    cold = history_of(root)
    warm = (*SMALL, *LENIENT, "--set", "model.filters=4", "--set", "train.warm_start=true", "--set", "train.epochs=1")
    outcome = run_pipeline(root, phantom_data, *warm)
    assert outcome.code == 0, outcome.output
    assert "begins with the weights of the model blessed last" in outcome.output
    first, first_cold = history_of(root)["loss"][0], cold["loss"][0]
    assert first is not None
    assert first_cold is not None
    assert first < first_cold

    other = run_pipeline(root, phantom_data, *warm, "--set", "model.filters=8")
    assert other.code == 1
    assert other.output.splitlines()[-1] == (
        "lungseg: Trainer failed: the model blessed last has model.filters 4, this one 8: "
        "set it to that, or train.warm_start to false"
    )


def test_the_first_run_has_nothing_to_start_from(phantom_data: Path, tmp_path: Path) -> None:
    settings = ("--set", "train.warm_start=true", "--set", "train.epochs=1", "--set", "train.devices=cpu:2")
    outcome = run_pipeline(tmp_path, phantom_data, *SMALL, *LENIENT, *settings)
    assert outcome.code == 0, outcome.output
    assert "with 2 replica(s)" in outcome.output
    assert "begins with the weights" not in outcome.output


@pytest.mark.nightly
def test_a_killed_run_goes_on(phantom_data: Path, tmp_path: Path) -> None:
    settings = (*SMALL, *LENIENT, "--set", "train.epochs=6", "--set", "model.filters=4")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_pipeline(whole, phantom_data, *settings).code == 0

    command = [sys.executable, "-m", "pipeline", "run", "--data", phantom_data, "--root", killed, *settings]
    process = subprocess.Popen(
        [*map(str, command), "--set", "train.epochs=6"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
    )
    deadline = time.monotonic() + 300
    while not list(killed.glob("checkpoints/*/checkpoint.npz")):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(killed.glob("serving/*")) == []

    outcome = run_pipeline(killed, phantom_data, *settings)
    assert outcome.code == 0, outcome.output
    assert "going on after epoch " in outcome.output
    assert history_of(killed) == history_of(whole)
    assert outcome.result["slices"] == json.loads((whole / "result.json").read_text())["slices"]
    assert list((killed / "checkpoints").iterdir()) == []
