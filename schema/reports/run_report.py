"""What the Reporter tells of a run: every number of its page, and more.

>>> report = RunReport.read(folder)
>>> report.decision.headline
'May serve: version 4'
>>> report.slices.rows[0].metrics["dice_mean"]
Estimate(value=0.957, low=0.951, high=0.963)
"""

from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from schema.reports.base import Part, Report
from schema.reports.blessing import RuleResult
from schema.reports.estimate import Effect, Estimate
from schema.reports.evaluation import Slice
from schema.reports.probe import ProbeResult
from schema.reports.statistics import Anomaly, DriftReport
from schema.reports.training import TrainingHistory
from schema.reports.validation import ValidationReport

Outcome = Literal["served", "fit", "refused", "not judged"]
"""`fit`: may serve, but was not pushed."""


class KeyFigure(Part):
    """The quality on one kind of images, as it stands at the top of the page."""

    name: str
    examples: int
    patients: int
    dice_mean: Estimate
    hd95: Estimate


class StatedRule(RuleResult):
    """A rule with its words."""

    label: str
    """Of its statistic, such as `Mean Dice`."""
    words: str
    """Of its bound, such as `at least`."""
    where: str
    """The slice in words."""


class Decision(Part):
    """What was decided, and by which rules."""

    outcome: Outcome
    headline: str
    """In a few words."""
    sentence: str
    """The decision and what it rests on."""
    version: str | None
    """Under which the model is served."""
    key_figures: list[KeyFigure]
    rules: list[StatedRule]
    """Empty where the model was not judged."""


class Training(Part):
    """How the training went."""

    history: TrainingHistory
    best_epoch: int | None
    """Its number, from 1: that of the highest validation Dice, whose weights are kept."""


class DescribedSlice(Slice):
    """A slice with its words."""

    label: str
    """Such as `Originals, finding tuberculosis`."""
    group: str
    """The heading under which it stands, such as `Finding`."""


class SmallSlice(Part):
    """A slice of too few patients to judge by."""

    label: str
    patients: int


class Slices(Part):
    """For whom the model is worse."""

    rows: list[DescribedSlice]
    """All slices of all sets."""
    subgroups: list[DescribedSlice]
    """Of the test split, by one kind of patient, view or source."""
    reference: Estimate
    """The mean Dice of all images of the test split."""
    worse: list[DescribedSlice]
    """Subgroups whose interval lies below the reference, the worst first."""
    too_few: list[SmallSlice]


class ExternalSet(Part):
    """All images, originals and copies of an external set."""

    set: str
    slices: list[DescribedSlice]


class ExpectedDice(Part):
    """Images whose expected Dice is about the same."""

    expected: float
    """Mean of what the model expects."""
    dice: float
    """Mean of what is true."""
    images: int


class QualityEstimate(Part):
    """How right the model is about its own masks, on originals or copies of a set."""

    set: str
    copies: bool
    """Copies rather than originals."""
    images: int
    bad: int
    """Images with a Dice below 0.9."""
    rank_correlation: Estimate
    """Of expected and true Dice (Spearman, 1904)."""
    auroc: Estimate
    """How often a mask with a Dice below 0.9 is expected to be worse than one above."""
    error: float
    """Mean distance of the expected Dice from the true one."""
    reviewed: int
    """Images that the model says somebody should look at."""
    dice_of_reviewed: float | None
    dice_of_others: float | None
    calibration: list[ExpectedDice]
    """By rising expected Dice, about as many images each."""


class ComparedStatistic(Part):
    """A statistic that two models are compared by."""

    name: str
    label: str
    lower_is_better: bool


class ComparedSlice(DescribedSlice):
    """A slice with what its differences tell."""

    told: dict[str, Effect]
    """By the name of the statistic."""


class Comparison(Part):
    """This model and the one that it is compared with, on the same images."""

    baseline: str
    """The other model, in words."""
    statistics: list[ComparedStatistic]
    populations: list[ComparedSlice]
    """All images, originals and copies of each set."""
    subgroups: list[ComparedSlice]


class SplitCounts(Part):
    """The examples of a split; None where it is not known how many."""

    originals: int | None
    copies: int | None


class EvaluatedSet(Part):
    """The images of a test set that were measured."""

    set: str
    originals: int
    copies: int
    patients: int


class AgeSummary(Part):
    """The ages, years, of the originals of the test split."""

    known: int
    """Of how many the age is known."""
    of: int
    """How many there are."""
    lowest: float | None = None
    median: float | None = None
    highest: float | None = None


class CategoryCounts(Part):
    """How often a value of a category occurs."""

    feature: str
    value: str
    counts: list[int]
    """By split, in the order of the statistics."""


class DataSummary(Part):
    """What the model was trained and tested on, and what was found wrong with it."""

    span: int
    """The newest of `spans`."""
    spans: list[int]
    splits: dict[str, SplitCounts]
    test_sets: list[EvaluatedSet]
    age: AgeSummary
    categories: list[CategoryCounts]
    validation: ValidationReport | None
    """On the records of all splits and external sets."""
    drift: DriftReport | None
    anomalies: list[Anomaly] | None
    """None where they were not looked for."""


class PolicyTransform(Part):
    """A transform of the augmentation policy."""

    name: str
    p: float
    """Probability with which it fires."""
    arguments: dict[str, JsonValue]


class Stage(Part):
    """A component that led to the model."""

    name: str
    seconds: float | None
    """How long it took; None where that is not known."""
    finished: str | None
    """When it was done, ISO 8601 in UTC; None where that is not known."""


class Lineage(Part):
    """Where the model comes from."""

    data_span: int
    data_spans: list[int]
    policy: str
    policy_hash: str
    transforms: list[PolicyTransform]
    """Of the policy, in their order."""
    normalization: str = ""
    """By what grey values are shifted and scaled, in words; empty in files from before there was a choice."""
    schema_hash: str
    code_version: str
    parent: str | None
    """The model blessed last, such as `version 3`."""
    warm_started: bool
    """Whether the training began with the weights of the parent."""
    libraries: dict[str, str]
    """Versions by name."""
    stages: list[Stage]


class SplitStatistics(Part):
    """Statistics of one split before it was augmented."""

    examples: int
    numbers: dict[str, tuple[float | None, float | None]]
    """Of each numeric feature its mean and its standard deviation."""
    categories: dict[str, dict[str, int]]
    """Of each text feature how often each value occurs."""


class RunReport(Report):
    """All that is known of a model: the decision, what it rests on, and where it comes from."""

    FILE: ClassVar = "report.json"

    pipeline: str
    decision: Decision
    probe: ProbeResult | None
    """None where it was not tried whether the export can be served."""
    training: Training
    slices: Slices
    robustness: list[DescribedSlice]
    """All copies, then those that each transform had a part in, the largest loss first."""
    external: list[ExternalSet]
    comparison: Comparison | None
    """None where there was no model to compare with."""
    quality: list[QualityEstimate] = Field(default=[])
    """Empty where the model says nothing of its masks."""
    data: DataSummary
    lineage: Lineage
    limits: list[str]
    """What the figures do not show, a sentence each."""
    glossary: dict[str, str]
    """What each measure means."""
    settings: dict[str, JsonValue]
    """Of the run, by section."""
    statistics: dict[str, SplitStatistics]
    """By split."""
    confidence: float
    """Of the intervals, such as 0.95."""
    min_patients: int
    """Of a slice that can be judged by."""
