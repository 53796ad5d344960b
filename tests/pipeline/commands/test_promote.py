"""`lungseg promote`: an earlier version of the model is put back, or one line says why not."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from modules.serving.serving_dir import current_version, push
from pipeline.errors import UserError
from pipeline.prediction.model import open_model

Lungseg = Callable[..., tuple[int, str, str]]


class Constant(tf.Module):
    """Paints the one pixel of every image with `value`."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = tf.Variable(value)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        pixel = tf.io.encode_png(tf.cast(tf.fill([1, 1, 1], self.value), tf.uint8))
        return {"mask_png": tf.repeat(pixel, tf.shape(image_bytes)[0])}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a run with four versions; version N paints every pixel 10 N."""
    for version in range(1, 5):
        model, folder = Constant(10.0 * version), tmp_path / f"model{version}"
        tf.saved_model.save(model, str(folder), signatures={"serving_default": model.serve})
        assert push(folder, tmp_path / "lungseg-run" / "serving") == version
    return tmp_path / "lungseg-run"


def test_an_earlier_version_is_put_back(lungseg: Lungseg, root: Path) -> None:
    assert lungseg("promote", "--to", 2) == (0, "version 2 is current again; withdrawn: 3, 4\n", "")
    assert current_version(root / "serving") == 2
    assert lungseg("promote", "--root", root, "--to", 2)[1] == "version 2 is current again; withdrawn: 3, 4\n"
    assert lungseg("promote", "--root", root, "--to", 4)[1] == "version 4 is current again; withdrawn: 3\n"


def test_nothing_is_withdrawn(lungseg: Lungseg, root: Path) -> None:
    assert lungseg("promote", "--to", 4) == (0, "version 4 is current again\n", "")


def test_the_version_that_was_put_back_segments(lungseg: Lungseg, root: Path) -> None:
    blank = tf.zeros([1, 1], tf.uint8).numpy()
    assert open_model(root / "serving").load().segment([blank])[0].mask.tolist() == [[40]]
    lungseg("promote", "--to", 2)
    assert open_model(root / "serving").load().segment([blank])[0].mask.tolist() == [[20]]


def test_an_unknown_version(lungseg: Lungseg, root: Path) -> None:
    lungseg("promote", "--to", 3)
    expected = "lungseg: there is no version 9 in 'lungseg-run/serving': it holds 1, 2, 3, 4 (withdrawn)\n"
    assert lungseg("promote", "--to", 9) == (2, "", expected)


def test_no_serving_folder(lungseg: Lungseg) -> None:
    expected = (
        "lungseg: 'elsewhere/serving' does not exist: name the root of a run that has pushed a model with --root\n"
    )
    assert lungseg("promote", "--root", "elsewhere", "--to", 1) == (2, "", expected)


def test_a_folder_that_cannot_be_changed(lungseg: Lungseg, root: Path) -> None:
    """A file where withdrawn models belong; root may write where permissions forbid it."""
    (root / "serving" / "withdrawn").touch()
    code, output, errors = lungseg("promote", "--to", 1)
    assert (code, output) == (2, "")
    assert errors.startswith("lungseg: serving folder 'lungseg-run/serving' cannot be changed: ")
    assert errors.count("\n") == 1


def test_segmenting_with_a_model_that_was_changed(lungseg: Lungseg, root: Path, tmp_path: Path) -> None:
    (root / "serving" / "4" / "note").touch()
    expected = (
        "'lungseg-run/serving/4' is no longer the model that was put there: files of it were changed, added or "
        "removed; restore them, or put another version back with `lungseg promote --to VERSION`"
    )
    (tmp_path / "image.png").touch()
    for model in ("lungseg-run/serving", "lungseg-run/serving/4"):
        code, output, errors = lungseg("predict", "--model", model, "--output", "masks", "image.png")
        assert (code, output, errors.replace(f"{tmp_path}/", "")) == (2, "", f"lungseg: {expected}\n")
    assert lungseg("promote", "--to", 4) == (2, "", f"lungseg: {expected}\n")
    assert lungseg("promote", "--to", 3)[0] == 0
    assert open_model(root / "serving").identity.version == 3


def test_segmenting_with_a_broken_pointer(root: Path) -> None:
    (root / "serving" / "current.json").write_text('{"version": 7, "digest": "x"}')
    with pytest.raises(UserError) as caught:
        open_model(root / "serving").load()
    assert str(caught.value) == (
        f"'{root}/serving/current.json' names version 7, which is no model there: "
        "put one back with `lungseg promote --to VERSION`"
    )
