"""The network's weights beside its SavedModel, for a training that begins with them.

They lie in `assets.extra/`, which TensorFlow Serving leaves alone, with the settings of the network that they fit.
"""

from pathlib import Path
from typing import Final

import keras

from modules.network.settings import ModelSettings
from modules.npz import read_npz, write_npz

_FILE: Final = "assets.extra/weights.npz"
_SHAPES_WEIGHTS: Final = ("architecture", "filters", "levels", "normalization")


def write_weights(model: keras.Model, settings: ModelSettings, saved_model_dir: Path) -> None:
    """Write the weights of each layer, by its name, and the settings."""
    arrays = {
        f"{layer.name}/{index}": weight
        for layer in model.layers
        for index, weight in enumerate(layer.get_weights())
    }  # fmt: skip
    write_npz(saved_model_dir / _FILE, settings, arrays)


def read_settings(saved_model_dir: Path) -> ModelSettings | None:
    """Read the settings of the network whose weights lie beside a SavedModel; None where there are no weights.

    Raises:
        ValueError: They cannot be read, or are those of another version of this project.
    """
    path = saved_model_dir / _FILE
    return read_npz(path, ModelSettings)[0] if path.exists() else None


def read_weights(model: keras.Model, settings: ModelSettings, saved_model_dir: Path) -> None:
    """Give a model the weights that lie beside another one's SavedModel; layers that it lacks keep their own.

    Raises:
        ValueError: There are none, or they are of another architecture; says what differs and what to set.
    """
    path = saved_model_dir / _FILE
    if not path.exists():
        raise ValueError(
            f"the model blessed last keeps no weights to start from ({path} is missing): set train.warm_start to false"
        )
    stored, weights = read_npz(path, ModelSettings)
    for name, theirs in _shape(stored).items():
        ours = _shape(settings)[name]
        if ours != theirs:
            raise ValueError(
                f"the model blessed last has model.{name} {theirs}, this one {ours}: "
                "set it to that, or train.warm_start to false"
            )
    for layer in model.layers:
        if f"{layer.name}/0" in weights:
            layer.set_weights([weights[f"{layer.name}/{index}"] for index in range(len(layer.weights))])


def _shape(settings: ModelSettings) -> dict[str, str | int]:
    shape = {name: getattr(settings, name) for name in _SHAPES_WEIGHTS}
    # Over which images a batch's statistics are taken is nothing that the weights know.
    shape["normalization"] = shape["normalization"].removeprefix("sync_")
    return shape
