"""What a study tells: each arm's figures, and what its difference to the first arm shows.

>>> comparison = StudyResult.read("lungseg-study").comparison
>>> comparison.find("test", {"is_augmented": "0"}).arms[1].differences["dice_mean"].effect
'better'
"""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import JsonValue

from schema.reports.base import Part, Report
from schema.reports.estimate import Effect, Estimate
from schema.reports.evaluation import SliceKey, SliceOfImages
from schema.reports.result import ComponentResult


class Arm(Part):
    """One of the ways to train that a study compares."""

    name: str
    settings: dict[str, JsonValue]
    """What it sets, by dotted keys of the configuration."""


class Variances(Part):
    """What chance adds to the variance of a difference, by its source, in the square of the statistic's unit."""

    patient: float
    """Of one patient; with one seed, what that seed makes of a patient is in it."""
    seed: float | None
    """Of one seed of both arms; None with one seed."""
    both: float | None
    """Of what one seed makes of one patient; None with one seed."""


class Needed(Part):
    """What it would take to tell a difference of a given size in four of five studies."""

    difference: float
    """The size, in the unit of the statistic."""
    patients: int | None
    """With as many seeds as now; None where no number of patients would do."""
    seeds: int | None
    """With as many patients as now; None where no number of seeds would do, or where one seed tells nothing of them."""


class ArmDifference(Part):
    """By how much an arm differs from the reference in one statistic."""

    estimate: Estimate
    """Arm minus reference, with an interval that holds for all arms at once."""
    effect: Effect
    variances: Variances | None
    """None with one patient."""
    needed: list[Needed]
    """For some sizes; empty where the statistic is no mean of Dice, or has no interval."""


class ArmSlice(Part):
    """What one arm reaches on a slice; the differences of the reference are empty."""

    arm: str
    metrics: dict[str, Estimate]
    """By the name of the statistic: the mean over seeds, with an interval over patients alone."""
    by_seed: dict[str, list[float | None]]
    """The same of each seed, in the order of the study's seeds."""
    differences: dict[str, ArmDifference]


class StudySlice(SliceOfImages):
    """A slice of a test set, on which each arm was measured."""

    arms: list[ArmSlice]
    """In the order of the study's arms."""


class ArmComparison(Report):
    """The arms of a study against its first one, on the same images."""

    FILE: ClassVar = "comparison.json"

    arms: list[Arm]
    """The first is the reference."""
    seeds: list[int]
    folds: int | None
    """How many parts the patients were tested in; None where the split was not turned round."""
    confidence: float
    """Of the intervals, such as 0.95."""
    min_patients: int
    """Of a slice that can be judged by."""
    tolerance: float
    """Of the surface Dice, a share of the image's width."""
    headline: str
    """Which arms are better or worse than the first, in a few words."""
    shown: list[str]
    """What the comparison shows and what it does not, a sentence each."""
    slices: list[StudySlice]

    def find(self, set_: str, keys: Mapping[SliceKey, str]) -> StudySlice | None:
        """Return the slice of a set with these values; None where no image falls into it."""
        return next((slice_ for slice_ in self.slices if (slice_.set, slice_.keys) == (set_, keys)), None)


class StudyResult(Report):
    """The outcome of a study."""

    FILE: ClassVar = "study.json"
    FORMAT: ClassVar = 2

    format_version: int = 2
    pipeline: str
    policy: str
    """That made the copies of test images."""
    comparison: ArmComparison
    components: list[ComponentResult]
