"""Runs the Augmenter on originals however Beam runs it, and tells what came of them.

>>> examples = write_originals(folder / "examples", {"train": 14, "eval": 4, "test": 6})
>>> augmented = augment(examples, load_policy("chest"), folder / "here", BeamSettings())
>>> counts(augmented)["train_copies"], len(hashes(augmented)["train"])
(28, 42)
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts

from components.artifacts import COPIES, ORIGINALS, record_files, split_folder, splits_of
from components.augmenter import executor
from components.augmenter.copies import LEFT_OUT, READ, REDRAWN
from components.augmenter.policy import Policy
from pipeline.beam.settings import BeamSettings
from pipeline.commands.phantoms import phantom
from schema.record import Record, encode

_SHARDS: Final = 3
_SIDE: Final = 96


def write_originals(folder: Path, sizes: Mapping[str, int]) -> types.Artifact:
    """Writes splits of as many phantoms as is said, in three files each."""
    examples = _examples(folder)
    examples.split_names = artifact_utils.encode_split_names(list(sizes))
    for split, size in sizes.items():
        target = folder / f"Split-{split}"
        target.mkdir()
        for shard in range(_SHARDS):
            with tf.io.TFRecordWriter(str(target / f"data_tfrecord-{shard:05d}.gz"), "GZIP") as writer:
                for patient in range(shard, size, _SHARDS):
                    writer.write(_original(f"{split}-{patient}", patient))
    return examples


def _original(name: str, patient: int) -> bytes:
    image, mask = phantom(seed=0, patient=patient, image=1, size=_SIDE)
    return encode(Record(image, mask, image_id=name, patient_id=name, source="phantom-a", width=_SIDE, height=_SIDE))


def augment(examples: types.Artifact, policy: Policy, folder: Path, beam: BeamSettings) -> types.Artifact:
    """What the Augmenter makes of examples, in a new folder."""
    augmented = _examples(folder / "out")
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=beam.arguments(), extra_flags=[], tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    properties = {"settings": policy.model_dump_json()}
    executor.Executor(context).Do({"examples": [examples]}, {"augmented_examples": [augmented]}, properties)
    return augmented


def _examples(folder: Path) -> types.Artifact:
    """An artifact without a split; TFX makes its folder before it runs an executor."""
    folder.mkdir(parents=True)
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    return artifact


def hashes(examples: types.Artifact, form: Callable[[bytes], bytes] = bytes) -> dict[str, list[str]]:
    """The SHA-256 of each record, in some form, by split; sorted, as runners deal records over files as they like."""
    digests = {}
    for split in splits_of(examples):
        files = record_files(split_folder(examples, split))
        kind = "GZIP" if files[0].endswith(".gz") else ""
        serialized = tf.data.TFRecordDataset(files, compression_type=kind).as_numpy_iterator()
        digests[split] = sorted(hashlib.sha256(content).hexdigest() for content in map(form, serialized))
    return digests


def counts(augmented: types.Artifact) -> dict[str, int]:
    """What the Augmenter counted in each split."""
    keys = [
        f"{split}_{name}" for split in splits_of(augmented) for name in (READ, ORIGINALS, COPIES, REDRAWN, LEFT_OUT)
    ]
    return {key: augmented.get_int_custom_property(key) for key in keys}
