"""What a run leaves under its root: the decision and every slice."""

from typing import ClassVar, Literal

from schema.reports.base import Part, Report
from schema.reports.blessing import BlessingDecision, RuleResult
from schema.reports.evaluation import Slice


class ComponentResult(Part):
    """How long a component took."""

    id: str
    seconds: float
    cached: bool


def find_failures(decision: BlessingDecision, *, probed: bool) -> list[str]:
    """Say in words why a model may not serve; nothing where it may.

    Args:
        decision: By the rules.
        probed: Whether the exported model passed the serving probe.
    """
    failures = [f"{rule.metric} on {rule.slice}: {rule.reason}" for rule in decision.rules if not rule.passed]
    return failures if probed else [*failures, "the exported model did not pass the serving probe; see the report"]


class RunResult(Report):
    """The outcome of a run."""

    FILE: ClassVar = "result.json"

    status: Literal["blessed", "not_blessed", "unchanged"]
    """`unchanged`: the run ended early, since it would have made the model that serves once more."""
    pushed_version: str | None
    """Folder of the serving folder that holds this model; of an unchanged run, the model that serves."""
    pipeline: str
    data_span: int
    """The newest of `data_spans`."""
    data_spans: list[int]
    """Those that were read, rising."""
    policy: str
    failures: list[str]
    """Each rule that was broken, in words."""
    rules: list[RuleResult]
    """Of an unchanged run, rules and slices of the one that made the model, where that is the last in this root."""
    slices: list[Slice]
    confidence: float = 0.95
    """Of the intervals; files of earlier versions do not tell it, and are read as those of the default."""
    components: list[ComponentResult]
