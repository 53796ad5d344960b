"""Small records, a transform graph learned from them, transformed examples written by hand, and exported models."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import transforms
from numpy.typing import NDArray

from modules.serving.export import export_model
from schema import features
from schema.record import Record, encode

transform = transforms.transform

SIZE = 16
"""Side of the network's input in these tests."""

Transform = Callable[[list[bytes], Path], Path]
Scene = Callable[..., Record]
Train = Callable[..., Any]


@pytest.fixture(scope="session")
def scene() -> Scene:
    """Makes a record: a bright disc, the mask, in noise; `scene(3, height=40, width=30, is_augmented=True)`."""

    def make(seed: int, height: int = 40, width: int = 30, brightness: int = 200, is_augmented: bool = False) -> Record:
        draw = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width]
        centre_y, centre_x = draw.uniform(0.3, 0.7, 2) * (height, width)
        disc = np.hypot(y - centre_y, x - centre_x) < 0.25 * min(height, width)
        image = draw.integers(0, 40, (height, width)) + disc * (brightness - 40)
        return Record(
            image=image.astype(np.uint8),
            mask=(disc * 255).astype(np.uint8),
            image_id=f"{seed}{'-copy' if is_augmented else ''}",
            patient_id=f"p{seed}",
            source="phantom",
            width=width,
            height=height,
            is_augmented=is_augmented,
            augmentation="Affine" if is_augmented else "none",
        )

    return make


@pytest.fixture(scope="session")
def records(scene: Scene) -> list[Record]:
    """Six originals and three copies, which are much brighter."""
    originals = [scene(seed, height=24 + 8 * (seed % 3)) for seed in range(6)]
    return originals + [scene(seed, brightness=255, is_augmented=True) for seed in range(3)]


@pytest.fixture(scope="session")
def transform_graph(transform: Transform, records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Transform learned from `records`."""
    return transform([encode(record) for record in records], tmp_path_factory.mktemp("transform"))


@pytest.fixture(scope="session")
def normalise(transform_graph: Path) -> Callable[[Record], NDArray[np.float32]]:
    """What the transform makes of a record's image, float32 [SIZE, SIZE, 1]."""
    graph = tft.TFTransformOutput(str(transform_graph))
    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in (features.IMAGE, features.MASK)}
    spec[features.IS_AUGMENTED] = tf.io.FixedLenFeature([], tf.int64)

    def apply(record: Record) -> NDArray[np.float32]:
        raw = tf.io.parse_example([encode(record)], spec)
        image = graph.transform_raw_features(raw)[features.IMAGE][0]
        return tf.cast(tf.io.parse_tensor(image, tf.float16), tf.float32).numpy()

    return apply


def transformed_example(image: NDArray[Any], mask: NDArray[Any]) -> bytes:
    """What Transform would write, by hand: float16 [SIZE, SIZE, 1] and uint8 0-255 of the same shape."""
    pixels = {features.IMAGE: image.astype(np.float16), features.MASK: mask.astype(np.uint8)}
    values = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[tf.io.serialize_tensor(array).numpy()]))
        for name, array in pixels.items()
    }
    values[features.IS_AUGMENTED] = tf.train.Feature(int64_list=tf.train.Int64List(value=[0]))
    return bytes(tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString())


@pytest.fixture(scope="session")
def write_examples() -> Callable[..., str]:
    """Writes `count` transformed examples of noisy discs; `nan=True` spoils the first. Returns the file."""

    def write(path: Path, count: int, seed: int = 0, nan: bool = False) -> str:
        draw = np.random.default_rng(seed)
        y, x = np.mgrid[:SIZE, :SIZE]
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for index in range(count):
                disc = np.hypot(*(np.stack([y, x]) - draw.uniform(5, 11, (2, 1, 1)))) < draw.uniform(3, 5)
                image = 2.0 * disc + draw.normal(0, 0.5, disc.shape)
                if nan and index == 0:
                    image[0, 0] = np.nan
                writer.write(transformed_example(image[..., np.newaxis], 255 * disc[..., np.newaxis]))
        return str(path)

    return write


@dataclass
class FnArgs:
    """What TFX hands to `run_fn`."""

    train_files: list[str]
    eval_files: list[str]
    transform_graph_path: str
    serving_model_dir: str
    model_run_dir: str
    base_model: str | None = None
    hyperparameters: dict[str, Any] | None = None
    working_dir: str = ""
    custom_config: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="session")
def fn_args(write_examples: Callable[..., str], transform_graph: Path) -> Callable[..., FnArgs]:
    """Makes run_fn's arguments under a folder: 6 examples to train on and 4 to validate, a tiny U-Net."""

    def make(
        folder: Path, train: int = 6, nan: bool = False, model: dict[str, Any] | None = None, **settings: Any
    ) -> FnArgs:
        return FnArgs(
            train_files=[write_examples(folder / "train.gz", train, seed=1, nan=nan)],
            eval_files=[write_examples(folder / "eval.gz", 4, seed=2)],
            transform_graph_path=str(transform_graph),
            serving_model_dir=str(folder / "serving"),
            model_run_dir=str(folder / "run"),
            custom_config={
                "model": {"image_size": SIZE, "filters": 2, "levels": 1, **(model or {})},
                "train": {"epochs": 2, "batch_size": 3, "devices": "cpu:1", **settings},
                "checkpoint_dir": str(folder / "checkpoints"),
            },
        )

    return make


@pytest.fixture(scope="session")
def brightness_model() -> keras.Model:
    """A network whose masks can be told by hand: lung is what is brighter than the mean of the training images."""
    image = keras.Input((SIZE, SIZE, 1))
    model = keras.Model(image, keras.layers.Conv2D(1, 1)(image))
    model.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    return model


@pytest.fixture(scope="session")
def exported(brightness_model: keras.Model, transform_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`brightness_model` as it is served."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    export_model(brightness_model, str(transform_graph / "transform_fn"), str(folder))
    return folder


@pytest.fixture(scope="session")
def signatures(exported: Path) -> SimpleNamespace:
    """The signatures of the exported model, as functions from a tensor to a dictionary."""
    loaded = tf.saved_model.load(str(exported))
    return SimpleNamespace(**loaded.signatures, _keep=loaded)


@pytest.fixture(scope="session")
def to_png() -> Callable[[NDArray[Any]], bytes]:
    """Encodes pixels as PNG."""
    return lambda pixels: cv2.imencode(".png", pixels)[1].tobytes()
