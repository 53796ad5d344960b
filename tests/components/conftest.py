"""Records and policies small enough to reason about."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import transforms
from tfx.types import artifact_utils, standard_artifacts

from components.augmenter.policy import Policy
from schema.record import Record

transform = transforms.transform

MakeRecord = Callable[..., Record]
MakePolicy = Callable[..., Policy]
WriteExamples = Callable[..., standard_artifacts.Examples]


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    """Makes an original of 24 x 32 pixels: make_record("a", sex="female")."""
    image = np.random.default_rng(3).integers(0, 256, (24, 32), np.uint8)
    mask = np.zeros((24, 32), np.uint8)
    mask[6:18, 4:12] = mask[8:16, 20:28] = 255
    original = Record(image=image, mask=mask, image_id="a", patient_id="p1", source="clinic", width=320, height=240)

    def make(image_id: str = "a", **changes: Any) -> Record:
        return replace(original, image_id=image_id, **changes)

    return make


@pytest.fixture(scope="session")
def make_policy() -> MakePolicy:
    """Makes a policy of transforms that always fire: make_policy("HorizontalFlip", ("Affine", {"shear": 9}), p=0.5).

    Copies of a split are given as train=2, the policy's other values in `limits`. Nothing is left out by default.
    """

    def make(
        *transforms: str | tuple[str, dict[str, Any]],
        p: float = 1,
        seed: int = 0,
        limits: dict[str, Any] | None = None,
        **copies: int,
    ) -> Policy:
        named = [
            transform if isinstance(transform, tuple) else (transform, {})
            for transform in transforms or ("HorizontalFlip",)
        ]
        made = [{"name": name, "arguments": arguments, "p": p, "allow": True} for name, arguments in named]
        values = {"name": "made", "seed": seed, "copies": copies, "transforms": made, "max_lung_loss": 1}
        return Policy.model_validate({**values, **(limits or {})})

    return make


@pytest.fixture(scope="session")
def write_examples() -> WriteExamples:
    """Writes an Examples artifact as ExampleGen does: write_examples(folder, {"train": [serialized]}, shards=2)."""

    def write(folder: Path, splits: Mapping[str, Sequence[bytes]], shards: int = 2) -> standard_artifacts.Examples:
        artifact = standard_artifacts.Examples()
        artifact.uri = str(folder)
        artifact.split_names = artifact_utils.encode_split_names(list(splits))
        for split, records in splits.items():
            (folder / f"Split-{split}").mkdir(parents=True)
            for shard in range(shards):
                path = folder / f"Split-{split}" / f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
                with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
                    for record in records[shard::shards]:
                        writer.write(record)
        return artifact

    return write
