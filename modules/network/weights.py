"""The network's weights beside its SavedModel, for a training that begins with them.

They lie in `assets.extra/`, which TensorFlow Serving leaves alone, with the settings of the network that they fit.
"""

import io
import json
import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modules.settings import ModelSettings

_FILE = os.path.join("assets.extra", "weights.npz")
_SHAPES_WEIGHTS = ("architecture", "filters", "levels", "normalization")


def write_weights(model: keras.Model, settings: ModelSettings, saved_model_dir: str) -> None:
    """Writes the weights of each layer, by its name, and the settings."""
    arrays = {
        f"{layer.name}/{index}": weight
        for layer in model.layers
        for index, weight in enumerate(layer.get_weights())
    }  # fmt: skip
    buffer = io.BytesIO()
    np.savez(buffer, settings=np.array(settings.model_dump_json()), **arrays)
    path = os.path.join(saved_model_dir, _FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(buffer.getvalue())


def read_settings(saved_model_dir: str) -> ModelSettings | None:
    """The settings of the network whose weights lie beside the SavedModel, or None if there are no weights.

    Raises:
        ValueError: they are settings of another version of this project.
    """
    path = os.path.join(saved_model_dir, _FILE)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path, "rb") as file, np.load(io.BytesIO(file.read())) as stored:
        return ModelSettings.model_validate_json(str(stored["settings"]))


def read_weights(model: keras.Model, settings: ModelSettings, saved_model_dir: str) -> None:
    """Gives the model the weights that lie beside another one's SavedModel; layers that it lacks keep their own.

    Raises:
        ValueError: there are none, or they are of another architecture; says what differs and what to set.
    """
    path = os.path.join(saved_model_dir, _FILE)
    if not tf.io.gfile.exists(path):
        msg = (
            f"the model blessed last keeps no weights to start from ({path} is missing): set train.warm_start to false"
        )
        raise ValueError(msg)
    with tf.io.gfile.GFile(path, "rb") as file, np.load(io.BytesIO(file.read())) as stored:
        theirs, ours = _shape(json.loads(str(stored["settings"]))), _shape(settings.model_dump())
        for name, value in theirs.items():
            if ours[name] != value:
                msg = (
                    f"the model blessed last has model.{name} {value}, this one {ours[name]}: "
                    "set it to that, or train.warm_start to false"
                )
                raise ValueError(msg)
        for layer in model.layers:
            if f"{layer.name}/0" in stored:
                layer.set_weights([stored[f"{layer.name}/{index}"] for index in range(len(layer.weights))])


def _shape(settings: dict[str, Any]) -> dict[str, Any]:
    shape = {name: settings[name] for name in _SHAPES_WEIGHTS}
    # Over which images a batch's statistics are taken is nothing that the weights know.
    shape["normalization"] = shape["normalization"].removeprefix("sync_")
    return shape
