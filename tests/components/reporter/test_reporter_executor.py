"""The Reporter on real artifacts: everything that is read, all or nothing of what is written, errors word for word."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tensorflow as tf
from tfx import types
from tensorflow_data_validation import generate_statistics_from_dataframe
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.reporter import executor
from components.reporter.component import Reporter
from components.reporter.evidence import ReportError
from modules.evaluation.measures import MEASURES
from schema import features
from schema.record import Record, encode

MakeRecord = Callable[..., Record]
Inputs = dict[str, list[types.Artifact]]
Write = Callable[[Inputs], Path]

SETTINGS = {"pipeline": "lungseg", "model": {"filters": 8}, "train": {"warm_start": False}, "augment": {}}


class AllLung(tf.Module):
    """Takes every pixel for lung."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        def one(png: tf.Tensor) -> tf.Tensor:
            return tf.io.encode_png(tf.zeros_like(tf.io.decode_png(png, channels=1)) + 255)

        return {"mask_png": tf.map_fn(one, image_bytes)}


def artifact(kind: type[types.Artifact], folder: Path, **files: Any) -> types.Artifact:
    """An artifact with JSON files; NaN is written as Python writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    made = kind()
    made.uri = str(folder)
    return made


def examples(folder: Path, splits: dict[str, Sequence[Record]], suffix: str = "") -> types.Artifact:
    made = artifact(standard_artifacts.Examples, folder)
    made.split_names = artifact_utils.encode_split_names(list(splits))
    for split, records in splits.items():
        (folder / f"Split-{split}").mkdir()
        path = folder / f"Split-{split}" / f"data_tfrecord-00000-of-00001{suffix}"
        with tf.io.TFRecordWriter(str(path), "GZIP" if suffix else "") as writer:
            for record in records:
                writer.write(encode(record))
    return made


def row(record: Record, of_set: str = "test", dice: float = 0.9) -> dict[str, Any]:
    names = ("image_id", "original_id", "patient_id", "source", "finding", "view", "sex", "age", "augmentation")
    described = {name: getattr(record, name) for name in names}
    measured = dict.fromkeys(MEASURES, 0.5) | {"dice": dice}
    return {"set": of_set, **described, "is_augmented": int(record.is_augmented), "lung_fraction": 0.2, **measured}


def estimated(value: float) -> dict[str, dict[str, float | None]]:
    return {"dice_mean": {"value": value, "low": value - 0.01, "high": value + 0.01}, "nsd": {"value": float("nan")}}


@pytest.fixture
def records(make_record: MakeRecord) -> list[Record]:
    original = make_record("NA", finding="NA", sex="female", age=50.0)
    return [original, make_record("NA-copy1", finding="NA", is_augmented=True, augmentation="Rotate")]


@pytest.fixture
def inputs(tmp_path: Path, records: list[Record]) -> Inputs:
    """What a run must give."""
    data = examples(tmp_path / "examples", {"train": records[:1], "test": records})
    data.set_string_custom_property("spans", "5,7")
    data.set_int_custom_property("train_originals", 1)
    data.set_int_custom_property("train_copies", 0)
    data.set_string_custom_property("policy", "chest")
    data.set_float_custom_property("seconds", 12.5)
    slices = [{"slice": "overall", "set": "test", "keys": {}, "examples": 2, "patients": 1, "enough": False,
               "metrics": estimated(0.9), "baseline": None, "difference": None}]  # fmt: skip
    evaluated = {"baseline": None, "tolerance": 0.01, "min_patients": 10, "confidence": 0.95, "slices": slices}
    evaluation = artifact(standard_artifacts.ModelEvaluation, tmp_path / "evaluation", evaluation=evaluated)
    table = pd.DataFrame([row(one) for one in records])
    table.to_csv(tmp_path / "evaluation/images.csv", index=False)
    model = artifact(standard_artifacts.Model, tmp_path / "model")
    module = AllLung()
    tf.saved_model.save(module, f"{model.uri}/Format-Serving", signatures={"serving_default": module.serve})
    history = {"loss": [0.5, float("nan")], "val_loss": [0.6, 0.5], "dice": [0.8, 0.9], "val_dice": [0.7, 0.85]}
    run = artifact(standard_artifacts.ModelRun, tmp_path / "model_run", history=history)
    return {"examples": [data], "model": [model], "model_run": [run], "evaluation": [evaluation]}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Calls the executor as TFX does: the folder of the output is there already."""

    def do(given: Inputs, kind: str = "run") -> Path:
        report = artifact(simple_artifacts.File, tmp_path / "report")
        properties = {"settings": json.dumps(SETTINGS), "code_version": "c0de", "kind": kind}
        executor.Executor().Do(given, {"report": [report]}, properties)
        return tmp_path / "report"

    return do


