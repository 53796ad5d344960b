"""Reports: what is written is read back, and whatever is no report is refused in one line."""

import importlib
import json
import pkgutil
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest

from schema import reports
from schema.files import write_whole
from schema.reports.base import Report, ReportFileError
from schema.reports.blessing import BlessingDecision, RuleResult
from schema.reports.estimate import Estimate
from schema.reports.evaluation import Evaluation, Slice
from schema.reports.events import RunFailed, StepNote
from schema.reports.prediction import PredictingModel, PredictionReport, TrainingData
from schema.reports.probe import Latency, ProbeCheck, ProbeResult
from schema.reports.result import ComponentResult, RunResult
from schema.reports.serving import ChangeReport, Origin, PushRecord, ServingPointer
from schema.reports.statistics import Anomaly, AnomalyReport, Distribution, DriftReport, FeatureDrift
from schema.reports.study import Arm, ArmComparison, ArmDifference, ArmSlice, Needed, StudyResult, StudySlice, Variances
from schema.reports.training import TrainingHistory
from schema.reports.validation import (
    GateResult,
    LeakReport,
    Leaks,
    RecordReference,
    SetSummary,
    SourceSummary,
    ValidationReport,
)

DICE = Estimate(value=0.5, low=0.25, high=0.75)
SLICE = Slice(
    slice="is_augmented:0", set="test", keys={"is_augmented": "0"}, examples=4, patients=2, enough=False,
    metrics={"dice_mean": DICE, "hd95": Estimate()}, baseline={"dice_mean": DICE}, difference=None,
)  # fmt: skip
RULE = RuleResult(
    metric="dice_mean", slice="overall", set="test", keys={}, kind="at_least", bound=0.9, measured=DICE, baseline=None,
    passed=False, reason="is 0.5000, must be at least 0.9",
)  # fmt: skip
EVALUATION = Evaluation(baseline=None, tolerance=0.01, min_patients=10, confidence=0.95, slices=[SLICE])
COMPONENT = ComponentResult(id="Trainer", seconds=1.5, cached=False)
ANOMALY = Anomaly(split="train", feature="age", severity="error", is_drift=False, text="Out of range: 200.")
DRIFT = FeatureDrift(
    feature="age", kind="jensen_shannon_divergence", distance=0.4, threshold=0.3, noise=0.1, drifted=True,
    baseline=Distribution(shares=(0.5, 0.5), edges=(0, 40, 80)), new=Distribution(shares=(1,), values=("x",)),
)  # fmt: skip
RECORD = RecordReference(kind="split", name="train", image_id="a", patient_id="p", source="clinic")
LEAK = LeakReport(reason="exact_duplicate", text="one image", remedy="remove it", kept=RECORD, dropped=RECORD)
SET = SetSummary(
    kind="split", name="train", read=3, validated=2, quarantined=1, patients=2, leaked=0, reasons={"copy": 1},
    sources={"clinic": SourceSummary(read=3, quarantined=1, reasons={"copy": 1})}, sizes={"512 x 512": 2},
)  # fmt: skip
DIFFERENCE = ArmDifference(
    estimate=DICE, effect="better", variances=Variances(patient=0.04, seed=None, both=None),
    needed=[Needed(difference=0.01, patients=40, seeds=None)],
)  # fmt: skip
COMPARISON = ArmComparison(
    arms=[Arm(name="plain", settings={}), Arm(name="slow", settings={"train.epochs": 9})], seeds=[7], folds=None,
    confidence=0.95, min_patients=10, tolerance=0.01, headline="Better", shown=["slow is better."],
    slices=[
        StudySlice(
            slice="overall", set="test", keys={}, examples=4, patients=2, enough=False,
            arms=[
                ArmSlice(arm="plain", metrics={"dice_mean": DICE}, by_seed={"dice_mean": [0.5]}, differences={}),
                ArmSlice(arm="slow", metrics={}, by_seed={"hd95": [None]}, differences={"dice_mean": DIFFERENCE}),
            ],
        )
    ],
)  # fmt: skip
ORIGIN = Origin(data="d1", settings="5e", code="c0")
EXAMPLES: tuple[Report, ...] = (
    BlessingDecision(blessed=False, baseline="version 3", rules=[RULE]),
    EVALUATION,
    GateResult(limits={"max_leaks": 0}, records=3, quarantined=1, leaks=0, anomalies=[ANOMALY]),
    ProbeResult(
        blessed=True,
        checks=[ProbeCheck(check="loads", passed=True, detail="in 1 s")],
        latency=[Latency(images=1, median_ms=2.5, p95_ms=3)],
    ),
    RunResult(
        status="blessed", pushed_version="7", pipeline="lungseg", data_span=3, data_spans=[1, 3], policy="chest",
        failures=[], rules=[RULE], slices=[SLICE], components=[COMPONENT],
    ),
    COMPARISON,
    StudyResult(pipeline="lungseg", policy="chest", comparison=COMPARISON, components=[COMPONENT]),
    ServingPointer(version=3, digest="d", candidate_key="c", baseline_key="none", origin=ORIGIN),
    ChangeReport(origin=ORIGIN, spans=[1, 3], version=3, changes=["data", "code"]),
    PushRecord(version=3, destination="/serving/3"),
    AnomalyReport(anomalies=[ANOMALY]),
    DriftReport(baseline=3, severity="warning", baseline_examples=300, new_examples=60, features=(DRIFT,)),
    PredictionReport(
        model=PredictingModel(
            version=3, digest="d",
            trained_on=TrainingData(modality="CT", images=3, sources={"clinic": 3}, views={"axial": 3}),
        ),
        code_version="5d41", found=3, segmented=2, refused=1, refusals={"unreadable": 1}, reused=0, review=1, seconds=2,
    ),
    StepNote.of("Trainer", RunFailed(pipeline="lungseg", component="Trainer", cause="ValueError")),
    TrainingHistory(figures={"loss": [0.5, None], "val_dice": [0.8, 0.9]}),
    ValidationReport(limits={"ignore": []}, sets=[SET], leaks=Leaks(total=1, named=[LEAK]), left_out=0),
)  # fmt: skip


