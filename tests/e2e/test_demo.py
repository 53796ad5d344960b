"""The whole job on synthetic images: run, run again, judge more strictly, segment."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from command_line import Outcome, lungseg, run_pipeline
from pictures import read_picture

from modules.evaluation.measures import STATISTICS
from pipeline.config import load_config
from schema import record
from schema.reports.result import RunResult
from schema.reports.training import TrainingHistory

pytestmark = pytest.mark.e2e

COMPONENTS = [
    "ChangeDetector",
    "ExampleGen",
    "RecordValidator",
    "ImportSchemaGen",
    "StatisticsGen",
    "ExampleValidator",
    "DataGate",
    "Augmenter",
    "Transform",
    "Trainer",
    "BaselineResolver",
    "Evaluator",
    "ServingProbe",
    "Pusher",
    "Reporter",
]
# Of 80 images, few patients are left to test on, and one bad copy is much among them.
LENIENT = (
    "evaluate.rules=[{metric: dice_mean, at_least: 0.9}, {metric: dice_mean, at_least: 0.9, slice: {is_augmented: 0}}]"
)
EPOCHS = 8
SETTINGS = (
    "--config", "demo", "--set", "model.image_size=64", "--set", f"train.epochs={EPOCHS}",
    "--set", "evaluate.min_patients=3", "--set", LENIENT,
)  # fmt: skip
COMPARE = (
    "evaluate.rules=[{metric: dice_mean, at_least: 0.1},"
    " {metric: dice_mean, max_regression: 0.03, slice: {is_augmented: 0}}]"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def first(root: Path, phantom_data: Path) -> Outcome:
    return run_pipeline(root, phantom_data, *SETTINGS)


@pytest.fixture(scope="module")
def second(first: Outcome, root: Path, phantom_data: Path) -> Outcome:
    return run_pipeline(root, phantom_data, *SETTINGS)


def read_records(folder: Path) -> Iterator[record.Record]:
    files = [str(path) for path in sorted(folder.glob("*"))]
    kind = "GZIP" if any(name.endswith(".gz") for name in files) else ""
    for serialized in tf.data.TFRecordDataset(files, compression_type=kind).as_numpy_iterator():
        yield record.decode(serialized)


def dice_of(slice_: dict[str, Any]) -> float:
    return float(slice_["metrics"]["dice_mean"]["value"])


def versions(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "serving").iterdir() if path.name.isdecimal())


def test_ends_blessed_and_pushed(first: Outcome, root: Path) -> None:
    assert first.code == 0, first.output
    assert first.result["status"] == "blessed"
    assert versions(root) == [first.result["pushed_version"]]
    assert f"{root}/serving/{first.result['pushed_version']}" in first.output
    assert first.result["failures"] == []
    assert first.result["policy"] == "chest"
    assert (first.result["data_span"], first.result["data_spans"]) == (1, [1])


def test_runs_each_component_once(first: Outcome) -> None:
    ran = {component["id"]: component["cached"] for component in first.result["components"]}
    assert sorted(ran) == sorted(COMPONENTS)
    assert len(first.result["components"]) == len(COMPONENTS)
    assert not any(ran.values())
    for name in COMPONENTS:
        assert name in first.output


def test_the_result_and_the_configuration_can_be_read_back(first: Outcome, root: Path) -> None:
    assert RunResult.read(root).model_dump(mode="json") == first.result
    config = load_config(str(root / "config.yaml"), {}, data=None, root=None)
    assert (config.root, config.train.epochs, config.evaluate.min_patients) == (root, EPOCHS, 3)


def test_shows_no_library_noise(first: Outcome, root: Path) -> None:
    assert "WARNING" not in first.output
    assert "cuda" not in first.output.lower()
    assert (root / "log.txt").stat().st_size > 0


def test_every_record_comes_through(first: Outcome, root: Path) -> None:
    (augmented,) = (root / "artifacts/Augmenter/augmented_examples").iterdir()
    (examples,) = (root / "artifacts/ExampleGen/examples").iterdir()
    patients: dict[str, set[str]] = {}
    total = 0
    for split, copies in (("train", 1), ("eval", 0), ("test", 1)):
        originals = list(read_records(examples / f"Split-{split}"))
        written = list(read_records(augmented / f"Split-{split}"))
        assert originals, split
        assert len(written) == len(originals) * (1 + copies)
        assert len({record.image_id for record in written}) == len(written)
        assert {record.image_id for record in written if not record.is_augmented} == {
            record.image_id for record in originals
        }
        patients[split] = {record.patient_id for record in originals}
        total += len(originals)
    assert total == 80
    assert not patients["train"] & patients["eval"]
    assert not patients["train"] & patients["test"]
    assert not patients["eval"] & patients["test"]


def test_slices_tell_copies_from_originals(first: Outcome) -> None:
    slices = {slice_["slice"]: slice_ for slice_ in first.result["slices"]}
    assert {"overall", "is_augmented:0", "is_augmented:1", "source:phantom-a", "finding:synthetic"} <= set(slices)
    assert "is_augmented:1,source:phantom-a" in slices
    assert {"transform:Rotate", "lungs:large"} <= set(slices)
    originals, copies = slices["is_augmented:0"], slices["is_augmented:1"]
    assert originals["examples"] == copies["examples"]
    overall = slices["overall"]
    assert overall["examples"] == originals["examples"] + copies["examples"]
    dice = overall["metrics"]["dice_mean"]
    assert dice["value"] == pytest.approx(np.mean([dice_of(originals), dice_of(copies)]))
    assert set(overall["metrics"]) == set(STATISTICS)
    assert dice["low"] < dice["value"] < dice["high"]


def test_the_report_is_there(first: Outcome, root: Path) -> None:
    assert sorted(path.name for path in (root / "report").iterdir()) == ["index.html", "model_card.md", "report.json"]
    assert f"{root}/report/index.html" in first.output
    page = (root / "report/index.html").read_text()
    assert f"{dice_of(first.result['slices'][0]):.3f}" in page
    assert json.loads((root / "report/report.json").read_text())


def test_data_have_no_anomalies(first: Outcome, root: Path) -> None:
    files = list((root / "artifacts/ExampleValidator/anomalies").glob("*/Split-*/SchemaDiff.pb"))
    assert len(files) == 3
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    for file in files:
        anomalies = anomalies_pb2.Anomalies.FromString(file.read_bytes())
        assert dict(anomalies.anomaly_info) == {}


def test_training_was_watched(first: Outcome, root: Path) -> None:
    (file,) = (root / "artifacts/Trainer/model_run").glob("*/history.json")
    history = TrainingHistory.read(file.parent).figures
    assert set(history) == {"loss", "accuracy", "dice", "val_loss", "val_accuracy", "val_dice"}
    assert all(len(values) == EPOCHS for values in history.values())


def test_predict_agrees_with_the_masks(first: Outcome, root: Path, phantom_data: Path, tmp_path: Path) -> None:
    images = phantom_data.parent / "images/images"
    done = lungseg("predict", "--model", root / "serving", "--output", tmp_path, images)
    assert done.returncode == 0, done.stderr
    scores = []
    for image in images.iterdir():
        truth = read_picture(images.parent / "masks" / image.name, cv2.IMREAD_GRAYSCALE) > 0
        prediction = read_picture(tmp_path / f"{image.stem}_mask.png", cv2.IMREAD_GRAYSCALE) > 0
        scores.append(2 * (truth & prediction).sum() / (truth.sum() + prediction.sum()))
        assert (tmp_path / f"{image.stem}_overlay.png").stat().st_size > 0
    assert len(scores) == 80
    assert np.mean(scores) > 0.93


def test_the_same_again_ends_early(second: Outcome, first: Outcome, root: Path) -> None:
    assert second.code == 0, second.output
    assert [component["id"] for component in second.result["components"]] == ["ChangeDetector"]
    assert versions(root) == [first.result["pushed_version"]]
    kept = {"status": "unchanged", "components": second.result["components"]}
    assert second.result == {**first.result, **kept}, "its figures are those of the model that serves"
    listed = json.loads(lungseg("history", "--root", root, "--json").stdout)
    assert [(run["status"], run["version"]) for run in listed] == [("blessed", "1"), ("unchanged", "1")]


def test_a_model_that_serves_is_known_without_the_store(
    second: Outcome, root: Path, phantom_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(root / "serving", tmp_path / "serving")
    outcome = run_pipeline(tmp_path, phantom_data, *SETTINGS)
    assert outcome.code == 0, outcome.output
    assert (outcome.result["status"], outcome.result["pushed_version"]) == ("unchanged", "1")
    assert outcome.result["slices"] == [], "the figures are in the other root"


@pytest.mark.nightly
def test_a_forced_run_trains_all_the_same(second: Outcome, root: Path, phantom_data: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "serving", tmp_path / "serving")
    outcome = run_pipeline(tmp_path, phantom_data, *SETTINGS, "--force")
    assert outcome.code == 0, outcome.output
    assert not any(component["cached"] for component in outcome.result["components"])
    assert outcome.result["pushed_version"] == "1", "an equal model keeps its number"
    assert run_pipeline(tmp_path, phantom_data, *SETTINGS).result["status"] == "unchanged"


def test_a_model_that_misses_a_bound_is_not_pushed(second: Outcome, root: Path, phantom_data: Path) -> None:
    strict = "evaluate.rules=[{metric: dice_mean, at_least: 0.9999}]"
    outcome = run_pipeline(root, phantom_data, *SETTINGS, "--set", strict)
    assert outcome.code == 3, outcome.output
    assert outcome.result["status"] == "not_blessed"
    assert outcome.result["pushed_version"] is None
    assert versions(root) == [second.result["pushed_version"]]
    (failure,) = outcome.result["failures"]
    assert failure.startswith("dice_mean on overall: is 0.9")
    assert failure.endswith("must be at least 0.9999")
    reran = {component["id"] for component in outcome.result["components"] if not component["cached"]}
    # There is a model now to compare with, and statistics beside it.
    judged = {"BaselineResolver", "ExampleValidator", "DataGate", "Evaluator", "Pusher", "Reporter"}
    assert reran == {"ChangeDetector", *judged}


def test_a_worse_model_does_not_replace_the_one_that_serves(second: Outcome, root: Path, phantom_data: Path) -> None:
    worse = run_pipeline(root, phantom_data, *SETTINGS, "--set", "train.epochs=1", "--set", COMPARE)
    assert worse.code == 3, worse.output
    (failure,) = worse.result["failures"]
    assert failure.startswith("dice_mean on is_augmented:0: changed for the worse by 0.")
    assert failure.endswith(", may be worse by 0.03")
    assert versions(root) == [second.result["pushed_version"]]


@pytest.mark.nightly
def test_an_equal_model_replaces_it_and_can_be_taken_back(second: Outcome, root: Path, phantom_data: Path) -> None:
    # Another seed gives another model that is as good within the margin.
    equal = run_pipeline(root, phantom_data, *SETTINGS, "--set", "train.seed=8", "--set", COMPARE)
    assert equal.code == 0, equal.output
    first, pushed = second.result["pushed_version"], equal.result["pushed_version"]
    assert versions(root) == [first, pushed]
    (rule,) = [rule for rule in equal.result["rules"] if rule["kind"] == "max_regression"]
    before = {slice_["slice"]: dice_of(slice_) for slice_ in second.result["slices"]}
    assert rule["baseline"] == pytest.approx(before["is_augmented:0"])
    done = lungseg("promote", "--root", root, "--to", first)
    assert done.returncode == 0, done.stderr
    assert versions(root) == [first]
    listed = json.loads(lungseg("history", "--root", root, "--json").stdout)
    assert [(run["status"], run["version"]) for run in listed][-2:] == [("not_blessed", None), ("blessed", pushed)]


def test_a_failing_component_is_one_line(phantom_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "data/span-1"
    data.mkdir(parents=True)
    for file in (phantom_data / "span-1").glob("records-00000-*"):
        (data / file.name).write_bytes(file.read_bytes()[:5000])
    done = lungseg("run", "--config", "demo", "--data", data.parent, "--root", tmp_path / "root")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.startswith("lungseg: ExampleGen failed: ")
    assert done.stderr.count("\n") == 1
