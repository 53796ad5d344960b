"""Pictures of a report: found in real TFRecords, segmented by a real SavedModel, drawn."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
import threshold_model
from numpy.typing import NDArray

from components.reporter.evidence import ReportError
from components.reporter.pictures import PREDICTION, TRUTH, WIDTH, draw, draw_all, find_records
from modules.serving.segmenter import Segmenter
from schema.record import Record, encode

MakeRecord = Callable[..., Record]


def write(path: Path, records: Sequence[bytes]) -> str:
    with tf.io.TFRecordWriter(str(path), "GZIP" if path.suffix == ".gz" else "") as writer:
        for record in records:
            writer.write(record)
    return str(path)


def pixels(address: str) -> NDArray[np.uint8]:
    encoded = np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8)
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED), np.uint8)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return Segmenter(threshold_model.save(tmp_path_factory.mktemp("model")))


def test_finds_records_in_plain_and_compressed_files(tmp_path: Path, make_record: MakeRecord) -> None:
    names = [f"i{number}" for number in range(6)]
    records = [encode(make_record(name, patient_id=f"p-{name}")) for name in names]
    files = [write(tmp_path / "a.gz", records[:4]), write(tmp_path / "b", records[4:])]
    by_id = find_records(files, {"i5", "i1"})
    assert {name: record.patient_id for name, record in by_id.items()} == {"i1": "p-i1", "i5": "p-i5"}
    assert np.array_equal(by_id["i1"].image, make_record().image)
    assert find_records(files, set()) == {}


def test_of_other_records_nothing_but_the_name_is_read(tmp_path: Path, make_record: MakeRecord) -> None:
    broken = tf.train.Example.FromString(encode(make_record("broken")))
    del broken.features.feature["image"]
    file = write(tmp_path / "a", [broken.SerializeToString(), encode(make_record("whole"))])
    assert list(find_records([file], {"whole"})) == ["whole"]


def test_reads_no_further_than_it_must(tmp_path: Path, make_record: MakeRecord) -> None:
    first = write(tmp_path / "a", [encode(make_record("a"))])
    assert list(find_records([first, str(tmp_path / "no such file")], {"a"})) == ["a"]


def test_a_missing_image_is_named(tmp_path: Path, make_record: MakeRecord) -> None:
    file = write(tmp_path / "a", [encode(make_record("a"))])
    with pytest.raises(ReportError) as error:
        find_records([file], {"a", "z", "b"})
    assert str(error.value) == (
        "image 'b' was evaluated but is not among the examples: "
        "the evaluation and the examples must be those of one run"
    )


def test_draws_each_record_by_its_own_mask(segmenter: Segmenter, make_record: MakeRecord) -> None:
    light = np.full((24, 32), 250, np.uint8)
    records = {
        ("test", "light"): make_record("light", image=light),
        ("hannover", "dark"): make_record("dark", image=light // 5),
    }
    drawn = draw_all(records, segmenter)
    assert list(drawn) == list(records)
    assert pixels(drawn["test", "light"].prediction).min() == 255
    assert pixels(drawn["hannover", "dark"].prediction).max() == 0
    assert draw_all({}, segmenter) == {}


def test_a_picture_has_the_width_and_the_shape_of_the_image() -> None:
    image = np.full((100, 200), 90, np.uint8)
    truth, prediction = np.zeros_like(image), np.zeros_like(image)
    truth[20:80, 20:90] = 255
    prediction[20:80, 110:180] = 255
    drawn = draw(image, truth, prediction)
    shapes = {name: pixels(getattr(drawn, name)).shape for name in ("image", "truth", "prediction", "overlay")}
    size = (WIDTH // 2, WIDTH)
    assert shapes == {"image": size, "truth": size, "prediction": size, "overlay": (*size, 3)}
    assert pixels(drawn.truth)[WIDTH // 4, WIDTH // 4] == 255
    assert pixels(drawn.prediction)[WIDTH // 4, WIDTH // 4] == 0
    overlay = pixels(drawn.overlay).astype(int)
    true_edge, predicted_edge = round(0.1 * WIDTH), round(0.55 * WIDTH)
    row = overlay[WIDTH // 4]
    # JPEG halves the resolution of colour, so the hue is right and the shade about so.
    assert np.abs(row[true_edge] - TRUTH).max() < 60
    assert np.abs(row[predicted_edge] - PREDICTION).max() < 90
    assert np.abs(row[round(0.3 * WIDTH)] - 90).max() < 8


def test_the_outlines_differ_in_lightness() -> None:
    lightness = [0.114 * blue + 0.587 * green + 0.299 * red for blue, green, red in (TRUTH, PREDICTION)]
    assert lightness[0] - lightness[1] > 100


def test_small_images_are_enlarged() -> None:
    full = np.full((8, 8), 255, np.uint8)
    assert pixels(draw(full, full, full).image).shape == (WIDTH, WIDTH)
