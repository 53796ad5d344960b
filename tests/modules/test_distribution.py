"""Devices, and training on two of them: the same figures as on one."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from modules.distribution import strategy_for
from modules.trainer import count_shared_out

ROOT = Path(__file__).resolve().parents[2]

# Two devices first: a process cannot split its CPU once TensorFlow has started. The export is not compared.
COMPARE = """
import json, sys
from types import SimpleNamespace
from modules import trainer
trainer.export_model = lambda *_, **__: None
for one in json.load(sys.stdin):
    trainer.run_fn(SimpleNamespace(**one))
"""

Histories = dict[str, dict[str, list[float]]]


def test_one_device_needs_no_strategy() -> None:
    assert strategy_for("cpu:1") is tf.distribute.get_strategy()


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU")
def test_auto_without_a_gpu_takes_the_cpu() -> None:
    assert strategy_for("auto").num_replicas_in_sync == 1


def test_a_running_tensorflow_cannot_be_split() -> None:
    tf.constant(0)
    with pytest.raises(RuntimeError, match="devices cannot be modified after being initialized"):
        strategy_for("cpu:3")


def test_replicas_of_a_split_cpu() -> None:
    code = """
from modules.distribution import strategy_for
two = strategy_for("cpu:2")
again = strategy_for("cpu:2")
one = strategy_for("cpu:1")
print(type(two).__name__, *[strategy.num_replicas_in_sync for strategy in (two, again, one)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "MirroredStrategy 2 2 1\n"


@pytest.fixture
def train_on(tmp_path: Path, fn_args: Callable[..., Any]) -> Callable[..., Histories]:
    """Trains with a global batch of 4 on each of `devices` in one process; the histories."""

    def train(*devices: str, examples: int) -> Histories:
        runs = {}
        for name in devices:
            folder = tmp_path / name.replace(":", "-")
            folder.mkdir()
            batch_size = 4 // int(name.removeprefix("cpu:"))
            runs[name] = fn_args(folder, train=examples, devices=name, batch_size=batch_size, learning_rate=0.02)
        done = subprocess.run(
            [sys.executable, "-c", COMPARE],
            input=json.dumps([vars(args) for args in runs.values()]),
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return {
            name: json.loads((Path(args.model_run_dir) / "history.json").read_text()) for name, args in runs.items()
        }

    return train


def test_two_devices_train_like_one(train_on: Callable[..., Histories]) -> None:
    histories = train_on("cpu:2", "cpu:1", examples=12)
    for name in ("loss", "val_loss"):
        assert histories["cpu:2"][name] == pytest.approx(histories["cpu:1"][name], abs=1e-3), name


def test_a_last_batch_smaller_than_the_replicas(train_on: Callable[..., Histories]) -> None:
    assert len(train_on("cpu:2", examples=9)["cpu:2"]["loss"]) == 2


def test_a_last_batch_that_fills_no_replica_costs_nothing_else(train_on: Callable[..., Histories]) -> None:
    histories = train_on("cpu:2", "cpu:1", examples=14)
    assert histories["cpu:2"]["loss"] == pytest.approx(histories["cpu:1"]["loss"], abs=1e-3)


@pytest.mark.parametrize(
    ("total", "batch_size", "replicas", "usable"),
    [(13, 8, 1, 13), (13, 8, 2, 13), (9, 8, 2, 8), (13, 8, 4, 12), (14, 8, 4, 12), (15, 8, 4, 15), (16, 8, 4, 16)],
)
def test_every_replica_gets_a_share(total: int, batch_size: int, replicas: int, usable: int) -> None:
    assert count_shared_out(total, batch_size, replicas) == usable


def test_too_few_examples_for_the_replicas() -> None:
    with pytest.raises(ValueError, match=r"^3 examples are too few for 4 replicas$"):
        count_shared_out(3, 8, 4)