@pytest.fixture
def failure(write: Write, tmp_path: Path) -> Callable[[Inputs], str]:
    """The error's message; nothing is left."""

    def do(given: Inputs) -> str:
        with pytest.raises(ReportError) as error:
            write(given)
        assert not list((tmp_path / "report").iterdir())
        return str(error.value)

    return do


def read(report: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    return dict(json.loads((report / "report.json").read_text(), parse_constant=refuse))


def test_writes_three_files_from_what_a_run_must_give(inputs: Inputs, write: Write) -> None:
    folder = write(inputs)
    assert {path.name for path in folder.iterdir()} == {"index.html", "report.json", "model_card.md"}
    report = read(folder)
    assert report["decision"]["outcome"] == "not judged"
    assert report["slices"]["rows"][0]["metrics"]["nsd"]["value"] is None
    assert report["training"]["history"]["loss"] == [0.5, None]
    assert report["training"]["best_epoch"] == 2
    assert report["data"]["spans"] == report["lineage"]["data_spans"] == [5, 7]
    assert report["data"]["splits"]["train"] == {"originals": 1, "copies": 0}
    assert report["data"]["splits"]["test"] == {"originals": None, "copies": None}
    assert report["settings"] == SETTINGS
    lineage = report["lineage"]
    assert (lineage["policy"], lineage["code_version"], lineage["parent"]) == ("chest", "c0de", None)
    assert lineage["schema"] == hashlib.sha256(features.SCHEMA_FILE.read_bytes()).hexdigest()[:16]
    assert lineage["libraries"]["tensorflow"] == tf.__version__
    assert lineage["stages"][0] == {"name": "Augmenter", "seconds": 12.5, "finished": None}
    assert lineage["stages"][1] == {"name": "Trainer", "seconds": None, "finished": None}
    html = (folder / "index.html").read_text()
    assert '<span class="id">NA</span>' in html
    assert "clinic, NA, female, 50 years" in html
    assert html.count("<img") == 4 * 4 + 2


def test_reads_everything_a_run_can_give(inputs: Inputs, write: Write, tmp_path: Path, records: list[Record]) -> None:
    rule = {"metric": "dice_mean", "slice": "overall", "set": "test", "keys": {}, "kind": "at_least",
            "bound": 0.8, "value": 0.9, "passed": True, "reason": "is 0.9000, must be at least 0.8"}  # fmt: skip
    blessing = artifact(
        standard_artifacts.ModelBlessing, tmp_path / "blessing",
        decision={"blessed": True, "baseline": None, "rules": [rule]},
    )  # fmt: skip
    checks = [{"check": "loads", "passed": True, "detail": "in 2 s"}]
    probe = artifact(
        standard_artifacts.InfraBlessing, tmp_path / "probe",
        probe={"blessed": True, "checks": checks, "latency_ms": {"1": {"median": 41.0, "p95": 50.0}}},
    )  # fmt: skip
    pushed = artifact(standard_artifacts.PushedModel, tmp_path / "pushed")
    pushed.set_int_custom_property("pushed", 1)
    pushed.set_string_custom_property("pushed_version", "12")
    baseline = artifact(standard_artifacts.Model, tmp_path / "baseline")
    baseline.set_int_custom_property("version", 11)
    inputs["model"][0].set_float_custom_property("seconds", 64.5)
    inputs["model"][0].mlmd_artifact.last_update_time_since_epoch = 1_790_000_064_500
    inputs |= {
        "blessing": [blessing],
        "infra_blessing": [probe],
        "pushed_model": [pushed],
        "baseline_model": [baseline],
    }
    report = read(write(inputs))
    assert report["decision"]["headline"] == "May serve: version 12"
    assert report["decision"]["rules"][0]["reason"] == "is 0.9000, must be at least 0.8"
    assert report["probe"]["checks"] == checks
    assert report["lineage"]["parent"] == "version 11"
    assert report["lineage"]["stages"][1] == {
        "name": "Trainer", "seconds": 64.5, "finished": "2026-09-21T14:14:24+00:00"
    }  # fmt: skip


def test_inputs_may_turn_out_empty(inputs: Inputs, write: Write) -> None:
    optional = ("external_examples", "statistics", "anomalies", "validation", "external_validation",
                "baseline_model_run", "blessing", "infra_blessing", "pushed_model", "baseline_model")  # fmt: skip
    assert read(write(inputs | {name: [] for name in optional}))["lineage"]["parent"] is None


def test_a_model_that_was_not_pushed_has_no_version(inputs: Inputs, write: Write, tmp_path: Path) -> None:
    pushed = artifact(standard_artifacts.PushedModel, tmp_path / "pushed")
    pushed.set_int_custom_property("pushed", 0)
    assert read(write(inputs | {"pushed_model": [pushed]}))["decision"]["version"] is None


def test_a_study_reads_both_trainings(inputs: Inputs, write: Write, tmp_path: Path) -> None:
    other = artifact(standard_artifacts.ModelRun, tmp_path / "other", history={"val_dice": [0.8, 0.7]})
    report = read(write(inputs | {"baseline_model_run": [other]}, kind="study"))  # type: ignore[call-arg]
    assert report["training"]["other_history"] == {"val_dice": [0.8, 0.7]}
    assert report["training"]["other_best_epoch"] == 1


def test_shows_external_images_of_their_own_split(
    inputs: Inputs, write: Write, tmp_path: Path, records: list[Record], make_record: MakeRecord
) -> None:
    # The same name in another hospital is another image.
    foreign = make_record("NA", source="hannover")
    inputs["external_examples"] = [examples(tmp_path / "external", {"hannover": [foreign]}, suffix=".gz")]
    table = pd.DataFrame([*(row(one) for one in records), row(foreign, "hannover", 0.4)])
    table.to_csv(tmp_path / "evaluation/images.csv", index=False)
    html = (write(inputs) / "index.html").read_text()
    assert "Worst of external set hannover" in html
    assert "Dice 0.400" in html


def test_reads_statistics_as_statistics_gen_writes_them(inputs: Inputs, write: Write, tmp_path: Path) -> None:
    statistics = artifact(standard_artifacts.ExampleStatistics, tmp_path / "statistics")
    statistics.split_names = artifact_utils.encode_split_names(["train"])
    table = pd.DataFrame({"mean_intensity": [0.4, 0.6], "sex": ["female", "male"]})
    (tmp_path / "statistics/Split-train").mkdir()
    file = tmp_path / "statistics/Split-train/FeatureStats.pb"
    file.write_bytes(generate_statistics_from_dataframe(table).SerializeToString())
    report = read(write(inputs | {"statistics": [statistics]}))
    assert report["statistics"]["train"]["examples"] == 2
    assert report["statistics"]["train"]["numbers"]["mean_intensity"] == pytest.approx([0.5, 0.1])
    assert report["statistics"]["train"]["categories"] == {"sex": {"female": 1, "male": 1}}


@pytest.fixture
def checked(inputs: Inputs, tmp_path: Path) -> Inputs:
    """What a run gives, with anomalies, drift and refused records."""
    drift = {"baseline": None, "severity": "warning", "new_examples": 1, "reason": "there was no model"}
    anomalies = artifact(standard_artifacts.ExampleAnomalies, tmp_path / "anomalies", drift=drift)
    anomalies.split_names = artifact_utils.encode_split_names(["train"])
    found = anomalies_pb2.Anomalies()
    found.anomaly_info["sex"].severity = anomalies_pb2.AnomalyInfo.ERROR
    found.anomaly_info["sex"].reason.add(type=anomalies_pb2.AnomalyInfo.ENUM_TYPE_UNEXPECTED_STRING_VALUES)
    found.anomaly_info["sex"].description = "Unexpected  values. "
    (tmp_path / "anomalies/Split-train").mkdir()
    (tmp_path / "anomalies/Split-train/SchemaDiff.pb").write_bytes(found.SerializeToString())
    made = {"anomalies": [anomalies]}
    for name, of_set in {"validation": "train", "external_validation": "hannover"}.items():
        told = {
            "limits": {}, "left_out": 2, "leaks": {"total": 3, "named": [{"text": of_set, "remedy": "none"}]},
            "sets": [{"name": of_set, "read": 9, "validated": 9, "quarantined": 0, "patients": 5, "sources": {}}],
        }  # fmt: skip
        made[name] = [artifact(standard_artifacts.ExampleAnomalies, tmp_path / name, validation=told)]
    (tmp_path / "external_validation/thumbnails.png").write_bytes(b"PNG")
    return inputs | made


def test_reads_what_was_found_out_about_the_data(checked: Inputs, write: Write) -> None:
    folder = write(checked)
    data = read(folder)["data"]
    assert data["drift"]["reason"] == "there was no model"
    assert data["anomalies"] == [
        {"split": "train", "feature": "sex", "severity": "error", "is_drift": False, "text": "Unexpected values."}
    ]
    validation = data["validation"]
    assert [one["name"] for one in validation["sets"]] == ["train", "hannover"]
    assert [one["text"] for one in validation["leaks"]["named"]] == ["train", "hannover"]
    assert (validation["leaks"]["total"], validation["left_out"]) == (6, 4)
    assert 'src="data:image/png;base64,UE5H"' in (folder / "index.html").read_text()
    stages = [one["name"] for one in read(folder)["lineage"]["stages"]]
    assert stages[:3] == ["RecordValidator", "RecordValidator of external sets", "ExampleValidator"]


def test_a_missing_file_of_the_checks_is_named(
    checked: Inputs, failure: Callable[[Inputs], str], tmp_path: Path
) -> None:
    path = tmp_path / "anomalies/drift.json"
    path.unlink()
    assert failure(checked) == f"'{path}' is missing: run the component that writes it again"


def test_a_missing_file_is_named(inputs: Inputs, failure: Callable[[Inputs], str], tmp_path: Path) -> None:
    (tmp_path / "model_run/history.json").unlink()
    path = tmp_path / "model_run/history.json"
    assert failure(inputs) == f"'{path}' is missing: run the component that writes it again"


def test_broken_json_is_named(inputs: Inputs, failure: Callable[[Inputs], str], tmp_path: Path) -> None:
    path = tmp_path / "evaluation/evaluation.json"
    path.write_text("{")
    assert failure(inputs) == f"'{path}' is no JSON: run the component that wrote it again"


def test_a_missing_field_is_named(inputs: Inputs, failure: Callable[[Inputs], str], tmp_path: Path) -> None:
    path = tmp_path / "evaluation/evaluation.json"
    path.write_text(path.read_text().replace('"patients"', '"persons"'))
    expected = f"'{path}', 'slices.0.patients': Field required: run the component that wrote it again"
    assert failure(inputs) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no table"),
        ("set,image_id\ntest,a\n", "has no column 'original_id'"),
        (",".join(row(Record(None, None, "a", "p", "s", 1, 1))) + "\n", "holds no image"),  # type: ignore[arg-type]
    ],
)
def test_a_broken_table_is_named(
    inputs: Inputs, failure: Callable[[Inputs], str], tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "evaluation/images.csv"
    path.write_text(text)
    assert failure(inputs) == f"'{path}' {problem}: run the Evaluator again"


def test_an_image_of_another_run_is_named(
    inputs: Inputs, failure: Callable[[Inputs], str], tmp_path: Path, make_record: MakeRecord
) -> None:
    pd.DataFrame([row(make_record("stranger"))]).to_csv(tmp_path / "evaluation/images.csv", index=False)
    assert failure(inputs) == (
        "image 'stranger' was evaluated but is not among the examples: "
        "the evaluation and the examples must be those of one run"
    )


def test_a_set_without_examples_is_named(
    inputs: Inputs, failure: Callable[[Inputs], str], tmp_path: Path, make_record: MakeRecord
) -> None:
    pd.DataFrame([row(make_record("a"), "hannover")]).to_csv(tmp_path / "evaluation/images.csv", index=False)
    expected = "set 'hannover' was evaluated but its examples are not given: connect the input 'external_examples'"
    assert failure(inputs) == expected
    inputs["external_examples"] = [examples(tmp_path / "external", {"a": [], "b": []})]
    expected = f"set 'hannover' was evaluated but is no split of '{tmp_path / 'external'}', which has a, b"
    assert failure(inputs) == expected


def test_the_component_is_wired() -> None:
    def of(kind: type[types.Artifact]) -> channel.OutputChannel:
        return channel.OutputChannel(kind, None, "made")

    given = {
        "examples": of(standard_artifacts.Examples),
        "external_examples": of(standard_artifacts.Examples),
        "statistics": of(standard_artifacts.ExampleStatistics),
        "anomalies": of(standard_artifacts.ExampleAnomalies),
        "validation": of(standard_artifacts.ExampleAnomalies),
        "external_validation": of(standard_artifacts.ExampleAnomalies),
        "model": of(standard_artifacts.Model),
        "model_run": of(standard_artifacts.ModelRun),
        "baseline_model_run": of(standard_artifacts.ModelRun),
        "evaluation": of(standard_artifacts.ModelEvaluation),
        "blessing": of(standard_artifacts.ModelBlessing),
        "infra_blessing": of(standard_artifacts.InfraBlessing),
        "pushed_model": of(standard_artifacts.PushedModel),
        "baseline_model": of(standard_artifacts.Model),
    }
    reporter = Reporter(**given, settings="{}", code_version="c0de", kind="study")
    assert reporter.inputs == given
    assert {key: output.type for key, output in reporter.outputs.items()} == {"report": simple_artifacts.File}
    assert reporter.exec_properties == {"settings": "{}", "code_version": "c0de", "kind": "study"}
    needed = {key: given[key] for key in ("examples", "model", "model_run", "evaluation")}
    alone = Reporter(**needed, settings="{}", code_version="c0de")
    assert alone.inputs == needed
    assert alone.exec_properties["kind"] == "run"
