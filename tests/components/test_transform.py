"""Transform: every record that the Augmenter wrote comes out, or the split that lost some is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tfx import types
from google.protobuf import json_format
from tfx.components.transform import executor as tfx_executor
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import transform_pb2
from tfx.types import standard_artifacts

from components.transform import executor
from pipeline.beam.settings import BeamSettings
from schema import features
from schema.record import Record, encode

Outputs = dict[str, list[types.Artifact]]

ORIGINALS, COPIES = {"train": 5, "eval": 2, "test": 3}, {"train": 4, "eval": 0, "test": 0}
COPY = {"is_augmented": True, "augmentation": "Rotate"}
PROPERTIES = {
    "preprocessing_fn": "modules.preprocessing.transform.preprocessing_fn",
    "splits_config": json_format.MessageToJson(
        transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"])
    ),
    "custom_config": json.dumps({"image_size": 16}),
    "disable_statistics": 1,
}


@pytest.fixture
def examples(
    tmp_path: Path, make_record: Callable[..., Record], write_examples: Callable[..., types.Artifact]
) -> types.Artifact:
    """What the Augmenter made, with its counts."""
    splits = {
        split: [
            *(encode(make_record(f"{split}{number}")) for number in range(originals)),
            *(encode(make_record(f"{split}{number}_copy", **COPY)) for number in range(COPIES[split])),
        ]
        for split, originals in ORIGINALS.items()
    }
    augmented = write_examples(tmp_path / "examples", splits)
    for split in splits:
        augmented.set_int_custom_property(f"{split}_originals", ORIGINALS[split])
        augmented.set_int_custom_property(f"{split}_copies", COPIES[split])
    return augmented


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    """As TFX makes them: their folders are there already."""
    made = {
        "transform_graph": standard_artifacts.TransformGraph(),
        "transformed_examples": standard_artifacts.Examples(),
        "updated_analyzer_cache": standard_artifacts.TransformCache(),
    }
    for key, artifact in made.items():
        artifact.uri = str(tmp_path / key)
        Path(artifact.uri).mkdir()
    return {key: [artifact] for key, artifact in made.items()}


def transform(examples: types.Artifact, outputs: Outputs, tmp_path: Path) -> None:
    schema = standard_artifacts.Schema()
    schema.uri = str(tmp_path / "schema")
    Path(schema.uri).mkdir()
    Path(schema.uri, "schema.pbtxt").write_text(features.SCHEMA_FILE.read_text())
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=BeamSettings().arguments(), extra_flags=[], tmp_dir=str(tmp_path / "tmp"), unique_id="1"
    )
    executor.Executor(context).Do({"examples": [examples], "schema": [schema]}, outputs, PROPERTIES)


def read(file: Path) -> list[bytes]:
    return list(tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator())


def test_all_that_was_augmented_comes_out(examples: types.Artifact, outputs: Outputs, tmp_path: Path) -> None:
    transform(examples, outputs, tmp_path)
    (transformed,) = outputs["transformed_examples"]
    counts = {
        folder.name: sum(len(read(file)) for file in folder.iterdir()) for folder in Path(transformed.uri).iterdir()
    }
    assert counts == {"Split-train": 9, "Split-eval": 2}
    assert transformed.get_int_custom_property("train_transformed") == 9
    assert transformed.get_int_custom_property("eval_transformed") == 2


def test_a_record_that_gets_lost(
    examples: types.Artifact, outputs: Outputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do = tfx_executor.Executor.Do

    def lose_one(self: Any, inputs: Outputs, outputs: Outputs, properties: dict[str, Any]) -> None:
        do(self, inputs, outputs, properties)
        file = next(Path(outputs["transformed_examples"][0].uri, "Split-train").iterdir())
        _, *left = read(file)
        with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
            for record in left:
                writer.write(record)

    monkeypatch.setattr(tfx_executor.Executor, "Do", lose_one)
    message = (
        r"^split 'train' lost 1 of the Augmenter's 9 records: 8 came out of Transform, "
        r"of which nothing is kept, so run again$"
    )
    with pytest.raises(RuntimeError, match=message):
        transform(examples, outputs, tmp_path)
    assert not any(list(Path(artifact.uri).iterdir()) for (artifact,) in outputs.values())


def test_a_record_that_is_there_twice() -> None:
    with pytest.raises(RuntimeError, match=r"^split 'eval' doubled 1 of the Augmenter's 2 records: 3 came out of "):
        executor._reconcile("eval", augmented=2, transformed=3)
