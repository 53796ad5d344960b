"""The exported model: its signatures, what they answer, and that it stands alone."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from pictures import decode_picture

from modules.evaluation.overlap import Counts
from modules.serving.export import export_model
from schema.record import Record, encode

SIZE = 16
SIZES = [(24, 24), (40, 30), (16, 16), (57, 33), (300, 200)]
COUNTS = Counts._fields

Png = Callable[[NDArray[Any]], bytes]


SAID = {
    "lung_fraction": tf.float32, "expected_dice": tf.float32, "expected_dice_of_sides": tf.float32, "review": tf.bool,
    "review_reason": tf.string, "error": tf.string,
}  # fmt: skip
JUDGED = {
    **dict.fromkeys((*COUNTS, "brier", "expected_dice", "expected_dice_of_sides"), tf.float32),
    "mask_png": tf.string, "review": tf.bool,
}  # fmt: skip


def signature(function: Any) -> tuple[dict[str, tf.TensorSpec], dict[str, tf.TensorSpec]]:
    return function.structured_input_signature[1], function.structured_outputs


def spec(dtype: tf.DType) -> tuple[list[None], tf.DType]:
    return [None], dtype


@pytest.mark.parametrize(
    ("name", "argument", "outputs"),
    [
        ("serving_default", "image_bytes", {"mask_png": tf.string, **SAID}),
        ("rest", "image_bytes", {"mask_bytes": tf.string, **SAID}),
        ("evaluate", "examples", JUDGED),
        ("transform_features", "examples", {"image": tf.string, "mask": tf.string, "is_augmented": tf.int64}),
    ],
)
def test_signatures(signatures: SimpleNamespace, name: str, argument: str, outputs: dict[str, tf.DType]) -> None:
    taken, returned = signature(getattr(signatures, name))
    assert {key: (taken_spec.shape.as_list(), taken_spec.dtype) for key, taken_spec in taken.items()} == {
        argument: spec(tf.string)
    }
    assert {key: returned_spec.dtype for key, returned_spec in returned.items()} == outputs
    shapes = {key: [None, 2] if key == "expected_dice_of_sides" else [None] for key in outputs}
    assert {key: returned_spec.shape.as_list() for key, returned_spec in returned.items()} == shapes


@pytest.fixture(scope="module")
def scenes(scene: Callable[..., Record]) -> list[Record]:
    """17 records, one more than run through the network at a time, of five sizes."""
    return [scene(seed, *SIZES[seed % len(SIZES)]) for seed in range(17)]


@pytest.fixture(scope="module")
def files(scenes: list[Record], to_png: Png) -> list[bytes]:
    """Their images: PNG and JPEG in turn."""
    jpeg = [cv2.imencode(".jpg", record.image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes() for record in scenes]
    return [jpeg[index] if index % 2 else to_png(record.image) for index, record in enumerate(scenes)]


def masks_of(encoded: tf.Tensor) -> list[NDArray[np.uint8]]:
    return [decode_picture(png) for png in encoded.numpy()]


def test_serving_many_sizes_at_once(signatures: SimpleNamespace, files: list[bytes], scenes: list[Record]) -> None:
    answer = signatures.serving_default(image_bytes=tf.constant(files))
    masks = masks_of(answer["mask_png"])
    assert [mask.shape for mask in masks] == [record.image.shape for record in scenes]
    assert all(mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255} for mask in masks)
    shares = [np.mean(mask == 255) for mask in masks]
    assert answer["lung_fraction"].numpy() == pytest.approx(shares, abs=1e-6)


def test_the_masks_are_those_of_the_model(
    signatures: SimpleNamespace, scenes: list[Record], to_png: Png, normalise: Callable[[Record], NDArray[np.float32]]
) -> None:
    # The network's answer is the brightness itself. Where the network sees what is stored, the mask is its sign.
    record = next(record for record in scenes if record.image.shape == (SIZE, SIZE))
    (mask,) = masks_of(signatures.serving_default(image_bytes=tf.constant([to_png(record.image)]))["mask_png"])
    assert np.array_equal(mask == 255, normalise(record)[..., 0] > 0)
    disc = record.mask == 255
    assert np.array_equal(mask == 255, disc)


def test_an_image_is_answered_alike_alone_and_among_others(signatures: SimpleNamespace, files: list[bytes]) -> None:
    together = signatures.serving_default(image_bytes=tf.constant(files))["mask_png"].numpy()
    for index in (0, 15, 16):
        alone = signatures.serving_default(image_bytes=tf.constant([files[index]]))["mask_png"].numpy()
        assert alone[0] == together[index]


def test_what_is_served_by_rest_is_the_same(signatures: SimpleNamespace, files: list[bytes]) -> None:
    sent = tf.constant([*files[:3], b"no image"])
    default, rest = (
        {key: value.numpy().tolist() for key, value in getattr(signatures, name)(image_bytes=sent).items()}
        for name in ("serving_default", "rest")
    )
    assert rest == {"mask_bytes": default.pop("mask_png"), **default}


def counted(truth: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> list[int]:
    lung, seen = truth == 255, prediction == 255
    return [int(np.sum(a & b)) for a, b in ((lung, seen), (~lung, seen), (lung, ~seen), (~lung, ~seen))]


def test_evaluate_counts_the_pixels_of_the_served_masks(
    signatures: SimpleNamespace, scenes: list[Record], to_png: Png
) -> None:
    served = signatures.serving_default(image_bytes=tf.constant([to_png(record.image) for record in scenes]))
    answer = signatures.evaluate(examples=tf.constant([encode(record) for record in scenes]))
    expected = [counted(record.mask, mask) for record, mask in zip(scenes, masks_of(served["mask_png"]), strict=True)]
    assert np.stack([answer[name] for name in COUNTS], axis=1).tolist() == expected
    assert all(min(row[:1] + row[3:]) > 0 for row in expected), "pixels of both kinds are found"
    assert answer["mask_png"].numpy().tolist() == served["mask_png"].numpy().tolist()


def test_evaluate_takes_the_squared_error_of_the_probabilities(
    signatures: SimpleNamespace, scenes: list[Record], normalise: Callable[[Record], NDArray[np.float32]]
) -> None:
    # Where the network sees what is stored, its answer is the brightness itself.
    record = next(record for record in scenes if record.image.shape == (SIZE, SIZE))
    probability = 1 / (1 + np.exp(-normalise(record)[..., 0]))
    expected = np.mean((probability - (record.mask == 255)) ** 2)
    assert signatures.evaluate(examples=tf.constant([encode(record)]))["brier"].numpy() == pytest.approx([expected])


def test_transform_features(
    signatures: SimpleNamespace, scenes: list[Record], normalise: Callable[[Record], NDArray[np.float32]]
) -> None:
    answer = signatures.transform_features(examples=tf.constant([encode(record) for record in scenes]))
    assert answer["is_augmented"].numpy().tolist() == [0] * len(scenes)
    image = tf.io.parse_tensor(answer["image"][1], tf.float16)
    assert np.array_equal(tf.cast(image, tf.float32), normalise(scenes[1]))
    assert tf.io.parse_tensor(answer["mask"][1], tf.uint8).shape == (SIZE, SIZE, 1)


@pytest.mark.parametrize("normalization", ["image", "percentile"])
def test_the_exported_graph_normalises_as_the_training_did(
    transform: Callable[..., Path],
    scenes: list[Record],
    brightness_model: keras.Model,
    to_png: Png,
    tmp_path: Path,
    normalization: str,
) -> None:
    serialized = [encode(record) for record in scenes]
    graph = transform(serialized, tmp_path / "transform", SIZE, normalization)
    export_model(brightness_model, str(graph / "transform_fn"), str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    answer = loaded.signatures["transform_features"](examples=tf.constant(serialized))
    written = [
        tf.train.Example.FromString(example.numpy()).features.feature["image"].bytes_list.value[0]
        for example in tf.data.TFRecordDataset(sorted(map(str, graph.glob("examples*.gz"))), "GZIP")
    ]
    assert sorted(answer["image"].numpy()) == sorted(written)
    # What is brighter than 0 is lung to this network.
    images = [tf.cast(tf.io.parse_tensor(image, tf.float16), tf.float32) for image in answer["image"].numpy()]
    served = loaded.signatures["serving_default"](image_bytes=tf.constant([to_png(scenes[1].image)]))
    expected = tf.image.resize(tf.sigmoid(images[1]), scenes[1].image.shape) > 0.5
    assert served["lung_fraction"].numpy() == pytest.approx([np.mean(expected)], abs=1e-3)


def test_pixels_above_the_threshold_are_lung(
    transform_graph: Path, brightness_model: keras.Model, to_png: Png, scenes: list[Record], tmp_path: Path
) -> None:
    image = np.repeat(np.linspace(0, 255, SIZE, dtype=np.uint8)[np.newaxis], SIZE, 0)
    example = encode(replace(scenes[0], image=image, mask=image // 128 * 255, width=SIZE, height=SIZE))
    shares = []
    for threshold in (0.3, 0.5, 0.7):
        folder = str(tmp_path / str(threshold))
        export_model(brightness_model, str(transform_graph / "transform_fn"), folder, threshold=threshold)
        loaded = tf.saved_model.load(folder).signatures
        [mask] = masks_of(loaded["serving_default"](image_bytes=tf.constant([to_png(image)]))["mask_png"])
        [pixels] = loaded["transform_features"](examples=tf.constant([example]))["image"].numpy()
        normalised = tf.cast(tf.io.parse_tensor(pixels, tf.float16), tf.float32)
        probabilities = tf.sigmoid(brightness_model(normalised[tf.newaxis]))[0, ..., 0].numpy()
        assert np.array_equal(mask > 0, probabilities > threshold)
        shares.append((mask > 0).mean())
    assert shares[0] > shares[1] > shares[2] > 0


def test_parts_of_a_mask_beside_the_largest_are_dropped(
    transform_graph: Path, brightness_model: keras.Model, to_png: Png, scenes: list[Record], tmp_path: Path
) -> None:
    export_model(brightness_model, str(transform_graph / "transform_fn"), str(tmp_path), largest_parts=2)
    image = np.zeros((SIZE, SIZE), np.uint8)
    image[2:12, 1:6] = image[2:12, 9:14] = 255  # the lungs
    lungs = image.copy()
    image[14:16, 6:9] = 255  # what is bright as well
    loaded = tf.saved_model.load(str(tmp_path))
    served = loaded.signatures["serving_default"](image_bytes=tf.constant([to_png(image)]))
    assert np.array_equal(masks_of(served["mask_png"])[0], lungs)
    judged = loaded.signatures["evaluate"](
        examples=tf.constant([encode(replace(scenes[0], image=image, mask=lungs, width=SIZE, height=SIZE))])
    )
    assert [float(judged[name][0]) for name in COUNTS] == counted(lungs, lungs)


def test_a_broken_file_costs_the_others_of_its_request_nothing(
    signatures: SimpleNamespace, files: list[bytes], scenes: list[Record], to_png: Png
) -> None:
    png = to_png(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))
    jpeg = cv2.imencode(".jpg", np.tile(np.arange(64, dtype=np.uint8), (64, 1)))[1].tobytes()
    damaged = "is damaged or truncated"
    size_of_huge = (2**13 + 1).to_bytes(4, "big") + (2**13).to_bytes(4, "big")
    broken = {
        b"": "is empty",
        b"no image": "is neither a PNG nor a JPEG file",
        b"DICM".rjust(132, b"\0") + bytes(200): "is neither a PNG nor a JPEG file",
        b"BM" + bytes(100): "is neither a PNG nor a JPEG file",
        png[: len(png) // 2]: damaged,
        png[:20]: damaged,
        png[:4]: damaged,
        png[:16] + bytes(8) + png[24:]: damaged,
        png[:60] + bytes(60) + png[120:]: damaged,
        jpeg[:12]: damaged,
        jpeg[: len(jpeg) // 2]: damaged,
        b"\xff\xd8\xff" + bytes(50): damaged,
        png[:16] + size_of_huge + png[24:]: f"is too large: more than {2**26} pixels",
    }
    # Broken files first, last and in a row, beside more good ones than run through the network at a time.
    sent = [*list(broken)[:3], *files, *list(broken)[3:]]
    answer = {key: value.numpy() for key, value in signatures.serving_default(image_bytes=tf.constant(sent)).items()}
    alone = signatures.serving_default(image_bytes=tf.constant(files))
    assert [error.decode() for error in answer["error"]] == [broken.get(file, "") for file in sent]
    assert answer["mask_png"][3 : 3 + len(files)].tolist() == alone["mask_png"].numpy().tolist()
    assert answer["lung_fraction"][3 : 3 + len(files)].tolist() == alone["lung_fraction"].numpy().tolist()
    assert {answer["mask_png"][index] for index, error in enumerate(answer["error"]) if error} == {b""}
    assert {answer["lung_fraction"][index] for index, error in enumerate(answer["error"]) if error} == {0}


def test_a_request_of_broken_files_alone(signatures: SimpleNamespace) -> None:
    answer = signatures.serving_default(image_bytes=tf.constant([b"", b"x"]))
    assert answer["mask_png"].numpy().tolist() == [b"", b""]
    assert answer["error"].numpy().tolist() == [b"is empty", b"is neither a PNG nor a JPEG file"]
    assert answer["review_reason"].numpy().tolist() == [b"cannot be read"] * 2


def test_no_images_give_no_masks(signatures: SimpleNamespace) -> None:
    answer = signatures.serving_default(image_bytes=tf.constant([], tf.string))
    of_sides = {"expected_dice_of_sides": [0, 2]}
    shapes = {key: [0] for key in ("mask_png", *SAID)} | of_sides
    assert {name: value.shape.as_list() for name, value in answer.items()} == shapes
    counts = signatures.evaluate(examples=tf.constant([], tf.string))
    assert {name: value.shape.as_list() for name, value in counts.items()} == {key: [0] for key in JUDGED} | of_sides


ALONE = """
import importlib.abc, sys
BLOCKED = {"keras", "tf_keras", "tensorflow_transform", "tfx", "tfx_bsl", "apache_beam",
           "schema", "modules", "components", "pipeline"}

