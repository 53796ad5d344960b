"""What the StudyComparison is given beside its inputs."""

from typing import Annotated

from pydantic import Field

from modules.evaluation.settings import EvaluateSettings
from schema.reports.study import Arm
from schema.settings import Settings


class StudyComparisonSettings(Settings):
    """Which trainings there must be, and how they are compared."""

    arms: Annotated[tuple[Arm, ...], Field(min_length=2)]
    """The first is the reference."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    """Each arm was trained once with each."""
    folds: Annotated[int, Field(ge=2)] | None = None
    """How many parts the patients are tested in, each by models that never saw it; None: one test split for all."""
    evaluate: EvaluateSettings = EvaluateSettings()
