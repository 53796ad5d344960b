"""Runs the StudyComparison."""

import logging

from components import base
from components.study_comparison.compare import compare
from components.study_comparison.settings import StudyComparisonSettings
from components.study_comparison.tables import read_sets
from components.study_comparison.wording import headline, tell
from schema.reports.study import ArmComparison

_LOG = logging.getLogger("lungseg.study")


class Executor(base.Executor[StudyComparisonSettings]):
    """Compares the arms of a study."""

    SETTINGS = StudyComparisonSettings

    def run(self, inputs: base.Artifacts, outputs: base.Artifacts, settings: StudyComparisonSettings) -> None:
        """Compare.

        Args:
            inputs: `evaluations`: one of each training.
            outputs: `comparison`: an `ArmComparison`.
            settings: Arms, seeds and folds.

        Raises:
            StudyError: The evaluations are not those of one study, or were not made of the same images.
            ReportFileError: What an Evaluator wrote is missing or damaged.
        """
        sets = read_sets([evaluation.uri for evaluation in inputs.all("evaluations")], settings)
        compared = ArmComparison(
            arms=list(settings.arms),
            seeds=list(settings.seeds),
            folds=settings.folds,
            confidence=settings.evaluate.confidence,
            min_patients=settings.evaluate.min_patients,
            tolerance=settings.evaluate.tolerance,
            headline="",
            shown=[],
            slices=compare(sets, settings),
        )
        told = {"headline": headline(compared), "shown": tell(compared)}
        compared.model_copy(update=told).write(outputs["comparison"].uri)
        _LOG.info("%d arms compared on %d slices", len(compared.arms), len(compared.slices))
