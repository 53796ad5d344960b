"""Segmentation of image files, with a model that calls everything brighter than half a lung."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from medical_files import dicom_file
from pictures import read_picture

from pipeline.commands.predict import find_images, load_model, outlined, predict
from pipeline.errors import UserError


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


def grey(path: Path) -> np.ndarray:
    return read_picture(path)


def refused(*paths: Path) -> str:
    with pytest.raises(UserError) as caught:
        find_images(paths)
    return str(caught.value)


def test_masks_and_overlays_of_a_folder(model: Path, images: Path, tmp_path: Path) -> None:
    progress: list[int] = []
    output = tmp_path / "new" / "masks"
    assert predict(model, output, find_images([images]), progress.append).refused == []
    assert sorted(path.name for path in output.iterdir()) == [
        f"{name}_{kind}.png" for name in "abcdefghijk" for kind in ("mask", "overlay")
    ]
    for name in "abcdefghijk":
        image, mask = grey(images / f"{name}.png"), grey(output / f"{name}_mask.png")
        assert np.array_equal(mask, np.where(image >= 128, 255, 0))
        assert grey(output / f"{name}_overlay.png").shape == (*image.shape, 3)
    assert progress == [8, 11, 11]


def test_jpeg_and_colour(model: Path, tmp_path: Path) -> None:
    colour = np.zeros((40, 60, 3), np.uint8)
    colour[:, 30:] = 200
    cv2.imwrite(str(tmp_path / "a.JPG"), colour)
    predict(model, tmp_path / "out", [tmp_path / "a.JPG"], lambda _: None)
    mask = grey(tmp_path / "out" / "a_mask.png")
    assert mask.shape == (40, 60)
    assert not mask[:, :26].any()
    assert mask[:, 34:].all()


@pytest.mark.parametrize(("name", "stem"), [("1.2.840.7.dcm", "1.2.840.7"), ("1.2.840.7", "1.2.840.7")])
def test_dicom_is_told_by_its_content(model: Path, tmp_path: Path, name: str, stem: str) -> None:
    """Its levels are those that a radiologist sees: white is 0 in MONOCHROME1."""
    ramp = np.tile(np.arange(0, 4096, 64, dtype=np.uint16), (40, 1))
    (tmp_path / name).write_bytes(dicom_file(ramp, BitsStored=12, PhotometricInterpretation="MONOCHROME1"))
    assert predict(model, tmp_path / "out", [tmp_path / name], lambda _: None).refused == []
    mask = grey(tmp_path / "out" / f"{stem}_mask.png")
    assert mask.shape == ramp.shape
    assert mask[:, :31].all()
    assert not mask[:, 33:].any()
    assert grey(tmp_path / "out" / f"{stem}_overlay.png").shape == (*ramp.shape, 3)


def test_dicom_that_is_refused_is_told(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(dicom_file(np.eye(4, dtype=np.uint8), NumberOfFrames=2))
    lines = predict(model, tmp_path / "out", [tmp_path / "a.dcm"], lambda _: None).refused
    assert lines == [f"{tmp_path}/a.dcm has 2 frames: save each as a file of its own"]


def test_images_that_cannot_be_read_are_listed_and_the_others_done(model: Path, images: Path, tmp_path: Path) -> None:
    (images / "b.png").write_bytes(b"")
    (images / "k.png").write_bytes((images / "k.png").read_bytes()[:200])
    lines = predict(model, tmp_path / "out", find_images([images]), lambda _: None).refused
    assert lines[0] == f"{images}/b.png is no readable PNG, JPEG or TIFF"
    assert lines[1].startswith(f"{images}/k.png is truncated or damaged: ")
    assert len(lines) == 2
    masks = sorted(path.name[0] for path in (tmp_path / "out").glob("*_mask.png"))
    assert masks == list("acdefghij")


@pytest.mark.parametrize("name", ["IM0001", "1.2.840.113619.2", "a.dicom", "b.IMA", "c.dcm"])
def test_dicom_in_a_folder_is_found_whatever_its_name(model: Path, tmp_path: Path, name: str) -> None:
    """chester-xray #26, vindr-cxr #3, OnkoDICOM #290."""
    (tmp_path / "images").mkdir()
    for other in ("README", "notes.txt", "._c.png", ".DS_Store", "Thumbs.db"):
        (tmp_path / "images" / other).write_bytes(b"no image")
    image = np.tile(np.arange(64, dtype=np.uint8) * 4, (32, 1))
    (tmp_path / "images" / name).write_bytes(dicom_file(image))
    found = find_images([tmp_path / "images"])
    assert found == [tmp_path / "images" / name]
    assert predict(model, tmp_path / "out", found, lambda _: None).refused == []


def test_doubtful_masks_are_named(model: Path, tmp_path: Path) -> None:
    ramp = np.tile(np.arange(100, dtype=np.uint8), (50, 1))
    for name, image in {"empty": ramp, "small": ramp + 29, "good": ramp + 78, "large": ramp + 127}.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    images = [tmp_path / f"{name}.png" for name in ("empty", "small", "good", "large")]
    assert predict(model, tmp_path / "out", images, lambda _: None).doubtful == [
        f"{tmp_path}/empty.png has an empty mask: no lung was found",
        f"{tmp_path}/small.png has a mask of 1.0% of the image, where lungs cover 2% to 80%: look at its overlay",
        f"{tmp_path}/large.png has a mask of 99.0% of the image, where lungs cover 2% to 80%: look at its overlay",
    ]


