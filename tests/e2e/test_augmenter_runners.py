"""The Augmenter gives the same records however Beam runs it."""

import hashlib
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts

from components.augmenter import executor
from components.augmenter.policy import Policy, load_policy
from pipeline.phantoms import phantom
from schema.record import Record, encode

pytestmark = pytest.mark.e2e

IN_MEMORY = ["--direct_running_mode=in_memory", "--direct_num_workers=1"]
PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2", "--beam_plugins=tfx"]
SIZES = {"train": 14, "eval": 4, "test": 6}
SHARDS = 3


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> standard_artifacts.Examples:
    artifact = standard_artifacts.Examples()
    artifact.uri = str(tmp_path_factory.mktemp("examples"))
    artifact.split_names = artifact_utils.encode_split_names(list(SIZES))
    patient = 0
    for split, size in SIZES.items():
        folder = Path(artifact.uri, f"Split-{split}")
        folder.mkdir()
        paths = [folder / f"data_tfrecord-{shard:05d}-of-{SHARDS:05d}.gz" for shard in range(SHARDS)]
        writers = [tf.io.TFRecordWriter(str(path), "GZIP") for path in paths]
        for index in range(size):
            patient += 1
            image, mask = phantom(seed=0, patient=patient, image=1, size=96)
            name = f"phantom-{patient}"
            record = Record(image, mask, image_id=name, patient_id=name, source="phantom-a", width=96, height=96)
            writers[index % SHARDS].write(encode(record))
        for writer in writers:
            writer.close()
    return artifact


def augment(
    examples: standard_artifacts.Examples, policy: Policy, folder: Path, beam: list[str]
) -> standard_artifacts.Examples:
    augmented = standard_artifacts.Examples()
    augmented.uri = str(folder / "out")
    Path(augmented.uri).mkdir(parents=True)
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=beam, extra_flags=[], tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    properties = {"policy": policy.model_dump_json(), "code_version": "1"}
    executor.Executor(context).Do({"examples": [examples]}, {"augmented_examples": [augmented]}, properties)
    return augmented


def hashes(augmented: standard_artifacts.Examples, split: str) -> list[str]:
    files = [str(path) for path in Path(augmented.uri, f"Split-{split}").iterdir()]
    return sorted(hashlib.sha256(one).hexdigest() for one in tf.data.TFRecordDataset(files).as_numpy_iterator())


def test_worker_processes_give_the_same_records(examples: standard_artifacts.Examples, tmp_path: Path) -> None:
    policy = load_policy("chest")
    here = augment(examples, policy, tmp_path / "here", IN_MEMORY)
    elsewhere = augment(examples, policy, tmp_path / "elsewhere", PROCESSES)
    for split, size in SIZES.items():
        found = hashes(elsewhere, split)
        assert found == hashes(here, split), split
        assert len(set(found)) == len(found) == size * (1 + policy.copies_of(split))
        for name in ("read", "originals", "copies", "redrawn", "left_out"):
            key = f"{split}_{name}"
            assert elsewhere.get_int_custom_property(key) == here.get_int_custom_property(key), key
