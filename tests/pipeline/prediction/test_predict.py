"""Segmentation of image files, with a model that calls everything brighter than half a lung."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
import threshold_model
from medical_files import dicom_file
from pictures import read_picture
from predicting import inputs_of, read_table, results_in

from modules.serving.segmenter import Segmented, Segmenter
from modules.serving.serving_dir import promote, push
from pipeline.cli_options import OutputFormat
from pipeline.commands.predict import complaints
from pipeline.errors import UserError
from pipeline.prediction.model import open_model
from pipeline.prediction.png import encode_overlay, outlined
from pipeline.prediction.predict import OutputError, Prediction, predict
from pipeline.prediction.step import judge_slices


class Brighter(tf.Module):
    """A model with the signature of ours, of a few operations."""

    def __init__(self, threshold: int) -> None:
        super().__init__()
        self.threshold = tf.Variable(threshold, dtype=tf.int32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        def segment(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            lungs = tf.cast(tf.io.decode_png(encoded, channels=1), tf.int32) >= self.threshold
            mask = tf.where(lungs, tf.constant(255, tf.uint8), tf.constant(0, tf.uint8))
            return tf.io.encode_png(mask), tf.reduce_mean(tf.cast(lungs, tf.float32))

        masks, fractions = tf.map_fn(segment, image_bytes, fn_output_signature=(tf.string, tf.float32))
        return {"mask_png": masks, "lung_fraction": fractions}


def save_model(folder: Path, threshold: int = 128) -> Path:
    model = Brighter(threshold)
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.serve})
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "exported")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Eleven images a to k, of different sizes."""
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(5)
    for index, name in enumerate("abcdefghijk"):
        cv2.imwrite(str(folder / f"{name}.png"), random.integers(0, 256, (20 + index, 30), np.uint8))
    return folder


def told(prediction: Prediction) -> list[str]:
    return list(complaints(prediction))


def grey(path: Path) -> np.ndarray:
    return read_picture(path)


def test_masks_and_overlays_of_a_folder(model: Path, images: Path, tmp_path: Path) -> None:
    progress: list[int] = []
    output = tmp_path / "new" / "masks"
    prediction = predict(model, output, inputs_of(images), progress=progress.append)
    assert all(row.status == "segmented" for row in prediction.measurements)
    assert list(results_in(output)) == [f"{name}_{kind}.png" for name in "abcdefghijk" for kind in ("mask", "overlay")]
    for name in "abcdefghijk":
        image, mask = grey(images / f"{name}.png"), grey(output / f"{name}_mask.png")
        assert np.array_equal(mask, np.where(image >= 128, 255, 0))
        assert grey(output / f"{name}_overlay.png").shape == (*image.shape, 3)
    assert progress == list(range(12))


def test_jpeg_and_colour(model: Path, tmp_path: Path) -> None:
    colour = np.zeros((40, 60, 3), np.uint8)
    colour[:, 30:] = 200
    cv2.imwrite(str(tmp_path / "a.JPG"), colour)
    predict(model, tmp_path / "out", inputs_of(tmp_path / "a.JPG"))
    mask = grey(tmp_path / "out" / "a_mask.png")
    assert mask.shape == (40, 60)
    assert not mask[:, :26].any()
    assert mask[:, 34:].all()


@pytest.mark.parametrize(("name", "stem"), [("1.2.840.7.dcm", "1.2.840.7"), ("1.2.840.7", "1.2.840.7")])
def test_dicom_is_told_by_its_content(model: Path, tmp_path: Path, name: str, stem: str) -> None:
    """Its levels are those that a radiologist sees: white is 0 in MONOCHROME1."""
    ramp = np.tile(np.arange(0, 4096, 64, dtype=np.uint16), (40, 1))
    (tmp_path / name).write_bytes(dicom_file(ramp, BitsStored=12, PhotometricInterpretation="MONOCHROME1"))
    predict(model, tmp_path / "out", inputs_of(tmp_path / name), format_=OutputFormat.PNG)
    mask = grey(tmp_path / "out" / f"{stem}_mask.png")
    assert mask.shape == ramp.shape
    assert mask[:, :31].all()
    assert not mask[:, 33:].any()
    assert grey(tmp_path / "out" / f"{stem}_overlay.png").shape == (*ramp.shape, 3)


