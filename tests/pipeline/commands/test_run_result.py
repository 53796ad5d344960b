"""The result: from what the components leave behind to `result.json` and `study.json`."""

import json
from pathlib import Path
from typing import Any

import pytest
from tfx.types import Artifact, standard_artifacts
from tfx.types.experimental import simple_artifacts

from pipeline.commands.run_result import collect_result, collect_study, collect_unchanged, report_of
from pipeline.config import Config
from pipeline.runners import ComponentRun
from schema.reports.base import ReportFileError
from schema.reports.blessing import BlessingDecision, RuleResult
from schema.reports.estimate import Estimate
from schema.reports.evaluation import Evaluation, Slice
from schema.reports.result import ComponentResult, RunResult
from schema.reports.serving import ChangeReport, Origin
from schema.reports.study import Arm, ArmComparison, StudyResult


def slice_of(name: str, examples: int, **metrics: Estimate) -> Slice:
    return Slice(
        slice=name, set="test", keys={}, examples=examples, patients=examples // 2, enough=True, metrics=metrics,
        baseline=None, difference=None,
    )  # fmt: skip


EVALUATION = Evaluation(
    baseline=None,
    tolerance=0.01,
    min_patients=10,
    confidence=0.9,
    slices=[
        slice_of("overall", 20, dice_mean=Estimate(value=0.95, low=0.94, high=0.96), dice_worst=Estimate(value=0.5)),
        slice_of("is_augmented:0", 10, dice_mean=Estimate(value=0.96), dice_drop=Estimate(value=None)),
    ],
)


COMPARISON = ArmComparison(
    arms=[Arm(name="plain", settings={}), Arm(name="slow", settings={"train.epochs": 9})], seeds=[7], folds=None,
    confidence=0.95, min_patients=10, tolerance=0.01, headline="None", shown=[], slices=[],
)  # fmt: skip


def rule_result(passed: bool) -> RuleResult:
    return RuleResult(
        metric="dice_mean", slice="overall", set="test", keys={}, kind="at_least", bound=0.9,
        measured=Estimate(value=0.95), baseline=None, passed=passed, reason="is 0.9500, must be at least 0.9",
    )  # fmt: skip


def with_properties(artifact: Artifact, **properties: int | str) -> Artifact:
    for key, value in properties.items():
        if isinstance(value, int):
            artifact.set_int_custom_property(key, value)
        else:
            artifact.set_string_custom_property(key, value)
    return artifact


def runs(folder: Path, *, passed: bool = True, probed: bool = True) -> list[ComponentRun]:
    """The runs of a pipeline whose Evaluator has written to `folder`."""
    EVALUATION.write(folder)
    BlessingDecision(blessed=passed, baseline=None, rules=[rule_result(True), rule_result(passed)]).write(folder)
    evaluation, blessing, report = (
        kind() for kind in (standard_artifacts.ModelEvaluation, standard_artifacts.ModelBlessing, simple_artifacts.File)
    )
    evaluation.uri = blessing.uri = str(folder)
    report.uri = "/report"
    augmented = with_properties(standard_artifacts.Examples(), policy="chest")
    augmented.span = 3
    augmented.set_string_custom_property("spans", "1,3")
    pushed = {"pushed_version": "17"} if passed and probed else {}
    outputs: dict[str, dict[str, Any]] = {
        "ExampleGen": {"examples": standard_artifacts.Examples()},
        "Augmenter": {"augmented_examples": augmented},
        "Evaluator": {"evaluation": evaluation, "blessing": blessing},
        "ServingProbe": {"infra_blessing": with_properties(standard_artifacts.InfraBlessing(), blessed=int(probed))},
        "Pusher": {"pushed_model": with_properties(standard_artifacts.PushedModel(), **pushed)},
        "Reporter": {"report": report},
    }
    return [
        ComponentRun(name, 1.26, name == "Augmenter", {key: [artifact] for key, artifact in of.items()})
        for name, of in outputs.items()
    ]


@pytest.fixture
def config() -> Config:
    return Config.model_validate({"name": "clinic", "root": "/runs", "data": {"root": "/data"}})


def test_a_blessed_run(tmp_path: Path, config: Config) -> None:
    result = collect_result(config, runs(tmp_path))
    assert (result.status, result.pushed_version, result.failures) == ("blessed", "17", [])
    assert (result.pipeline, result.data_span, result.data_spans, result.policy) == ("clinic", 3, [1, 3], "chest")
    assert result.rules == [rule_result(True)] * 2
    assert (result.slices, result.confidence) == (EVALUATION.slices, 0.9)
    assert [(component.id, component.seconds, component.cached) for component in result.components][:2] == [
        ("ExampleGen", 1.3, False),
        ("Augmenter", 1.3, True),
    ]
    assert report_of(runs(tmp_path)) == Path("/report")


def test_a_broken_rule(tmp_path: Path, config: Config) -> None:
    result = collect_result(config, runs(tmp_path, passed=False))
    assert (result.status, result.pushed_version) == ("not_blessed", None)
    assert result.failures == ["dice_mean on overall: is 0.9500, must be at least 0.9"]


