"""The outcome of a run: the decision and every slice, read from what the components made."""

from pathlib import Path

from tfx import types

from components.artifacts import POLICY, spans_of
from pipeline.config import Config
from pipeline.runners import ComponentRun
from schema.reports.base import ReportFileError
from schema.reports.blessing import BlessingDecision
from schema.reports.evaluation import Evaluation
from schema.reports.result import ComponentResult, RunResult, find_failures
from schema.reports.serving import ChangeReport
from schema.reports.study import ArmComparison, StudyResult


def collect_result(config: Config, runs: list[ComponentRun]) -> RunResult:
    """Put the outcome of a run together from the components' outputs."""
    outputs = _Outputs(runs)
    decision = BlessingDecision.read(outputs.single("Evaluator", "blessing").uri)
    probed = outputs.single("ServingProbe", "infra_blessing").get_int_custom_property("blessed") == 1
    version = outputs.single("Pusher", "pushed_model").get_string_custom_property("pushed_version")
    augmented = outputs.single("Augmenter", "augmented_examples")
    evaluation = Evaluation.read(outputs.single("Evaluator", "evaluation").uri)
    failures = find_failures(decision, probed=probed)
    return RunResult(
        status="not_blessed" if failures else "blessed",
        pushed_version=version or None,
        pipeline=config.name,
        data_span=augmented.span,
        data_spans=spans_of(augmented),
        policy=augmented.get_string_custom_property(POLICY),
        failures=failures,
        rules=decision.rules,
        slices=evaluation.slices,
        confidence=evaluation.confidence,
        components=_components(runs),
    )


def collect_unchanged(config: Config, runs: list[ComponentRun]) -> RunResult:
    """Put the outcome of a run together that found nothing changed.

    The figures are those of the last result under the root, where that is of the model that serves.
    """
    found = ChangeReport.read(_Outputs(runs).single("ChangeDetector", "changes").uri)
    version = str(found.version)
    last = _last_result(config)
    known = last if last and last.pushed_version == version else None
    return RunResult(
        status="unchanged",
        pushed_version=version,
        pipeline=config.name,
        data_span=found.spans[-1],
        data_spans=found.spans,
        policy=config.augment.effective_policy.name,
        failures=[],
        rules=known.rules if known else [],
        slices=known.slices if known else [],
        confidence=config.evaluate.confidence,
        components=_components(runs),
    )


def collect_study(config: Config, runs: list[ComponentRun]) -> StudyResult:
    """Put the outcome of a study together from the components' outputs."""
    outputs = _Outputs(runs)
    return StudyResult(
        pipeline=config.name,
        policy=config.augment.effective_policy.name,
        comparison=ArmComparison.read(outputs.single("StudyComparison", "comparison").uri),
        components=_components(runs),
    )


def report_of(runs: list[ComponentRun]) -> Path:
    """Return the folder of the report that a run or a study made."""
    outputs = _Outputs(runs)
    return Path(outputs.single("StudyReporter" if "StudyReporter" in outputs else "Reporter", "report").uri)


def doubtful_of(runs: list[ComponentRun]) -> Path | None:
    """Return the folder of the doubtful masks that a study has found; None where it has no folds."""
    outputs = _Outputs(runs)
    return Path(outputs.single("DoubtfulMasks", "masks").uri) if "DoubtfulMasks" in outputs else None


def _last_result(config: Config) -> RunResult | None:
    try:
        return RunResult.read(config.root)
    except ReportFileError:
        return None


class _Outputs:
    """The artifacts of a run, by component and key."""

    def __init__(self, runs: list[ComponentRun]) -> None:
        self._by_component = {run.id: run.outputs for run in runs}

    def __contains__(self, component_id: str) -> bool:
        return component_id in self._by_component

    def single(self, component_id: str, key: str) -> types.Artifact:
        (artifact,) = self._by_component[component_id][key]
        return artifact


def _components(runs: list[ComponentRun]) -> list[ComponentResult]:
    return [ComponentResult(id=run.id, seconds=round(run.seconds, 1), cached=run.cached) for run in runs]
