"""Interrupted trainings: they go on where they were, end as if nothing had been, and never take another's state."""

import logging
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from break_off import BreakOff
from training_process import start

from modules.training.checkpoint import checkpoint_key
from modules.training.trainer import Trained, read_job, train

MakeArgs = Callable[..., Any]


class Stop(keras.callbacks.Callback):
    """Breaks off in mid-epoch, as a kill would."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch, self.seen = epoch, -1

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.seen = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.seen == self.epoch and batch == 0:
            raise KeyboardInterrupt


def run(args: Any, stop_in: int | None = None) -> Trained:
    return train(read_job(args), *([Stop(stop_in)] if stop_in is not None else []))


def equal(trained: Trained, other: Trained) -> bool:
    return trained.history == other.history and all(
        np.array_equal(a, b) for a, b in zip(trained.model.get_weights(), other.model.get_weights(), strict=True)
    )


OPTIONS = {"epochs": 4, "learning_rate": 0.02, "model": {"dropout": 0.3}, "average_weights": 0.5, "weight_decay": 0.01}


@pytest.fixture(scope="module")
def reference(fn_args: MakeArgs, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return run(fn_args(tmp_path_factory.mktemp("reference"), **OPTIONS))


def test_two_trainings_are_equal_to_the_bit(reference: Trained, fn_args: MakeArgs, tmp_path: Path) -> None:
    assert equal(run(fn_args(tmp_path, **OPTIONS)), reference)


def test_one_that_was_broken_off_ends_the_same(
    reference: Trained, fn_args: MakeArgs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    args = fn_args(tmp_path, **OPTIONS)
    for epoch in (1, 2, 2):
        with pytest.raises(KeyboardInterrupt):
            run(args, stop_in=epoch)
    with caplog.at_level(logging.INFO, "lungseg.trainer"):
        ended = run(args)
    assert "going on after epoch 2 from " in caplog.text
    assert equal(ended, reference)
    assert run(args, stop_in=0).history == reference.history, "all is done: only the best weights are taken"
    ended.checkpoint.remove()
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_patience_is_remembered(fn_args: MakeArgs, tmp_path: Path) -> None:
    settings = {"epochs": 9, "patience": 1, "learning_rate": 1.0}
    (tmp_path / "whole").mkdir()
    whole = run(fn_args(tmp_path / "whole", **settings))
    ended = len(whole.history["loss"])
    assert ended < 9
    (tmp_path / "parts").mkdir()
    args = fn_args(tmp_path / "parts", **settings)
    with pytest.raises(KeyboardInterrupt):
        run(args, stop_in=ended - 1)
    assert equal(run(args), whole)


@pytest.fixture(scope="module")
def broken_off(fn_args: MakeArgs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was broken off in its second epoch."""
    folder = tmp_path_factory.mktemp("broken_off")
    with pytest.raises(KeyboardInterrupt):
        run(fn_args(folder, **OPTIONS), stop_in=1)
    return folder


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({}, 1),
        ({"learning_rate": 0.03}, 0),
        ({"model": {"dropout": 0.2}}, 0),
        ({"seed": 8}, 0),
        ({"batch_size": 2}, 0),
        ({"epochs": 5}, 0),
    ],
    ids=lambda value: next(iter(value), "nothing") if isinstance(value, dict) else "",
)
def test_another_configuration_starts_anew(
    broken_off: Path, fn_args: MakeArgs, change: dict[str, Any], first: int
) -> None:
    look = BreakOff(0)
    with pytest.raises(KeyboardInterrupt):
        train(read_job(fn_args(broken_off, **{**OPTIONS, **change})), look)
    assert look.first == first


def test_a_spoilt_checkpoint_is_not_used(
    reference: Trained, fn_args: MakeArgs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    args = fn_args(tmp_path, **OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        run(args, stop_in=2)
    (file,) = (tmp_path / "checkpoints").glob("*/*")
    file.write_bytes(file.read_bytes()[:1000])
    assert equal(run(args), reference)
    assert "cannot be read" in caplog.text
    assert "training starts anew" in caplog.text


def test_a_key_follows_from_everything() -> None:
    assert checkpoint_key(a=1, b=[2]) == checkpoint_key(b=[2], a=1)
    assert len({checkpoint_key(a=1), checkpoint_key(a=2), checkpoint_key(b=1), checkpoint_key(a="1")}) == 4


@pytest.mark.nightly
def test_killed_three_times_it_ends_the_same(fn_args: MakeArgs, tmp_path: Path) -> None:
    """kill -9 at random moments of a training of six epochs in a process of its own."""
    settings = {"epochs": 6, "train": 400, "batch_size": 4, "learning_rate": 0.02, "model": {"filters": 4, "levels": 2}}
    (tmp_path / "reference").mkdir()
    whole = fn_args(tmp_path / "reference", **settings)
    assert start(whole, tmp_path / "reference.npz").wait() == 0

    args = fn_args(tmp_path, **settings)
    moments = random.Random(1)  # noqa: S311
    written = 0.0
    for _ in range(3):
        process = start(args, tmp_path / "killed.npz")
        while not (states := list((tmp_path / "checkpoints").glob("*/*.npz"))) or states[0].stat().st_mtime == written:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))  # somewhere in an epoch, or while the next state is written
        process.send_signal(signal.SIGKILL)
        process.wait()
        written = states[0].stat().st_mtime
    assert not (tmp_path / "killed.npz").exists()
    assert start(args, tmp_path / "ended.npz").wait() == 0
    with np.load(tmp_path / "reference.npz") as reference, np.load(tmp_path / "ended.npz") as other:
        assert reference.files == other.files
        for name in reference.files:
            assert other[name] == pytest.approx(reference[name], abs=1e-5)
