"""The data stages give the same on a Flink cluster as on this machine, also when a part of the cluster dies."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
import tensorflow as tf
from tfx import types
from augmenting import augment, counts, hashes, write_originals
from flink_cluster import FlinkCluster

from components.augmenter.policy import load_policy
from pipeline.beam.settings import BeamSettings
from pipeline.commands.phantoms import write_phantoms
from pipeline.config import Config, load_config
from pipeline.graph import create_pipeline
from pipeline.ingest.ingest import ingest
from pipeline.runners import LocalRunner

pytestmark = pytest.mark.slow

HERE = BeamSettings()
PROCESSES = BeamSettings(mode="multi_processing", workers=2)
ORIGINALS = {"train": 240, "eval": 4, "test": 6}
SETTINGS = {"model.image_size": "64", "train.epochs": "1", "evaluate.min_patients": "3"}
VALIDATED = "RecordValidator.validated_examples"
AUGMENTED = "Augmenter.augmented_examples"
TRANSFORMED = "Transform.transformed_examples"


class Run(NamedTuple):
    """A run of the whole graph.

    Attributes:
        config: of the run.
        made: artifacts by component and key.
    """

    config: Config
    made: dict[str, types.Artifact]

    def span(self) -> dict[str, bytes]:
        """The files that the ingest wrote."""
        return {path.name: path.read_bytes() for path in (self.config.data.root / "span-1").iterdir()}

    def evaluation(self) -> str:
        return Path(self.made["Evaluator.evaluation"].uri, "evaluation.json").read_text()


def run(root: Path, images: Path, beam: BeamSettings) -> Run:
    """Ingests, and runs the whole graph."""
    ingest("folder", str(images), str(root / "data"), size=128, beam_args=beam.arguments())
    config = load_config("demo", SETTINGS, data=root / "data", root=root).model_copy(update={"beam": beam})
    runner = LocalRunner(root, mock.Mock())
    runner.run(create_pipeline(config, runner.connection))
    made = ((f"{run.id}.{key}", outputs) for run in runner.runs for key, outputs in run.outputs.items())
    return Run(config, {name: artifact for name, artifacts in made for artifact in artifacts})


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_phantoms(folder, count=60, seed=0, size=128)
    return folder


@pytest.fixture(scope="module")
def here(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("here"), images, HERE)


@pytest.fixture(scope="module")
def there(images: Path, tmp_path_factory: pytest.TempPathFactory, cluster: FlinkCluster) -> Run:
    made = run(tmp_path_factory.mktemp("there"), images, cluster.beam)
    assert len({subtask["taskmanager-id"] for subtask in cluster.newest_job()["subtasks"]}) == 2
    return made


def in_order(serialized: bytes) -> bytes:
    """A record with its features in order: TFX writes them in another one in each process."""
    return bytes(tf.train.Example.FromString(serialized).SerializeToString(deterministic=True))


def test_a_dead_task_manager_costs_no_record(cluster: FlinkCluster, tmp_path: Path) -> None:
    examples, chest = write_originals(tmp_path / "examples", ORIGINALS), load_policy("chest")
    # So many copies that there is time to kill what makes them.
    policy = chest.model_copy(update={"copies": {**chest.copies, "train": 4}})
    expected = augment(examples, policy, tmp_path / "here", HERE)
    with ThreadPoolExecutor(1) as thread:
        augmenting = thread.submit(augment, examples, policy, tmp_path / "there", cluster.beam)
        while not any(tmp_path.glob("there/out/Split-train/beam-temp-*/*")) and not augmenting.done():
            time.sleep(0.05)
        cluster.kill_task_manager(0)
        augmented = augmenting.result()
    assert max(subtask["attempt"] for subtask in cluster.newest_job()["subtasks"]) > 0
    cluster.restart_task_manager(0)
    digests = hashes(augmented)
    assert digests == hashes(expected)
    for split, size in ORIGINALS.items():
        assert len(set(digests[split])) == len(digests[split]) == size * (1 + policy.copies_of(split))
    # Of attempts, Flink counts those alone that the result is made of.
    assert counts(augmented) == counts(expected)


@pytest.mark.nightly
def test_a_whole_run_gives_the_same(here: Run, there: Run) -> None:
    assert there.span() == here.span()
    assert there.made.keys() == here.made.keys()
    for name in ("ExampleGen.examples", VALIDATED, AUGMENTED):
        assert hashes(there.made[name]) == hashes(here.made[name]), name
    assert hashes(there.made[TRANSFORMED], in_order) == hashes(here.made[TRANSFORMED], in_order)
    assert there.evaluation() == here.evaluation()


@pytest.mark.nightly
def test_copies_are_the_same_in_one_process_in_several_and_on_two_task_managers(
    here: Run, there: Run, tmp_path: Path
) -> None:
    in_processes = augment(here.made[VALIDATED], here.config.augment.effective_policy, tmp_path, PROCESSES)
    assert hashes(here.made[VALIDATED]) == hashes(there.made[VALIDATED])
    assert hashes(here.made[AUGMENTED]) == hashes(in_processes) == hashes(there.made[AUGMENTED])
