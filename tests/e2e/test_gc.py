"""`lungseg gc` after real runs: blessed, refused and killed; what the next runs make of what is left."""

import json
import time
from pathlib import Path

import pytest
from command_line import lungseg, run_pipeline, started

from modules.serving.serving_dir import pointed_version
from pipeline.store import open_store

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.nightly]

SMALL = (
    *("--config", "demo", "--set", "model.image_size=32", "--set", "model.levels=2", "--set", "model.filters=4"),
    *("--set", "train.warmup=0", "--set", "train.epochs=1", "--set", "evaluate.min_patients=1"),
)
LENIENT = ("--set", "evaluate.rules=[{metric: dice_mean, at_least: 0}]")
STRICT = ("--set", "evaluate.rules=[{metric: dice_mean, at_least: 0.9999}]")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    assert lungseg("phantoms", "--output", tmp_path / "images", "--count", 40, "--size", 64).returncode == 0
    arguments = ("--layout", "folder", "--input", tmp_path / "images", "--output", tmp_path / "data", "--size", 64)
    assert lungseg("ingest", *arguments).returncode == 0
    return tmp_path / "data"


def seed(number: int) -> tuple[str, str]:
    return "--set", f"train.seed={number}"


def run_and_kill(root: Path, data: Path, *settings: object) -> None:
    """Kill a run once it has written a checkpoint."""
    process = started("run", "--data", data, "--root", root, *settings)
    deadline = time.monotonic() + 600
    while not list(root.glob("checkpoints/*/checkpoint.npz")):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()


def size_of(root: Path) -> int:
    folders = (root / "artifacts", root / "checkpoints")
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def lineage_of(root: Path, version: int) -> set[Path]:
    """Return the folders of all artifacts that a pushed model is made of, as the store has them."""
    with open_store(root) as store:
        artifacts = {artifact.id: artifact for artifact in store.get_artifacts()}
        events = store.get_events_by_execution_ids([execution.id for execution in store.get_executions()])
    wanted = [
        id_ for id_, each in artifacts.items() if each.custom_properties["pushed_version"].string_value == str(version)
    ]
    found: set[int] = set()
    while wanted:
        artifact = wanted.pop()
        if artifact not in found:
            found.add(artifact)
            makers = {
                event.execution_id for event in events if event.artifact_id == artifact and event.type == event.OUTPUT
            }
            wanted += [
                event.artifact_id for event in events if event.execution_id in makers and event.type == event.INPUT
            ]
    return {Path(artifacts[id_].uri) for id_ in found}


def test_a_clean_up_between_runs(data: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    first = run_pipeline(root, data, *SMALL, *LENIENT, *seed(11))
    assert first.code == 0, first.output
    assert run_pipeline(root, data, *SMALL, *STRICT, *seed(2)).code == 3
    copies = ("--set", "augment.copies.train=2")
    run_and_kill(root, data, *SMALL, *LENIENT, *copies, "--set", "train.epochs=50")
    second = run_pipeline(root, data, *SMALL, *LENIENT, *seed(3))
    assert second.code == 0, second.output

    before = size_of(root)
    shown = lungseg("gc", "--root", root, "--keep", 1, "--dry-run")
    assert (shown.returncode, size_of(root)) == (0, before)
    for reason in (
        "version 2 serves",
        "not blessed, and of no later one",
        "checkpoint of a training",
        "a step that was",
    ):
        assert reason in shown.stdout
    assert lungseg("gc", "--root", root, "--keep", 1).returncode == 0
    assert size_of(root) < 0.7 * before
    assert list((root / "checkpoints").iterdir()) == []
    lineage = lineage_of(root, 2)
    assert len(lineage) > 10
    assert all(folder.is_dir() and any(folder.iterdir()) for folder in lineage)

    assert run_pipeline(root, data, *SMALL, *LENIENT, *seed(3)).result["status"] == "unchanged"
    again = run_pipeline(root, data, *SMALL, *STRICT, *seed(2))
    assert again.code == 3
    cached = {component["id"]: component["cached"] for component in again.result["components"]}
    assert cached["Transform"], "which version 2 is made of"
    assert not cached["Trainer"]
    for version in (1, 2):
        done = lungseg("promote", "--root", root, "--to", version)
        assert (done.returncode, pointed_version(root / "serving")) == (0, version), done.stderr
    runs = json.loads(lungseg("history", "--root", root, "--json").stdout)
    assert [run["status"] for run in runs] == [
        "blessed",
        "not_blessed",
        "unfinished",
        "blessed",
        "unchanged",
        "not_blessed",
    ]
