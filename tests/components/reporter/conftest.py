"""What a Reporter is given, and how it is called."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import threshold_model
from report_artifacts import Inputs, artifact, examples, image_row
from report_evidence import EVIDENCE, leak, set_summary, slice_of
from tfx.types import standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.reporter.evidence import ReportError
from components.reporter.executor import Executor
from schema.record import Record
from schema.reports.estimate import Estimate
from schema.reports.evaluation import Evaluation
from schema.reports.statistics import Anomaly, AnomalyReport, DriftReport
from schema.reports.training import TrainingHistory
from schema.reports.validation import Leaks, ValidationReport

MakeRecord = Callable[..., Record]
Write = Callable[..., Path]


@pytest.fixture
def records(make_record: MakeRecord) -> list[Record]:
    original = make_record("NA", finding="NA", sex="female", age=50.0)
    return [original, make_record("NA-copy1", finding="NA", is_augmented=True, augmentation="Rotate")]


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    threshold_model.save(folder / "Format-Serving")
    return folder


@pytest.fixture
def inputs(tmp_path: Path, records: list[Record], model_dir: Path) -> Inputs:
    """What a run must give."""
    data = examples(tmp_path / "examples", {"train": records[:1], "test": records})
    data.set_string_custom_property("spans", "5,7")
    data.set_int_custom_property("train_originals", 1)
    data.set_int_custom_property("train_copies", 0)
    data.set_string_custom_property("policy", "chest")
    data.set_float_custom_property("seconds", 12.5)
    slices = [slice_of("overall", 0.9, examples=2, patients=1, metrics={"nsd": Estimate(value=float("nan"))})]
    evaluated = Evaluation(baseline=None, tolerance=0.01, min_patients=10, confidence=0.95, slices=slices)
    evaluation = artifact(standard_artifacts.ModelEvaluation, tmp_path / "evaluation", evaluated)
    pd.DataFrame([image_row(record) for record in records]).to_csv(tmp_path / "evaluation/images.csv", index=False)
    history = TrainingHistory(
        figures={"loss": [0.5, float("nan")], "val_loss": [0.6, 0.5], "dice": [0.8, 0.9], "val_dice": [0.7, 0.85]}
    )
    run = artifact(standard_artifacts.ModelRun, tmp_path / "model_run", history)
    model = artifact(standard_artifacts.Model, model_dir)
    return {"examples": [data], "model": [model], "model_run": [run], "evaluation": [evaluation]}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Calls the executor as TFX does: the folder of the output is there already."""

    def do(inputs: Inputs) -> Path:
        report = artifact(simple_artifacts.File, tmp_path / "report")
        properties = {"settings": EVIDENCE.settings.model_dump_json(), "code_version": ""}
        Executor().Do(inputs, {"report": [report]}, properties)
        return tmp_path / "report"

    return do


@pytest.fixture
def failure(write: Write, tmp_path: Path) -> Callable[..., str]:
    """The error's message; nothing is left."""

    def do(inputs: Inputs, kind: type[Exception] = ReportError) -> str:
        with pytest.raises(kind) as error:
            write(inputs)
        assert not list((tmp_path / "report").iterdir())
        return str(error.value)

    return do


@pytest.fixture
def checked(inputs: Inputs, tmp_path: Path) -> Inputs:
    """What a run gives, with anomalies, drift and refused records."""
    anomaly = Anomaly(split="train", feature="sex", severity="error", is_drift=False, text="Unexpected values.")
    drift = DriftReport(baseline=None, severity="warning", new_examples=1, reason="there was no model")
    anomalies = AnomalyReport(anomalies=[anomaly])
    made = {"anomalies": [artifact(standard_artifacts.ExampleAnomalies, tmp_path / "anomalies", drift, anomalies)]}
    for name, set_ in {"validation": "train", "external_validation": "hannover"}.items():
        leaks = Leaks(total=3, named=[leak(set_, "none")])
        report = ValidationReport(limits={}, sets=[set_summary(set_)], leaks=leaks, left_out=2)
        made[name] = [artifact(standard_artifacts.ExampleAnomalies, tmp_path / name, report)]
    (tmp_path / "external_validation/thumbnails.png").write_bytes(b"PNG")
    return inputs | made