class Weather(Report):
    FILE: ClassVar = "weather.json"
    FORMAT: ClassVar = 2

    format_version: int = 2
    degrees: float | None
    wind: str = "calm"


def refused(folder: Path) -> str:
    with pytest.raises(ReportFileError) as caught:
        Weather.read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_there_is_an_example_of_each() -> None:
    for module in pkgutil.iter_modules(reports.__path__):
        importlib.import_module(f"schema.reports.{module.name}")
    kinds = {kind for kind in Report.__subclasses__() if kind.__module__.startswith("schema.")}
    # That of a whole run is read back where it is made: tests/components/reporter.
    assert {kind.__name__ for kind in kinds - {type(example) for example in EXAMPLES}} <= {"RunReport"}
    names = [kind.FILE for kind in kinds]
    assert len(names) == len(set(names)), "files of two reports can lie in one folder"


@pytest.mark.parametrize("report", EXAMPLES, ids=lambda report: type(report).__name__)
def test_what_is_written_is_read_back(report: Report, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "if missing"
    report.write(folder)
    assert [path.name for path in folder.iterdir()] == [report.FILE]
    assert type(report).read(folder) == report
    assert json.loads((folder / report.FILE).read_bytes())["format_version"] == report.FORMAT


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    TrainingHistory(figures={"val_dice": [float("nan"), float("inf"), 0.5]}).write(tmp_path)
    assert json.loads((tmp_path / "history.json").read_text())["figures"] == {"val_dice": [None, None, 0.5]}
    history = TrainingHistory.read(tmp_path)
    assert history.figures == {"val_dice": [None, None, 0.5]}
    assert history.best_epoch == 3


def test_a_missing_file(tmp_path: Path) -> None:
    expected = f"'{tmp_path}/weather.json' is missing: run the component that writes it again"
    assert refused(tmp_path) == refused(tmp_path) == expected
    assert refused(tmp_path / "nowhere") == expected.replace("/weather", "/nowhere/weather")


@pytest.mark.parametrize("content", [b"", b"{", b"\x89PNG\r\n", b'{"degrees": }'])
def test_no_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weather.json").write_bytes(content)
    assert refused(tmp_path) == f"'{tmp_path}/weather.json' is no JSON: run the component that wrote it again"


@pytest.mark.parametrize("version", [3, 2.5, "2"])
def test_a_later_format(tmp_path: Path, version: object) -> None:
    (tmp_path / "weather.json").write_text(json.dumps({"format_version": version, "degrees": 3}))
    assert refused(tmp_path) == (
        f"'{tmp_path}/weather.json' has format {version}, of which this version of lungseg knows nothing: "
        "use the version that wrote it"
    )


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"wind": "calm"}, "'degrees': Field required"),
        ({"degrees": "warm"}, "'degrees': Input should be a valid number, unable to parse string as a number"),
        ([3.5], "'Weather': Input should be a valid dictionary or instance of Weather"),
    ],
)
def test_a_file_that_is_damaged(tmp_path: Path, values: Any, problem: str) -> None:
    (tmp_path / "weather.json").write_text(json.dumps(values))
    assert refused(tmp_path) == f"'{tmp_path}/weather.json', {problem}: run the component that wrote it again"


