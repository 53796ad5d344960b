"""Segmentation of grey images by a SavedModel, and what is said of a folder that holds none."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import threshold_model

from modules.serving.segmenter import ModelError, Segmenter


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return threshold_model.save(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("count", [0, 1, 8, 19])
def test_segments_as_many_images_as_there_are(model_dir: Path, count: int) -> None:
    random = np.random.default_rng(1)
    images = [random.integers(0, 256, (5 + number, 9), np.uint8) for number in range(count)]
    masks = [segmented.mask for segmented in Segmenter(model_dir).segment(images)]
    assert len(masks) == count
    assert {mask.dtype for mask in masks} <= {np.dtype(np.uint8)}
    assert all(np.array_equal(mask, (image > 127) * 255) for image, mask in zip(images, masks, strict=True))


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"^'{re.escape(str(tmp_path))}' cannot be loaded as a model: .+$"):
        Segmenter(tmp_path)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\xff" * 9)])
@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index"])
def test_a_damaged_model(tmp_path: Path, name: str, damage: object) -> None:
    model_dir = threshold_model.save(tmp_path / "model")
    damage(model_dir / name)  # type: ignore[operator]
    with pytest.raises(ModelError, match=f"^'{re.escape(str(model_dir))}' cannot be loaded as a model: .+$"):
        Segmenter(model_dir)


class Doubler(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="number")])
    def serve(self, number: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"twice": 2 * number}


@pytest.mark.parametrize("signature", ["serving_default", "another"])
def test_a_model_of_another_pipeline(tmp_path: Path, signature: str) -> None:
    module = Doubler()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={signature: module.serve})
    with pytest.raises(ModelError) as refused:
        Segmenter(tmp_path / "model")
    assert str(refused.value) == (
        f"'{tmp_path}/model' is no model of this pipeline: it has no signature serving_default that takes image_bytes"
    )
