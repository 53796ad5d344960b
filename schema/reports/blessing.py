"""What the Evaluator decides: every rule, and whether the model may serve."""

from typing import ClassVar, Literal

from schema.reports.base import Part, Report
from schema.reports.estimate import Estimate
from schema.reports.evaluation import SliceKey

Bound = Literal["at_least", "at_most", "max_drop", "max_regression"]
"""The kinds of bounds that a rule can have."""


class RuleResult(Part):
    """One rule, and whether it holds."""

    metric: str
    slice: str
    set: str
    keys: dict[SliceKey, str]
    kind: Bound
    bound: float
    measured: Estimate = Estimate()
    """What is compared with the bound: the statistic, the drop, or by how much the model is worse than the baseline;
    without a value where there is nothing to compare, and in files from before there were formats."""
    baseline: float | None
    """The baseline's value of the statistic."""
    passed: bool
    reason: str
    """In words, such as `is 0.9570, must be at least 0.93`."""


class BlessingDecision(Report):
    """Whether a model is blessed: all of its rules hold."""

    FILE: ClassVar = "decision.json"

    blessed: bool
    baseline: str | None
    """The model that was compared with, in words."""
    rules: list[RuleResult]
