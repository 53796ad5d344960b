"""Runs the StudyReporter."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tfx import types
from tfx.utils import path_utils

from components import base
from components.reporter import pictures
from components.reporter.inputs import record_files
from components.study_comparison.settings import StudyComparisonSettings
from components.study_comparison.tables import StudyError, read_sets
from components.study_reporter import page
from components.study_reporter.cases import Case, choose
from components.study_reporter.settings import StudyReporterSettings
from modules.serving.segmenter import Segmenter
from schema.files import write_whole
from schema.record import Record
from schema.reports.evaluation import TEST_SET, Evaluation
from schema.reports.study import ArmComparison
from schema.reports.training import Training, TrainingHistory

INDEX_FILE: Final = "index.html"

_LOG = logging.getLogger("lungseg.study")


class Executor(base.Executor[StudyReporterSettings]):
    """Writes the report on a study."""

    SETTINGS = StudyReporterSettings

    def run(self, inputs: base.Artifacts, outputs: base.Artifacts, settings: StudyReporterSettings) -> None:
        """Report.

        Args:
            inputs: `comparison`, `evaluations`, `models`, `model_runs`, `examples` and, if there are any,
                `external_examples`.
            outputs: `report`: `index.html`, which needs no other file.
            settings: Of the study.

        Raises:
            StudyError: The inputs are not those of one study.
            ReportError: An image that was measured is not among the examples.
            ReportFileError: Another component's report is missing or damaged.
            ModelError: A model cannot be loaded.
        """
        comparison = ArmComparison.read(inputs["comparison"].uri)
        evaluations = [evaluation.uri for evaluation in inputs.all("evaluations")]
        trainings = StudyComparisonSettings(
            arms=tuple(comparison.arms), seeds=tuple(comparison.seeds), folds=comparison.folds
        )
        cases = [case for set_ in read_sets(evaluations, trainings) for case in choose(set_, comparison.arms)]
        models = _find_models(inputs)
        shown = _show(inputs, comparison, cases, models)
        html = page.render(comparison, _read_histories(inputs, models), shown, settings)
        write_whole(Path(outputs["report"].uri) / INDEX_FILE, html)
        _LOG.info("%s (%d images shown)", comparison.headline, len(shown))


def _find_models(inputs: base.Artifacts) -> dict[Training, types.Artifact]:
    """Return the model of each training, which its evaluation names."""
    by_folder = {model.uri: model for model in inputs.all("models")}
    models = {}
    for artifact in inputs.all("evaluations"):
        evaluation = Evaluation.read(artifact.uri)
        if evaluation.training is None or evaluation.model not in by_folder:
            raise StudyError(f"'{artifact.uri}' is the evaluation of a model that is not of this study: leave it out")
        models[evaluation.training] = by_folder[evaluation.model]
    return models


def _read_histories(
    inputs: base.Artifacts, models: Mapping[Training, types.Artifact]
) -> dict[Training, TrainingHistory]:
    """Read the history of each training, which lies beside its model."""
    by_execution = {_execution(run.uri, "model_run"): run.uri for run in inputs.all("model_runs")}
    executions = {training: _execution(model.uri, "model") for training, model in models.items()}
    return {
        training: TrainingHistory.read(by_execution[execution])
        for training, execution in executions.items()
        if execution in by_execution
    }


def _execution(uri: str, output: str) -> tuple[str, str]:
    """Tell by the folder of an output which execution made it: the one that all its outputs have but for their names.

    On one machine it is `Trainer/OUTPUT/17`, on Kubeflow `Trainer/17/OUTPUT`.
    """
    before, _, behind = f"{uri}/".rpartition(f"/{output}/")
    return before, behind


def _show(
    inputs: base.Artifacts, comparison: ArmComparison, cases: Sequence[Case], models: Mapping[Training, types.Artifact]
) -> list[page.Shown]:
    """Draw the cases as the models of the first seed see them, the reference's and the arm's."""
    records = _find_records(inputs, cases)
    wanted: dict[Training, dict[tuple[str, str], Record]] = {}
    for case in cases:
        for training in _trainings(case, comparison):
            wanted.setdefault(training, {})[case.set, case.image_id] = records[case.set, case.image_id]
    drawn = {
        training: pictures.draw_all(of_training, Segmenter(path_utils.serving_model_path(models[training].uri)))
        for training, of_training in wanted.items()
    }
    return [
        page.Shown(case, *(drawn[training][case.set, case.image_id] for training in _trainings(case, comparison)))
        for case in cases
    ]


def _trainings(case: Case, comparison: ArmComparison) -> list[Training]:
    """Return whose predictions are shown: the reference's and the arm's."""
    fold = 1 if case.set != TEST_SET and comparison.folds else case.fold
    names = (comparison.arms[0].name, case.arm)
    return [Training(arm=name, seed=comparison.seeds[0], fold=fold) for name in names]


def _find_records(inputs: base.Artifacts, cases: Sequence[Case]) -> dict[tuple[str, str], Record]:
    found: dict[tuple[str, str], Record] = {}
    for set_ in dict.fromkeys(case.set for case in cases):
        of_set = pictures.find_records(
            record_files(inputs, set_), [case.image_id for case in cases if case.set == set_]
        )
        found |= {(set_, image_id): record for image_id, record in of_set.items()}
    return found