def test_dicom_that_is_refused_is_told(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(dicom_file(np.eye(4, dtype=np.uint8), NumberOfFrames=2))
    lines = told(predict(model, tmp_path / "out", inputs_of(tmp_path / "a.dcm")))
    assert lines == [f"{tmp_path}/a.dcm has 2 frames: save each as a file of its own"]


def test_images_that_cannot_be_read_are_listed_and_the_others_done(model: Path, images: Path, tmp_path: Path) -> None:
    (images / "b.png").write_bytes(b"")
    (images / "k.png").write_bytes((images / "k.png").read_bytes()[:200])
    lines = told(predict(model, tmp_path / "out", inputs_of(images)))[-2:]
    assert lines[0] == f"{images}/b.png is no readable PNG, JPEG or TIFF"
    assert lines[1].startswith(f"{images}/k.png is truncated or damaged: ")
    masks = sorted(path.name[0] for path in (tmp_path / "out").glob("*_mask.png"))
    assert masks == list("acdefghij")


UNTOLD = "the model does not tell how good its masks are: it was exported by an earlier version"


def test_doubtful_masks_are_named(model: Path, tmp_path: Path) -> None:
    ramp = np.tile(np.arange(100, dtype=np.uint8), (50, 1))
    for name, image in {"empty": ramp, "small": ramp + 29, "good": ramp + 78, "large": ramp + 127}.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    images = [tmp_path / f"{name}.png" for name in ("empty", "small", "good", "large")]
    assert told(predict(model, tmp_path / "out", inputs_of(*images))) == [
        UNTOLD,
        f"{tmp_path}/empty.png has an empty mask: no lung was found",
        f"{tmp_path}/small.png has a mask of 1.0% of the image, where lungs cover 2% to 65%: look at its overlay",
        f"{tmp_path}/large.png has a mask of 99.0% of the image, where lungs cover 2% to 65%: look at its overlay",
    ]


def answer(lung: int, expected_dice: float | None, doubt: str = "") -> Segmented:
    mask = np.zeros((4, 4), np.uint8)
    mask.ravel()[:lung] = 255
    return Segmented(mask, expected_dice, doubt)


def test_an_image_is_judged_by_its_own_answer() -> None:
    assert judge_slices([answer(3, 0.7, "is odd")]) == (0.7, "is odd")
    assert judge_slices([answer(0, 0.9)]) == (0.9, "")
    assert judge_slices([answer(3, None)]) == (None, "")


def test_slices_count_as_much_as_they_hold_lung() -> None:
    slices = [answer(0, 0.1, "is odd"), answer(12, 0.9), answer(4, 0.5, "is odd"), answer(0, None)]
    for judged, doubt in ((slices, ""), ([*slices, answer(16, 0.8, "is odd")], "is odd")):
        expected_dice, found = judge_slices(judged)
        assert expected_dice == pytest.approx(0.8)
        assert found == doubt
    assert judge_slices([answer(0, 0.1, "is odd"), answer(0, None)]) == (None, "")


def test_what_the_model_says_of_its_mask_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = threshold_model.save(tmp_path / "model")
    half = np.tile(np.array([0, 255], np.uint8), (10, 5))
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), half)
    prediction = predict(model, tmp_path / "out", inputs_of(tmp_path / "a.png"))
    [row] = prediction.measurements
    assert (row.expected_dice, row.review, row.review_reason) == (0.75, False, "")
    assert told(prediction) == []

    assert (row.right_expected_dice, row.left_expected_dice) == (None, None), "the model does not tell"

    monkeypatch.setattr(Segmenter, "segment", lambda self, images: [Segmented(half, 0.4, "is odd", (0.3, 0.5))])
    prediction = predict(model, tmp_path / "out", inputs_of(tmp_path / "b.png"))
    [row] = prediction.measurements
    assert (row.expected_dice, row.review, row.review_reason) == (0.4, True, "is odd")
    assert (row.right_expected_dice, row.left_expected_dice) == (0.3, 0.5)
    assert told(prediction) == [f"{tmp_path}/b.png is odd (expected Dice 0.40)"]
    assert prediction.report.review == 1


def test_progress_reaches_the_end(model: Path, images: Path, tmp_path: Path) -> None:
    for name in "ijk":
        (images / f"{name}.png").write_bytes(b"")
    progress: list[int] = []
    predict(model, tmp_path / "out", inputs_of(images), progress=progress.append)
    assert progress[-1] == 11


def test_a_mask_that_cannot_be_written_is_told(model: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "a_mask.png").mkdir(parents=True)
    expected = f"'{tmp_path}/out/a_mask.png' cannot be written: Is a directory"
    with pytest.raises(OutputError, match=f"^{re.escape(expected)}$") as caught:
        predict(model, tmp_path / "out", inputs_of(images / "a.png", images / "b.png"))
    # The other one may have been written at the same time: what is done is not named.
    done = (tmp_path / "out/.receipts/b.json").exists()
    assert caught.value.undone == [str(images / name) for name in (("a.png",) if done else ("a.png", "b.png"))]


