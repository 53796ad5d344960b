"""Whether images still are what the model was trained on: in the report and on the console, whatever the exit code."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import hospital_files
import numpy as np
import pytest
from pictures import read_picture
from predicting import Segment, read_table

from pipeline.ingest.formats.resize import resize_image, resize_mask
from schema.record import Record
from schema.reports.prediction import PredictionReport
from schema.reports.statistics import Drift

Lungseg = Callable[..., tuple[int, str, str]]

SHAPE = (48, 64)


def write_images(folder: Path, number: int, brightness: float = 1.0, seed: int = 0) -> Path:
    """Noise with two bright lungs, of 64 x 48 pixels, whose grey values differ from one to the next."""
    folder.mkdir()
    draw = np.random.default_rng(seed)
    for index in range(number):
        pixels = np.clip(draw.normal(60 * draw.uniform(0.8, 1.2), 10, SHAPE), 0, 120)
        pixels[10 : 36 + draw.integers(8), 8 : 26 + draw.integers(8)] = pixels[12:36, 36 : 50 + draw.integers(8)] = 220
        cv2.imwrite(str(folder / f"{index:03}.png"), np.clip(pixels * brightness, 0, 255).astype(np.uint8))
    return folder


def fingerprints(folder: Path) -> dict[str, list[float]]:
    """Of the images as records: what the model of `threshold_model` calls lung is what was called lung in training."""
    rows = []
    for path in sorted(folder.iterdir()):
        pixels = read_picture(path)
        mask = np.where(pixels > 127, np.uint8(255), np.uint8(0))
        record = Record(
            resize_image(pixels, 512), resize_mask(mask, 512), path.stem, path.stem, "clinic", SHAPE[1], SHAPE[0]
        )
        rows.append({"width": record.width, "height": record.height, **record.fingerprint()})
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


@pytest.fixture(scope="module")
def trained(silent_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 3, trained on 300 such images."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(silent_model, folder / "serving" / "3")
    known = fingerprints(write_images(folder / "images", 300, seed=1))
    hospital_files.write_statistics(folder / "serving" / "3", {"PA": 300}, known)
    return folder / "serving"


def test_more_of_the_same_is_no_drift(lungseg: Lungseg, trained: Path, tmp_path: Path) -> None:
    code, output, _ = lungseg("predict", "--model", trained, "--output", "out", write_images(tmp_path / "new", 40))
    assert code == 0
    assert output.splitlines()[-2] == "no drift from the images that the model was trained on (40 images against 300)"
    drift = PredictionReport.read(tmp_path / "out").drift
    assert (drift.reason, drift.baseline_examples, drift.new_examples, drift.drifted) == ("", 300, 40, [])
    assert sorted(feature.feature for feature in drift.features) == [
        "height", "lung_fraction", "mean_intensity", "std_intensity", "width",
    ]  # fmt: skip
    table = read_table(tmp_path / "out")
    expected = fingerprints(tmp_path / "new")
    assert [float(row["mean_intensity"]) for row in table] == pytest.approx(expected["mean_intensity"], abs=1e-3)
    assert [float(row["std_intensity"]) for row in table] == pytest.approx(expected["std_intensity"], abs=2e-3)
    assert {(row["width"], row["height"]) for row in table} == {("64", "48")}


def test_darker_images_are_told_and_the_exit_code_stays(lungseg: Lungseg, trained: Path, tmp_path: Path) -> None:
    new = write_images(tmp_path / "new", 40, brightness=0.8)
    code, output, errors = lungseg("predict", "--model", trained, "--output", "out", new)
    assert code == 0
    assert "drift" not in errors
    drift = PredictionReport.read(tmp_path / "out").drift
    assert {feature.feature for feature in drift.drifted} == {"mean_intensity", "std_intensity"}
    worst = drift.features[0]
    assert worst.drifted
    line = output.splitlines()[-2]
    assert line.startswith(
        f"the images have drifted from those that the model was trained on: {worst.feature} (Jensen-Shannon divergence "
        f"{worst.distance:.2f}, may be {worst.threshold:.2f}), "
    )
    assert line.endswith("; 40 images against 300")
    # What was done before counts as well.
    code, output, _ = lungseg("predict", "--model", trained, "--output", "out", new)
    assert output.splitlines()[-2] == line


@pytest.mark.parametrize(("number", "words"), [(1, "1 is too few"), (3, "3 are too few")])
def test_of_few_images_nothing_is_told(
    lungseg: Lungseg, trained: Path, tmp_path: Path, number: int, words: str
) -> None:
    new = write_images(tmp_path / "new", number, brightness=0.5)
    code, output, _ = lungseg("predict", "--model", trained, "--output", "out", new)
    assert code == 0
    assert output.splitlines()[-2] == (
        f"cannot tell whether the images differ from those that the model was trained on: {words}"
    )
    drift = PredictionReport.read(tmp_path / "out").drift
    assert (drift.reason, drift.drifted) == (words, [])
    assert {feature.noise for feature in drift.features if "intensity" in feature.feature} == {1}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("silent", "there are no statistics beside it"),
        ("both", "it was trained on CT, and radiographs alone are compared"),
        ("radiographs", "the statistics beside it know nothing that is compared"),
    ],
)
def test_where_there_is_nothing_to_compare_with(segment: Segment, tmp_path: Path, model: str, reason: str) -> None:
    drift = segment(write_images(tmp_path / "new", 2), model=model).report.drift
    assert (drift.reason, drift.new_examples, drift.features) == (reason, 2, ())


def test_where_there_is_no_radiograph(segment: Segment, models: dict[str, Path], trained: Path, tmp_path: Path) -> None:
    models["trained"] = trained
    (tmp_path / "broken.png").write_bytes(b"no image")
    report = segment(tmp_path / "broken.png", model="trained").report
    assert report.drift == Drift(reason="no radiograph was measured", new_examples=0)
