"""A delivery that is wrong in every way at once, after a model was released: each fault is found and named."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from command_line import run_pipeline
from pictures import decode_picture
from tfx.components.example_gen.base_example_gen_executor import _PartitionFn
from tfx.proto import example_gen_pb2

from pipeline.commands.phantoms import phantom
from schema.record import Record, encode

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.nightly]

IMAGES, SIZE = 200, 96
SPLITS = {"train": 8, "eval": 1, "test": 1}
BUCKETS = [8, 9, 10]
SMALL = (
    "--config", "demo", "--set", "model.image_size=32", "--set", "model.levels=2", "--set", "train.epochs=1",
    "--set", "evaluate.rules=[{metric: dice_mean, at_least: 0.1}]", "--set", "evaluate.min_patients=1",
)  # fmt: skip
DARKER = 0.75
"""Factor on the grey values of the new scanner."""


def record(number: int, seed: int, **changes: Any) -> Record:
    image, mask = phantom(seed=seed, patient=number, image=1, size=SIZE)
    name = f"s{seed}-{number}"
    return replace(Record(image, mask, name, f"p-{name}", "clinic", SIZE, SIZE), **changes)


def split_of(record: Record) -> str:
    config = example_gen_pb2.SplitConfig(
        splits=[example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=count) for name, count in SPLITS.items()],
        partition_feature_name="patient_id",
    )
    return list(SPLITS)[_PartitionFn(tf.train.Example.FromString(encode(record)), len(BUCKETS), BUCKETS, config)]


def move_to(split: str, record: Record) -> Record:
    """The same record of a patient who falls into another split."""
    moved = (
        replace(record, patient_id=f"{record.patient_id}-{n}", image_id=f"{record.image_id}-again") for n in range(1000)
    )
    return next(other for other in moved if split_of(other) == split)


def as_jpeg(image: np.ndarray) -> np.ndarray:
    return decode_picture(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 75])[1], cv2.IMREAD_GRAYSCALE)


def damaged(edit: Callable[[Any], None], record: Record) -> bytes:
    """A record whose features no longer fit each other."""
    example = tf.train.Example.FromString(encode(record))
    edit(example.features.feature)
    return example.SerializeToString()


def faults() -> tuple[list[bytes], dict[str, str]]:
    """Five kinds of damage, and which reason each is refused for."""
    dots = np.zeros((SIZE, SIZE), np.uint8)
    dots[4::12, 4::12] = 255
    scattered = np.asarray(cv2.dilate(dots, np.ones((5, 5), np.uint8)), np.uint8)
    tiny = np.zeros((SIZE, SIZE), np.uint8)
    tiny[40:44, 40:44] = 255

    def truncate(feature: Any) -> None:
        whole = feature["image"].bytes_list.value[0]
        feature["image"].bytes_list.value[0] = whole[: len(whole) // 2]

    def forge(feature: Any) -> None:
        feature["mean_intensity"].float_list.value[0] += 0.2

    noise = np.random.default_rng(0).integers(0, 2, (SIZE, SIZE)).astype(np.uint8)
    records = [
        damaged(truncate, record(1, seed=5)),
        encode(record(2, seed=5, image=100 + noise)),
        encode(record(3, seed=5, mask=tiny)),
        encode(record(4, seed=5, mask=scattered)),
        damaged(forge, record(5, seed=5)),
    ]
    reasons = ("undecodable", "constant_image", "mask_area", "components", "fingerprint")
    return records, {f"s5-{number}": reason for number, reason in enumerate(reasons, 1)}


def write(data: Path, span: int, records: list[bytes]) -> None:
    folder = data / f"span-{span}"
    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "records-00000-of-00001.tfrecord")) as writer:
        for serialized in records:
            writer.write(serialized)


def only(root: Path, component: str, output: str, name: str) -> Any:
    (newest, *_) = sorted((root / "artifacts" / component / output).glob(f"*/{name}"), reverse=True, key=_execution)
    return newest.read_text()


def _execution(path: Path) -> int:
    return int(path.parent.name)


def test_each_is_found_and_named(tmp_path: Path) -> None:
    root, data = tmp_path / "root", tmp_path / "data"
    write(data, 1, [encode(record(number, seed=1)) for number in range(IMAGES)])
    first = run_pipeline(root, data, *SMALL)
    assert first.code == 0, first.output

    sound = [record(number, seed=2) for number in range(IMAGES)]
    scanned = [
        replace(original, image=np.rint(original.image * DARKER).astype(np.uint8)) if number % 2 else original
        for number, original in enumerate(sound)
    ]
    trained_on = [original for original in scanned if split_of(original) == "train"]
    brighter = cv2.convertScaleAbs(trained_on[2].image, alpha=0.9, beta=12)
    duplicates = [
        move_to("test", trained_on[0]),
        move_to("test", replace(trained_on[1], image=as_jpeg(trained_on[1].image))),
        move_to("eval", replace(trained_on[2], image=np.asarray(brighter, np.uint8))),
    ]
    bad, reasons = faults()
    write(data, 2, [*map(encode, scanned), *map(encode, duplicates), *bad])
    # An external set in which one patient is trained on.
    known = record(900, seed=3, patient_id=trained_on[3].patient_id)
    write(tmp_path / "other", 1, [encode(known), *(encode(record(number, seed=3)) for number in range(20))])

    external = ("--external", f"north={tmp_path / 'other'}")
    second = run_pipeline(root, data, *SMALL, *external)
    assert second.code == 3, second.output
    assert second.output.splitlines()[-1].startswith("lungseg: DataGate failed: ")
    assert "Trainer" not in second.output.splitlines(), "nothing is trained on such data"

    validation = json.loads(only(root, "RecordValidator", "report", "validation.json"))
    listed = [json.loads(line) for line in only(root, "RecordValidator", "report", "quarantined.jsonl").splitlines()]
    refusals = {refused["image_id"]: refused["reason"] for refused in listed}
    assert {name: refusals.get(name) for name in reasons} == reasons
    assert validation["leaks"]["total"] == 3
    leaks = {
        (leak["dropped"]["image_id"], leak["kept"]["image_id"]): leak["reason"] for leak in validation["leaks"]["named"]
    }
    pairs = [(trained_on[number].image_id, duplicates[number].image_id) for number in range(3)]
    assert leaks == dict(zip(pairs, ("exact_duplicate", "near_duplicate", "near_duplicate"), strict=True))
    assert len(listed) == 5 + 3, "and nothing else"
    read, validated = (sum(set_[name] for set_ in validation["sets"]) for name in ("read", "validated"))
    assert (read, validated) == (IMAGES + 3 + 5, IMAGES)
    assert len(list((root / "artifacts/RecordValidator/report").glob("*/thumbnails.png"))) == 1

    of_external = json.loads(only(root, "ExternalRecordValidator", "report", "validation.json"))
    (leak,) = of_external["leaks"]["named"]
    assert leak["reason"] == "patient_in_two_splits"
    assert known.patient_id in leak["text"]
    assert "split 'train'" in leak["text"]

    drift = json.loads(only(root, "ExampleValidator", "anomalies", "drift.json"))
    assert drift["baseline"] == 1
    drifted = {feature["feature"] for feature in drift["features"] if feature["drifted"]}
    assert "mean_intensity" in drifted
    assert "lung_fraction" not in drifted, "only the scanner is new"
    assert "mean_intensity" in second.output

    # With the leaks allowed, what is refused stays in quarantine, and the rest is trained on.
    third = run_pipeline(root, data, *SMALL, "--set", "gate.max_leaks=3")
    assert third.code in (0, 3), third.output
    assert "DataGate failed" not in third.output
    assert third.result["data_span"] == 2
    strict = run_pipeline(root, data, *SMALL, "--set", "gate.max_leaks=3", "--set", "gate.severity=warning")
    assert strict.code == 3
    assert "feature 'mean_intensity' of split 'train': The approximate Jensen-Shannon" in strict.output.splitlines()[-1]