def test_a_file_from_before_there_were_formats(tmp_path: Path) -> None:
    (tmp_path / "weather.json").write_text('{"degrees": 3.5, "of_then": 1}')
    assert Weather.read(tmp_path).degrees == 3.5


def test_a_pointer_from_before_there_were_formats(tmp_path: Path) -> None:
    (tmp_path / "current.json").write_text('{"version": 1, "digest": "05", "candidate": "a9", "rival": "none"}')
    assert ServingPointer.read(tmp_path) == ServingPointer(version=1, digest="05")


def test_a_result_from_before_there_were_formats(tmp_path: Path) -> None:
    """Its slices have numbers where there are estimates now."""
    slice_ = {"slice": "overall", "keys": {}, "examples": 2, "patients": 1, "metrics": {"dice_mean": 0.5}}
    result = {"status": "blessed", "pushed_version": "1", "pipeline": "lungseg", "data_span": 1, "data_spans": [1]}
    lists = {"failures": [], "rules": [], "slices": [{**slice_, "intervals": {}}], "components": []}
    (tmp_path / "result.json").write_text(json.dumps({**result, "policy": "chest", **lists}))
    expected = f"^'{re.escape(str(tmp_path))}/result.json', 'slices.0.set': Field required: run the component that .*$"
    with pytest.raises(ReportFileError, match=expected):
        RunResult.read(tmp_path)


@pytest.mark.parametrize("method", ["write_bytes", "replace"])
def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    Weather(degrees=3.5).write(tmp_path)
    before = (tmp_path / "weather.json").read_bytes()
    write = Path.write_bytes

    def fail(path: Path, content: Any) -> None:
        if isinstance(content, bytes):
            write(path, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, method, fail)
    with pytest.raises(OSError, match="No space left"):
        Weather(degrees=4).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["weather.json"]
    assert (tmp_path / "weather.json").read_bytes() == before


def test_text_and_bytes_are_written_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "text", "ä\n")
    write_whole(tmp_path / "a" / "text", b"\x00")
    assert (tmp_path / "a" / "text").read_bytes() == b"\x00"


def test_reports_are_frozen() -> None:
    weather = Weather(degrees=3.5)
    with pytest.raises(ValueError, match="Instance is frozen"):
        weather.degrees = 4  # type: ignore[misc]


def test_an_estimate() -> None:
    assert DICE.interval == (0.25, 0.75)
    assert DICE.negated() == Estimate(value=-0.5, low=-0.75, high=-0.25)
    assert Estimate(value=0.5).interval is None
    assert Estimate().negated() == Estimate()


def test_reports_on_several_data_sets_are_put_together() -> None:
    first, other = (
        ValidationReport(
            limits={"max_age": age}, sets=[SET], leaks=Leaks(total=age, named=[LEAK]), left_out=age
        )
        for age in (1, 2)
    )  # fmt: skip
    merged = ValidationReport.merge([first, other])
    assert merged == ValidationReport(
        limits={"max_age": 1}, sets=[SET, SET], leaks=Leaks(total=3, named=[LEAK, LEAK]), left_out=3
    )


def test_a_prediction_that_does_not_add_up() -> None:
    with pytest.raises(ValueError, match="3 found, but 1 segmented and 1 refused"):
        PredictionReport.model_validate(
            {
                "model": {"version": None, "digest": "", "trained_on": None}, "code_version": "", "found": 3,
                "segmented": 1, "refused": 1, "refusals": {"unreadable": 1}, "reused": 0, "review": 0, "seconds": 1,
            }
        )  # fmt: skip