def test_the_newest_model_of_a_serving_folder(images: Path, tmp_path: Path) -> None:
    serving = tmp_path / "serving"
    save_model(serving / "9", threshold=0)
    save_model(serving / "10", threshold=255)
    (serving / "11").mkdir()  # a push that has not come to its end
    segment = open_model(serving).load().segment
    image = np.array([[0, 254, 255]], np.uint8)
    assert segment([image])[0].mask.tolist() == [[0, 0, 255]]
    assert open_model(serving / "9").load().segment([image])[0].mask.tolist() == [[255, 255, 255]]


@pytest.mark.parametrize("name", ["1", "withdrawn/2"])
def test_a_version_by_its_folder_that_was_changed(tmp_path: Path, name: str) -> None:
    serving = tmp_path / "serving"
    for threshold in (0, 255):
        save_model(tmp_path / str(threshold), threshold=threshold)
        push(tmp_path / str(threshold), serving)
    promote(serving, 1)
    assert open_model(serving / name).identity.version == int(name[-1])
    (serving / name / "note").touch()
    with pytest.raises(UserError, match=f"^'{serving / name}' is no longer the model that was put there"):
        open_model(serving / name)


def test_one_call_keeps_order_and_sizes(model: Path) -> None:
    shapes = [(3, 5), (7, 2), (1, 1)]
    images = [np.full(shape, 100 * index, np.uint8) for index, shape in enumerate(shapes)]
    masks = [segmented.mask for segmented in open_model(model).load().segment(images)]
    assert [mask.shape for mask in masks] == shapes
    assert [mask.dtype for mask in masks] == [np.uint8] * 3
    assert [bool(mask.any()) for mask in masks] == [False, False, True]


@pytest.mark.parametrize("left", [[], ["1"], ["newest/saved_model.pb"]])
def test_no_model(tmp_path: Path, left: list[str]) -> None:
    for name in left:
        (tmp_path / name).mkdir(parents=True)
    expected = f"'{tmp_path}' is no model: it holds neither a SavedModel nor numbered folders with one"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        open_model(tmp_path).load()


def test_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^'.*/nowhere' is no model: "):
        predict(tmp_path / "nowhere", tmp_path / "out", [])
    assert not (tmp_path / "out").exists()


def test_a_damaged_model(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(UserError) as caught:
        open_model(tmp_path).load()
    assert str(caught.value).startswith(f"the model in '{tmp_path}' cannot be read: ")
    assert "\n" not in str(caught.value)


def test_a_model_of_something_else(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path))
    expected = f"'{tmp_path}' is no model of this pipeline: it has no signature serving_default that takes image_bytes"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        open_model(tmp_path).load()


def test_output_is_a_file(model: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    expected = f"output folder '{tmp_path}/out' cannot be made: File exists"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        predict(model, tmp_path / "out", inputs_of(images / "a.png"))


@pytest.mark.parametrize("written", ["images", "images/../images", "link"])
def test_output_where_the_images_are(model: Path, images: Path, tmp_path: Path, written: str) -> None:
    """A second run would take the first one's masks for images."""
    (tmp_path / "link").symlink_to(images)
    before = sorted(images.iterdir())
    expected = f"'{tmp_path / written}' holds the images themselves: name another folder for the masks"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        predict(model, tmp_path / written, inputs_of(images))
    assert sorted(images.iterdir()) == before


def test_output_below_the_images_is_fine(model: Path, images: Path) -> None:
    predict(model, images / "out", inputs_of(images / "a.png"))
    assert [row["status"] for row in read_table(images / "out")] == ["segmented"]
    assert [input_.path for input_ in inputs_of(images)] == [f"{images}/{name}.png" for name in "abcdefghijk"]


def test_the_overlay_marks_the_outline_alone() -> None:
    image, mask = np.full((50, 60), 90, np.uint8), np.zeros((50, 60), np.uint8)
    mask[10:20, 10:30] = mask[30:40, 40:50] = 255
    drawn = outlined(image, mask)
    assert drawn.shape == (50, 60, 3)
    assert drawn.dtype == np.uint8
    marked = (drawn != 90).any(axis=2)
    inner = cv2.erode(mask, np.ones((3, 3))) > 0
    assert np.array_equal(marked, (mask > 0) & ~inner)
    assert np.unique(drawn[marked], axis=0).tolist() == [[0, 220, 255]]
    assert (image == 90).all()


def test_the_overlay_that_is_written_is_what_is_drawn() -> None:
    image = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64).astype(np.uint8)
    mask = np.zeros_like(image)
    mask[20:40, 10:30] = 255
    written = cv2.imdecode(np.frombuffer(encode_overlay(image, mask), np.uint8), cv2.IMREAD_COLOR)
    assert written is not None
    assert np.array_equal(written, outlined(np.minimum(image, 254), mask))


def test_the_overlay_of_an_empty_mask_is_the_image() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(outlined(image, image * 0), np.dstack([image] * 3))