class Without(importlib.abc.MetaPathFinder):
    # As if the blocked packages were not installed: TensorFlow itself looks for Keras, and lives without it.
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in BLOCKED:
            return next((spec for finder in FINDERS if (spec := finder.find_spec(name, path, target))), None)

FINDERS = sys.meta_path[:]
sys.meta_path[:] = [Without()]
import pathlib
import tensorflow as tf
model, inputs, outputs = sys.argv[1:]
files = [path.read_bytes() for path in sorted(pathlib.Path(inputs).iterdir())]
answer = tf.saved_model.load(model).signatures["serving_default"](image_bytes=tf.constant(files))
for index, mask in enumerate(answer["mask_png"].numpy()):
    pathlib.Path(outputs, f"{index:02}").write_bytes(mask)
print(sorted(BLOCKED & set(sys.modules)))
"""


def test_it_stands_alone(exported: Path, signatures: SimpleNamespace, files: list[bytes], tmp_path: Path) -> None:
    inputs, outputs = tmp_path / "inputs", tmp_path / "outputs"
    inputs.mkdir()
    outputs.mkdir()
    for index, data in enumerate(files):
        (inputs / f"{index:02}").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, exported, inputs, outputs],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "[]\n"
    here = signatures.serving_default(image_bytes=tf.constant(files))["mask_png"].numpy().tolist()
    assert [path.read_bytes() for path in sorted(outputs.iterdir())] == here
