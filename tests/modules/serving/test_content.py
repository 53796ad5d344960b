"""What makes two exported models equal."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from modules.network.settings import ModelSettings
from modules.network.unet import unet
from modules.network.weights import write_weights
from modules.serving.content import digest
from modules.serving.export import export_model
from schema.record import Record, encode

EXPORT = """
import sys
from pathlib import Path
from tfx.utils import path_utils
import keras
from modules.serving.export import export_model
from modules.network.settings import ModelSettings
from modules.network.unet import unet
from modules.network.weights import write_weights
keras.utils.set_random_seed(3)
settings = ModelSettings(image_size=16, filters=2, levels=1)
network = unet(settings)
export_model(network, sys.argv[1], sys.argv[2])
write_weights(network, settings, Path(sys.argv[2]))
"""

Export = Callable[..., Path]


@pytest.fixture
def export(transform_graph: Path, tmp_path: Path) -> Export:
    """Exports one U-Net, with a weight changed or two exchanged, with another normalisation, or mirrored."""

    def do(
        name: str,
        change: float = 0,
        exchange: bool = False,
        graph: Path = transform_graph,
        mirrored: bool = False,
    ) -> Path:
        keras.utils.set_random_seed(3)
        settings = ModelSettings(image_size=16, filters=2, levels=1)
        network = unet(settings)
        weights = network.get_weights()
        weights[0].flat[0] += change
        if exchange:
            weights[1], weights[2] = weights[2], weights[1]
            assert weights[1].shape == weights[2].shape
            assert (weights[1] != weights[2]).all()
        network.set_weights(weights)
        folder = tmp_path / name
        export_model(network, str(graph / "transform_fn"), str(folder), average_mirrored=mirrored)
        write_weights(network, settings, folder)
        return folder

    return do


@pytest.mark.nightly
def test_two_exports_of_one_model_by_two_processes_are_equal(
    export: Export, transform_graph: Path, tmp_path: Path
) -> None:
    here = export("here")
    for hash_seed in ("1", "2"):
        there = tmp_path / hash_seed
        subprocess.run(
            [sys.executable, "-c", EXPORT, str(transform_graph / "transform_fn"), str(there)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        )
        assert (there / "saved_model.pb").read_bytes() != (here / "saved_model.pb").read_bytes()
        assert digest(there) == digest(here)


def test_what_sets_two_models_apart(
    export: Export, transform: Callable[[list[bytes], Path], Path], scene: Callable[..., Record], tmp_path: Path
) -> None:
    darker = transform([encode(scene(seed, brightness=90)) for seed in range(6)], tmp_path / "darker")
    models = [
        export("plain"),
        export("weight", change=1e-6),
        export("normalisation", graph=darker),
        export("mirrored", mirrored=True),
    ]
    assert digest(export("again")) == digest(models[0])
    assert len({digest(model) for model in models}) == 4


def test_values_that_change_places_set_models_apart(export: Export) -> None:
    """Variables have no names that last from export to export; the weights beside the model have."""
    digests = {digest(export("plain")), digest(export("exchanged", exchange=True))}
    assert len(digests) == 2


class Adds(tf.Module):
    def __init__(self, weight: float, constant: float) -> None:
        super().__init__()
        self.weight, self.constant = tf.Variable(float(weight)), constant

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return self.weight * x + self.constant


def test_any_saved_model(tmp_path: Path) -> None:
    for name, weight, constant in (("a", 1, 2), ("b", 1, 2), ("c", 1.5, 2), ("d", 1, 2.5)):
        tf.saved_model.save(Adds(weight, constant), str(tmp_path / name))
    a, b, c, d = (digest(tmp_path / name) for name in "abcd")
    assert a == b
    assert len({a, c, d}) == 3
    assert re.fullmatch("[0-9a-f]{64}", a)


@pytest.mark.parametrize(
    ("file", "problem"), [("saved_model.pb", "saved_model.pb is damaged"), ("variables/variables.index", "")]
)
def test_a_damaged_model(tmp_path: Path, file: str, problem: str) -> None:
    tf.saved_model.save(Adds(1, 2), str(tmp_path))
    (tmp_path / file).write_bytes(b"damaged")
    with pytest.raises(ValueError, match=f"^the model in '{re.escape(str(tmp_path))}' cannot be read: {problem}") as it:
        digest(tmp_path)
    assert "\n" not in str(it.value)