def test_a_model_that_does_not_serve(tmp_path: Path, config: Config) -> None:
    result = collect_result(config, runs(tmp_path, probed=False))
    assert (result.status, result.pushed_version) == ("not_blessed", None)
    assert result.failures == ["the exported model did not pass the serving probe; see the report"]


def unchanged_run(folder: Path) -> list[ComponentRun]:
    """What the ChangeDetector has found: nothing, version 17 serves."""
    origin = Origin(data="d", settings="s", code="c")
    ChangeReport(origin=origin, spans=[2, 3], version=17, changes=[]).write(folder / "changes")
    changes = with_properties(standard_artifacts.ExampleAnomalies(), unchanged=1)
    changes.uri = str(folder / "changes")
    return [ComponentRun("ChangeDetector", 1.26, False, {"changes": [changes]})]


def test_an_unchanged_run(tmp_path: Path, config: Config) -> None:
    evaluate = config.evaluate.model_copy(update={"confidence": 0.9})
    config = config.model_copy(update={"root": tmp_path, "evaluate": evaluate})
    result = collect_unchanged(config, unchanged_run(tmp_path))
    assert (result.status, result.pushed_version, result.failures) == ("unchanged", "17", [])
    assert result.confidence == 0.9
    assert (result.pipeline, result.data_span, result.data_spans, result.policy) == ("clinic", 3, [2, 3], "chest")
    assert [component.id for component in result.components] == ["ChangeDetector"]
    assert (result.rules, result.slices) == ([], []), "they are in another root"


@pytest.mark.parametrize(("last", "known"), [("17", True), ("16", False), (None, False)])
def test_an_unchanged_run_keeps_the_figures_of_the_model(
    tmp_path: Path, config: Config, last: str | None, known: bool
) -> None:
    config = config.model_copy(update={"root": tmp_path})
    earlier = collect_result(config, runs(tmp_path))
    earlier.model_copy(update={"pushed_version": last}).write(tmp_path)
    result = collect_unchanged(config, unchanged_run(tmp_path))
    assert (result.slices, result.rules) == ((EVALUATION.slices, earlier.rules) if known else ([], []))
    result.write(tmp_path)
    assert collect_unchanged(config, unchanged_run(tmp_path)) == result, "nor does the next one lose them"


def study_runs(folder: Path) -> list[ComponentRun]:
    """The runs of a study whose StudyComparison has written to `folder`."""
    COMPARISON.write(folder)
    comparison, report = standard_artifacts.ModelEvaluation(), simple_artifacts.File()
    comparison.uri, report.uri = str(folder), "/study"
    return [
        ComponentRun("StudyComparison", 1.26, False, {"comparison": [comparison]}),
        ComponentRun("StudyReporter", 1.26, True, {"report": [report]}),
    ]


def test_a_study(tmp_path: Path, config: Config) -> None:
    study = collect_study(config, study_runs(tmp_path))
    assert (study.pipeline, study.policy, study.comparison) == ("clinic", "chest", COMPARISON)
    assert [(component.id, component.cached) for component in study.components] == [
        ("StudyComparison", False), ("StudyReporter", True),
    ]  # fmt: skip
    assert report_of(study_runs(tmp_path)) == Path("/study")


RESULT = RunResult(
    status="blessed",
    pushed_version="7",
    pipeline="lungseg",
    data_span=1,
    data_spans=[1],
    policy="chest",
    failures=[],
    rules=[],
    slices=[slice_of("overall", 2, dice_mean=Estimate(value=0.5, low=0.25, high=0.75), hd95=Estimate(value=0.01))],
    components=[ComponentResult(id="Trainer", seconds=1.5, cached=False)],
)


def test_result_json(tmp_path: Path) -> None:
    RESULT.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    assert json.loads((tmp_path / "result.json").read_text()) == {
        "format_version": 1,
        "status": "blessed",
        "pushed_version": "7",
        "pipeline": "lungseg",
        "data_span": 1,
        "data_spans": [1],
        "policy": "chest",
        "failures": [],
        "rules": [],
        "slices": [
            {
                "slice": "overall",
                "set": "test",
                "region": "whole",
                "keys": {},
                "examples": 2,
                "patients": 1,
                "enough": True,
                "metrics": {
                    "dice_mean": {"value": 0.5, "low": 0.25, "high": 0.75},
                    "hd95": {"value": 0.01, "low": None, "high": None},
                },
                "baseline": None,
                "difference": None,
            }
        ],
        "confidence": 0.95,
        "components": [{"id": "Trainer", "seconds": 1.5, "cached": False}],
    }


def test_study_json(tmp_path: Path, config: Config) -> None:
    study = collect_study(config, study_runs(tmp_path))
    study.write(tmp_path)
    assert StudyResult.read(tmp_path) == study
    content = json.loads((tmp_path / "study.json").read_text())
    assert list(content) == ["format_version", "pipeline", "policy", "comparison", "components"]
    assert content["format_version"] == 2
    assert content["comparison"]["arms"][1] == {"name": "slow", "settings": {"train.epochs": 9}}


def test_a_study_of_an_earlier_version(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text('{"pipeline": "a", "policy": "chest", "evaluation": {}, "components": []}')
    with pytest.raises(ReportFileError, match=r"study.json', 'comparison': Field required: "):
        StudyResult.read(tmp_path)
