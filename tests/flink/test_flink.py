"""The data stages give the same on a Flink cluster as on this machine, also when a part of the cluster dies."""

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
import tensorflow as tf
from tfx import types
from flink_cluster import FlinkCluster
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts

from components.augmenter import executor
from components.augmenter.policy import Policy, load_policy
from pipeline.beam import BeamSettings
from pipeline.config import load_config
from pipeline.graph import create_pipeline
from pipeline.ingest.ingest import ingest
from pipeline.local_runner import LocalRunner
from pipeline.phantoms import phantom, write_phantoms
from schema.record import Record, encode

pytestmark = pytest.mark.slow

HERE = BeamSettings()
ORIGINALS = {"train": 240, "eval": 4, "test": 6}
COUNTS = ("read", "originals", "copies", "redrawn", "left_out")


def originals(folder: Path) -> standard_artifacts.Examples:
    """Splits as large as `ORIGINALS` says, in three files each."""
    examples = standard_artifacts.Examples()
    examples.uri = str(folder)
    examples.split_names = artifact_utils.encode_split_names(list(ORIGINALS))
    for split, size in ORIGINALS.items():
        target = folder / f"Split-{split}"
        target.mkdir(parents=True)
        for shard in range(3):
            with tf.io.TFRecordWriter(str(target / f"data_tfrecord-{shard:05d}-of-00003.gz"), "GZIP") as writer:
                for patient in range(shard, size, 3):
                    writer.write(original(f"{split}-{patient}", patient))
    return examples


def original(name: str, patient: int) -> bytes:
    image, mask = phantom(seed=0, patient=patient, image=1, size=96)
    return encode(Record(image, mask, image_id=name, patient_id=name, source="phantom-a", width=96, height=96))


def augment(
    examples: standard_artifacts.Examples, policy: Policy, folder: Path, beam: BeamSettings
) -> standard_artifacts.Examples:
    augmented = standard_artifacts.Examples()
    augmented.uri = str(folder / "out")
    Path(augmented.uri).mkdir(parents=True)
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=beam.arguments(), extra_flags=[], tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    properties = {"policy": policy.model_dump_json(), "code_version": "1"}
    executor.Executor(context).Do({"examples": [examples]}, {"augmented_examples": [augmented]}, properties)
    return augmented


def records(examples: types.Artifact, form: Callable[[bytes], bytes] = bytes) -> dict[str, list[str]]:
    """The SHA-256 of each record, in some form, by split; sorted, as runners deal records over files as they like."""
    found = {}
    for split in artifact_utils.decode_split_names(examples.split_names):
        folder = Path(artifact_utils.get_split_uri([examples], split))
        files = [str(path) for path in folder.iterdir() if path.is_file()]
        kind = "GZIP" if files[0].endswith(".gz") else ""
        serialized = tf.data.TFRecordDataset(files, compression_type=kind).as_numpy_iterator()
        found[split] = sorted(hashlib.sha256(one).hexdigest() for one in map(form, serialized))
    return found


def in_order(serialized: bytes) -> bytes:
    """A record with its features in order: TFX writes them in another one in each process."""
    return bytes(tf.train.Example.FromString(serialized).SerializeToString(deterministic=True))


def counts(augmented: types.Artifact) -> dict[str, int]:
    keys = [f"{split}_{name}" for split in ORIGINALS for name in COUNTS]
    return {key: augmented.get_int_custom_property(key) for key in keys}


def test_a_dead_task_manager_costs_no_record(cluster: FlinkCluster, tmp_path: Path) -> None:
    examples, chest = originals(tmp_path / "examples"), load_policy("chest")
    # So many copies that there is time to kill what makes them.
    policy = chest.model_copy(update={"copies": {**chest.copies, "train": 4}})
    here = augment(examples, policy, tmp_path / "here", HERE)
    with ThreadPoolExecutor(1) as thread:
        augmenting = thread.submit(augment, examples, policy, tmp_path / "there", cluster.beam)
        while not any(tmp_path.glob("there/out/Split-train/beam-temp-*/*")) and not augmenting.done():
            time.sleep(0.05)
        cluster.kill_task_manager(0)
        there = augmenting.result()
    assert max(subtask["attempt"] for subtask in cluster.newest_job()["subtasks"]) > 0
    cluster.restart_task_manager(0)
    found = records(there)
    assert found == records(here)
    for split, size in ORIGINALS.items():
        assert len(set(found[split])) == len(found[split]) == size * (1 + policy.copies_of(split))
    # Of attempts, Flink counts those alone that the result is made of.
    assert counts(there) == counts(here)


def run(root: Path, images: Path, beam: BeamSettings) -> dict[str, types.Artifact]:
    """Ingests, and runs the whole graph; what its components made, by component and key."""
    ingest("folder", str(images), str(root / "data"), size=128, beam_args=beam.arguments())
    config = load_config("demo", {"train.epochs": "1", "evaluate.min_patients": "3"}, data=root / "data", root=root)
    runner = LocalRunner(root, mock.Mock())
    runner.run(create_pipeline(config.model_copy(update={"beam": beam}), runner.connection))
    made = ((f"{run.id}.{key}", found) for run in runner.runs for key, found in run.outputs.items())
    return {name: artifact for name, artifacts in made for artifact in artifacts}


def span(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "data" / "span-1").iterdir()}


def test_a_whole_run_gives_the_same(cluster: FlinkCluster, tmp_path: Path) -> None:
    images, here, there = (tmp_path / name for name in ("images", "here", "there"))
    write_phantoms(images, count=60, seed=0, size=128)
    made_here, made_there = run(here, images, HERE), run(there, images, cluster.beam)
    assert len({subtask["taskmanager-id"] for subtask in cluster.newest_job()["subtasks"]}) == 2
    assert span(there) == span(here)
    assert made_there.keys() == made_here.keys()
    for name in ("ExampleGen.examples", "Augmenter.augmented_examples"):
        assert records(made_there[name]) == records(made_here[name]), name
    transformed = "Transform.transformed_examples"
    assert records(made_there[transformed], in_order) == records(made_here[transformed], in_order)
    judged_here, judged_there = (
        Path(made["Evaluator.evaluation"].uri, "evaluation.json").read_text() for made in (made_here, made_there)
    )
    assert judged_there == judged_here
