"""The Reporter on real artifacts: everything that is read, and what is written."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import tensorflow as tf
from tfx import types
from report_artifacts import Inputs, artifact, examples, image_row
from report_evidence import EVIDENCE, decision, probe
from tensorflow_data_validation import generate_statistics_from_dataframe
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.reporter.component import Reporter
from components.reporter.settings import ReporterSettings
from schema import features
from schema.record import Record
from schema.reports.run_report import RunReport, SplitCounts, Stage
from schema.reports.statistics import Anomaly

MakeRecord = Callable[..., Record]
Write = Callable[..., Path]


def test_writes_three_files_from_what_a_run_must_give(
    inputs: Inputs, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lungseg.reporter")
    folder = write(inputs)
    assert {path.name for path in folder.iterdir()} == {"index.html", "report.json", "model_card.md"}
    report = RunReport.read(folder)
    assert report.decision.outcome == "not judged"
    assert report.slices.rows[0].metrics["nsd"].value is None
    assert report.training.history.figures["loss"] == [0.5, None]
    assert report.training.best_epoch == 2
    assert report.data.spans == report.lineage.data_spans == [5, 7]
    assert report.data.splits == {
        "train": SplitCounts(originals=1, copies=0), "test": SplitCounts(originals=None, copies=None)
    }  # fmt: skip
    assert report.settings == EVIDENCE.settings.model_dump(mode="json")
    lineage = report.lineage
    assert (lineage.policy, lineage.parent) == ("chest", None)
    assert len(lineage.code_version) == 16
    assert lineage.schema_hash == hashlib.sha256(features.SCHEMA_FILE.read_bytes()).hexdigest()[:16]
    assert lineage.libraries["tensorflow"] == tf.__version__
    assert lineage.stages[:2] == [
        Stage(name="Augmenter", seconds=12.5, finished=None), Stage(name="Trainer", seconds=None, finished=None)
    ]  # fmt: skip
    html = (folder / "index.html").read_text()
    assert '<span class="id">NA</span>' in html
    assert "clinic, NA, female, 50 years" in html
    assert html.count("<img") == 4 * 4 + 3
    assert caplog.messages == ["Not judged: must not serve (4 images shown)"]


def test_reads_everything_a_run_can_give(inputs: Inputs, write: Write, tmp_path: Path) -> None:
    pushed = artifact(standard_artifacts.PushedModel, tmp_path / "pushed")
    pushed.set_int_custom_property("pushed", 1)
    pushed.set_string_custom_property("pushed_version", "12")
    baseline = artifact(standard_artifacts.Model, tmp_path / "baseline")
    baseline.set_int_custom_property("version", 11)
    inputs["model"][0].set_float_custom_property("seconds", 64.5)
    inputs["model"][0].mlmd_artifact.last_update_time_since_epoch = 1_790_000_064_500
    inputs |= {
        "blessing": [artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing", decision(True))],
        "infra_blessing": [artifact(standard_artifacts.InfraBlessing, tmp_path / "probe", probe(True))],
        "pushed_model": [pushed],
        "baseline_model": [baseline],
    }
    report = RunReport.read(write(inputs))
    assert report.decision.headline == "May serve: version 12"
    assert report.decision.rules[0].reason == "is 0.9500, must be at least 0.9"
    assert report.probe == probe(True)
    assert report.lineage.parent == "version 11"
    assert report.lineage.stages[1] == Stage(name="Trainer", seconds=64.5, finished="2026-09-21T14:14:24+00:00")


def test_inputs_may_turn_out_empty(inputs: Inputs, write: Write) -> None:
    optional = ("external_examples", "statistics", "anomalies", "validation", "external_validation",
                "blessing", "infra_blessing", "pushed_model", "baseline_model")  # fmt: skip
    assert RunReport.read(write(inputs | {name: [] for name in optional})).lineage.parent is None


def test_a_model_that_was_not_pushed_has_no_version(inputs: Inputs, write: Write, tmp_path: Path) -> None:
    pushed = artifact(standard_artifacts.PushedModel, tmp_path / "pushed")
    pushed.set_int_custom_property("pushed", 0)
    assert RunReport.read(write(inputs | {"pushed_model": [pushed]})).decision.version is None


def test_shows_external_images_of_their_own_split(
    inputs: Inputs, write: Write, tmp_path: Path, records: list[Record], make_record: MakeRecord
) -> None:
    # The same name in another hospital is another image.
    foreign = make_record("NA", source="hannover")
    inputs["external_examples"] = [examples(tmp_path / "external", {"hannover": [foreign]}, suffix=".gz")]
    table = pd.DataFrame([*(image_row(record) for record in records), image_row(foreign, "hannover", 0.4)])
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
    train = RunReport.read(write(inputs | {"statistics": [statistics]})).statistics["train"]
    assert train.examples == 2
    assert train.numbers["mean_intensity"] == pytest.approx((0.5, 0.1))
    assert train.categories == {"sex": {"female": 1, "male": 1}}


def test_reads_what_was_found_out_about_the_data(checked: Inputs, write: Write) -> None:
    folder = write(checked)
    report = RunReport.read(folder)
    assert report.data.drift is not None
    assert report.data.drift.reason == "there was no model"
    assert report.data.anomalies == [
        Anomaly(split="train", feature="sex", severity="error", is_drift=False, text="Unexpected values.")
    ]
    validation = report.data.validation
    assert validation is not None
    assert [set_.name for set_ in validation.sets] == ["train", "hannover"]
    assert [leak.text for leak in validation.leaks.named] == ["train", "hannover"]
    assert (validation.leaks.total, validation.left_out) == (6, 4)
    assert 'src="data:image/png;base64,UE5H"' in (folder / "index.html").read_text()
    stages = [stage.name for stage in report.lineage.stages]
    assert stages[:3] == ["RecordValidator", "RecordValidator of external sets", "ExampleValidator"]


def test_the_component_is_wired() -> None:
    def of(kind: type[types.Artifact]) -> channel.OutputChannel:
        return channel.OutputChannel(kind, None, "made")

    channels = {
        "examples": of(standard_artifacts.Examples),
        "external_examples": of(standard_artifacts.Examples),
        "statistics": of(standard_artifacts.ExampleStatistics),
        "anomalies": of(standard_artifacts.ExampleAnomalies),
        "validation": of(standard_artifacts.ExampleAnomalies),
        "external_validation": of(standard_artifacts.ExampleAnomalies),
        "model": of(standard_artifacts.Model),
        "model_run": of(standard_artifacts.ModelRun),
        "evaluation": of(standard_artifacts.ModelEvaluation),
        "blessing": of(standard_artifacts.ModelBlessing),
        "infra_blessing": of(standard_artifacts.InfraBlessing),
        "pushed_model": of(standard_artifacts.PushedModel),
        "baseline_model": of(standard_artifacts.Model),
    }
    reporter = Reporter(**channels, settings=EVIDENCE.settings)
    assert reporter.inputs == channels
    assert {key: output.type for key, output in reporter.outputs.items()} == {"report": simple_artifacts.File}
    assert set(reporter.exec_properties) == {"settings", "code_version"}
    assert ReporterSettings.model_validate_json(reporter.exec_properties["settings"]) == EVIDENCE.settings
    needed = {key: channels[key] for key in ("examples", "model", "model_run", "evaluation")}
    assert Reporter(**needed, settings=EVIDENCE.settings).inputs == needed
