"""Devices and workers: how they are chosen, and that training on several gives the figures of one."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from training_process import start

from modules.network.settings import ModelSettings
from modules.training.distribution import compiles, dtype_policy, is_chief, strategy_for
from modules.training.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[3]


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
from modules.training.distribution import compiles, dtype_policy, is_chief, strategy_for
two = strategy_for("cpu:2")
again = strategy_for("cpu:2")
one = strategy_for("cpu:1")
print(type(two).__name__, *[strategy.num_replicas_in_sync for strategy in (two, again, one)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "MirroredStrategy 2 2 1\n"


def test_more_gpus_than_there_are() -> None:
    with pytest.raises(ValueError, match=r"^train\.devices is gpu:99, but TensorFlow sees \d+ GPUs on this machine$"):
        strategy_for("gpu:99")


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": 3}', '{"cluster": {"worker": 3}}'])
def test_a_broken_tf_config(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=r"^TF_CONFIG must be JSON with a cluster and a task, is "):
        strategy_for("auto")


def test_workers_take_all_that_they_have(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = '{"cluster": {"worker": ["localhost:1", "localhost:2"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv("TF_CONFIG", cluster)
    with pytest.raises(ValueError, match=r"^train\.devices is cpu:1, but TF_CONFIG .*: set it to auto$"):
        strategy_for("cpu:1")


def test_a_cluster_of_one_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["localhost:1"]}, "task": {"type": "worker", "index": 0}}')
    assert strategy_for("cpu:1") is tf.distribute.get_strategy()


class FakeStrategy:
    """A strategy that is asked for nothing but who it is."""

    def __init__(self, jobs: list[str], task_type: str | None, task_id: int | None) -> None:
        cluster = tf.train.ClusterSpec({job: [f"{job}:1", f"{job}:2"] for job in jobs})
        self.cluster_resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, "", task_type, task_id)


@pytest.mark.parametrize(
    ("jobs", "task_type", "task_id", "chief"),
    [
        (["worker"], "worker", 0, True),
        (["worker"], "worker", 1, False),
        (["chief", "worker"], "chief", 0, True),
        (["chief", "worker"], "worker", 0, False),
        ([], None, None, True),
    ],
)
def test_who_is_chief(jobs: list[str], task_type: str | None, task_id: int | None, chief: bool) -> None:
    assert is_chief(FakeStrategy(jobs, task_type, task_id)) is chief
    assert is_chief(tf.distribute.get_strategy())


@pytest.mark.parametrize(
    ("precision", "capabilities", "policy"),
    [
        ("auto", [], "float32"),
        ("auto", [(8, 0)], "mixed_bfloat16"),
        ("auto", [(9, 0), (7, 5)], "mixed_float16"),
        ("auto", [None], "mixed_float16"),
        ("float32", [(9, 0)], "float32"),
        ("float16", [], "mixed_float16"),
        ("bfloat16", [], "mixed_bfloat16"),
    ],
)
def test_precision_follows_the_hardware(
    monkeypatch: pytest.MonkeyPatch, precision: str, capabilities: list[tuple[int, int] | None], policy: str
) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: capabilities if kind == "GPU" else [])
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu} if gpu else {}
    )
    assert dtype_policy(TrainSettings.model_validate({"precision": precision})) == policy
    assert dtype_policy(TrainSettings(devices="cpu:1")) == "float32"


def test_when_xla_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    synchronized, apart = ModelSettings(), ModelSettings(normalization="group")
    assert not compiles(TrainSettings(devices="cpu:1"), synchronized, 1)
    assert compiles(TrainSettings(devices="cpu:1", xla=True), synchronized, 1)
    with pytest.raises(ValueError, match=r"^train\.xla cannot compile .*: set model\.normalization to batch or group$"):
        compiles(TrainSettings(xla=True), synchronized, 2)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"])
    assert compiles(TrainSettings(), synchronized, 1)
    assert not compiles(TrainSettings(), synchronized, 2)
    assert compiles(TrainSettings(), apart, 2)
    assert not compiles(TrainSettings(xla=False), apart, 2)


IMAGES_A_STEP = 8
EXAMPLES = 27
"""No multiple of anything: steps of 7 and 6 images, shares of one to four."""

Train = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def train_on(tmp_path: Path, fn_args: Callable[..., Any]) -> Train:
    """Trains in a new process on some devices, or in several processes; what each of them has in the end."""

    def train(replicas: int = 1, workers: int = 1, **settings: Any) -> list[dict[str, Any]]:
        folder = tmp_path / f"{replicas}-{workers}"
        folder.mkdir()
        shared = {"learning_rate": 0.02, "epochs": 3, **settings}
        args = fn_args(
            folder,
            train=EXAMPLES,
            devices=f"cpu:{replicas}" if workers == 1 else "auto",
            batch_size=IMAGES_A_STEP // (replicas * workers),
            **shared,
        )
        cluster = [f"localhost:{_free_port()}" for _ in range(workers)] if workers > 1 else None
        processes = [
            start(args, folder / f"{index}.npz", cluster, index, folder / f"model{index}") for index in range(workers)
        ]
        for process in processes:
            process.wait(timeout=300)
        for index, process in enumerate(processes):
            assert process.returncode == 0, (folder / f"{index}.log").read_text()[-3000:]
        return [dict(np.load(folder / f"{index}.npz")) for index in range(workers)]

    return train


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return int(server.getsockname()[1])


def agree(trained: dict[str, Any], other: dict[str, Any], within: float) -> None:
    for name, values in trained.items():
        if name.startswith("history_"):
            assert values == pytest.approx(other[name], abs=within), name


def variables_of(exported: Path) -> dict[str, Any]:
    reader = tf.train.load_checkpoint(str(exported / "variables" / "variables"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if name[0] != "_"}


@pytest.mark.slow
def test_replicas_train_like_one_device(train_on: Train) -> None:
    (single,) = train_on(1)
    assert len(single["history_loss"]) == 3
    for replicas in (2, 4):
        (several,) = train_on(replicas)
        agree(several, single, within=1e-3)


@pytest.mark.slow
def test_workers_train_like_one_device(train_on: Train, tmp_path: Path) -> None:
    (single,) = train_on(1)
    chief, other = train_on(1, workers=2)
    agree(chief, single, within=1e-3)
    agree(other, chief, within=0)
    assert [bool(chief["writes"]), bool(other["writes"])] == [True, False]
    weights = [name for name in chief if name.startswith("arr_")]
    assert all(np.array_equal(chief[name], other[name]) for name in weights)
    one_export, other_export = (variables_of(tmp_path / f"1-2/model{index}") for index in range(2))
    assert one_export.keys() == other_export.keys()
    assert all(np.array_equal(one_export[name], other_export[name]) for name in one_export)
    checkpoints = list((tmp_path / "1-2/checkpoints").glob("*/*"))
    assert [file.name for file in checkpoints] == ["checkpoint.npz"]


@pytest.mark.nightly
@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "float16"},
        {"model": {"normalization": "batch", "dropout": 0.2}},
        {"average_weights": 0.5, "model": {"deep_supervision": True, "levels": 2}},
    ],
    ids=["float16", "batch", "averaged"],
)
def test_options_on_two_replicas(train_on: Train, settings: dict[str, Any]) -> None:
    (trained,) = train_on(2, **settings)
    assert np.isfinite(trained["history_loss"]).all()
    assert trained["history_loss"][-1] < trained["history_loss"][0]
    if "precision" not in settings:  # what is exported is what was validated
        best = np.argmax(trained["history_val_dice"])
        assert trained["exported_loss"] == pytest.approx(trained["history_val_loss"][best], abs=1e-5)