def test_progress_reaches_the_end(model: Path, images: Path, tmp_path: Path) -> None:
    for name in "ijk":
        (images / f"{name}.png").write_bytes(b"")
    progress: list[int] = []
    predict(model, tmp_path / "out", find_images([images]), progress.append)
    assert progress[-1] == 11


def test_a_mask_that_cannot_be_written_is_told(model: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "a_mask.png").mkdir(parents=True)
    expected = f"'{tmp_path}/out/a_mask.png' cannot be written: Is a directory"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        predict(model, tmp_path / "out", [images / "a.png"], lambda _: None)


def test_the_newest_model_of_a_serving_folder(images: Path, tmp_path: Path) -> None:
    serving = tmp_path / "serving"
    save_model(serving / "9", threshold=0)
    save_model(serving / "10", threshold=255)
    (serving / "11").mkdir()  # a push that has not come to its end
    segment = load_model(serving).segment
    image = np.array([[0, 254, 255]], np.uint8)
    assert segment([image])[0].tolist() == [[0, 0, 255]]
    assert load_model(serving / "9").segment([image])[0].tolist() == [[255, 255, 255]]


def test_one_call_keeps_order_and_sizes(model: Path) -> None:
    shapes = [(3, 5), (7, 2), (1, 1)]
    masks = load_model(model).segment([np.full(shape, 100 * index, np.uint8) for index, shape in enumerate(shapes)])
    assert [mask.shape for mask in masks] == shapes
    assert [mask.dtype for mask in masks] == [np.uint8] * 3
    assert [bool(mask.any()) for mask in masks] == [False, False, True]


@pytest.mark.parametrize("left", [[], ["1"], ["newest/saved_model.pb"]])
def test_no_model(tmp_path: Path, left: list[str]) -> None:
    for name in left:
        (tmp_path / name).mkdir(parents=True)
    expected = f"'{tmp_path}' is no model: it holds neither a SavedModel nor numbered folders with one"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        load_model(tmp_path)


def test_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^'.*/nowhere' is no model: "):
        predict(tmp_path / "nowhere", tmp_path / "out", [], lambda _: None)
    assert not (tmp_path / "out").exists()


def test_a_damaged_model(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(UserError) as caught:
        load_model(tmp_path)
    assert str(caught.value).startswith(f"'{tmp_path}' cannot be loaded as a model: ")
    assert "\n" not in str(caught.value)


def test_a_model_of_something_else(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path))
    expected = f"'{tmp_path}' is no model of this pipeline: it has no signature serving_default that takes image_bytes"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        load_model(tmp_path)


def test_output_is_a_file(model: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    expected = f"output folder '{tmp_path}/out' cannot be made: File exists"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        predict(model, tmp_path / "out", [images / "a.png"], lambda _: None)


@pytest.mark.parametrize("written", ["images", "images/../images", "link"])
def test_output_where_the_images_are(model: Path, images: Path, tmp_path: Path, written: str) -> None:
    """A second run would take the first one's masks for images."""
    (tmp_path / "link").symlink_to(images)
    before = sorted(images.iterdir())
    expected = f"'{tmp_path / written}' holds the images themselves: name another folder for the masks"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        predict(model, tmp_path / written, find_images([images]), lambda _: None)
    assert sorted(images.iterdir()) == before


def test_output_below_the_images_is_fine(model: Path, images: Path) -> None:
    assert predict(model, images / "out", [images / "a.png"], lambda _: None).refused == []
    assert find_images([images]) == [images / f"{name}.png" for name in "abcdefghijk"]


def test_files_and_folders_are_found(images: Path, tmp_path: Path) -> None:
    other = tmp_path / "z.TIFF"
    other.touch()
    for name in ("notes.txt", "1.2.3.DCM", "._a.png", ".b.dcm"):
        (images / name).touch()
    images_found = find_images([other, images, images / "c.png"])
    assert images_found == [other, images / "1.2.3.DCM", *(images / f"{name}.png" for name in "abcdefghijk")]


def test_a_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "scan.dat").touch()
    assert find_images([tmp_path / "scan.dat"]) == [tmp_path / "scan.dat"]


def test_a_missing_image(images: Path, tmp_path: Path) -> None:
    assert refused(images, tmp_path / "none.png") == f"image '{tmp_path}/none.png' does not exist"


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert refused(tmp_path) == f"'{tmp_path}' holds no images (.png, .jpg, .jpeg, .tif, .tiff, .dcm, .dicom, .ima)"


def test_two_images_of_one_name(images: Path, tmp_path: Path) -> None:
    other = tmp_path / "c.jpg"
    other.touch()
    expected = f"'{images}/c.png' and '{other}' have one name, so their masks would overwrite each other: rename one"
    assert refused(images, other) == expected


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


def test_the_overlay_of_an_empty_mask_is_the_image() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(outlined(image, image * 0), np.dstack([image] * 3))
