"""May the model serve? Applies the rules to what was measured.

>>> decide(evaluation, settings.rules).blessed
True
"""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel

from modules.evaluation.bootstrap import Estimate
from modules.evaluation.measures import STATISTICS
from modules.evaluation.slicing import TEST_SET, Evaluation, Slice, slice_name
from modules.settings import Bound, Rule, SliceKey

DECISION_FILE: Final = "decision.json"


class Judgement(BaseModel):
    """One rule and whether it holds."""

    metric: str
    slice: str
    set: str
    keys: dict[SliceKey, str]
    kind: Bound
    bound: float
    value: float | None = None
    """What is compared with the bound: the statistic, the drop, or by how much the model is worse than the baseline;
    None where there is nothing to compare."""
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    """The baseline's value of the statistic."""
    passed: bool
    reason: str


class Decision(BaseModel):
    """What `decision.json` holds."""

    blessed: bool
    baseline: str | None
    """The model that was compared with, in words."""
    rules: list[Judgement]


def decide(evaluation: Evaluation, rules: Sequence[Rule]) -> Decision:
    """Judges every rule; the model is blessed if all hold."""
    judgements = [_judge(rule, evaluation) for rule in rules]
    return Decision(blessed=all(one.passed for one in judgements), baseline=evaluation.baseline, rules=judgements)


_UNKNOWN = Estimate(value=None)
_NOTHING: dict[Bound, str] = {
    "at_least": "has no value there",
    "at_most": "has no value there",
    "max_drop": "there are no copies to compare with",
    "max_regression": "there are too few images to tell how sure the comparison is",
}


def _judge(rule: Rule, evaluation: Evaluation) -> Judgement:
    set_ = str(rule.slice.get("set", TEST_SET))
    keys: dict[SliceKey, str] = {key: str(value) for key, value in rule.slice.items() if key != "set"}
    where = slice_name(set_, keys)
    found = evaluation.find(set_, keys)
    stated: dict[str, Any] = {
        "metric": rule.metric, "slice": where, "set": set_, "keys": keys, "kind": rule.kind, "bound": rule.bound,
    }  # fmt: skip
    if found is None:
        return Judgement(**stated, passed=False, reason=f"no image falls into the slice {where}")
    if rule.kind == "max_regression" and evaluation.baseline is None:
        return Judgement(**stated, passed=True, reason="there is no model yet to compare with")
    measured = _measure(rule, found)
    stated |= {**measured.model_dump(), "baseline": (found.baseline or {}).get(rule.metric, _UNKNOWN).value}
    if not found.enough:
        few = f"{found.patients} patients are too few to judge by, {evaluation.min_patients} are needed"
        return Judgement(**stated, passed=False, reason=few)
    if measured.value is None or (rule.kind == "max_regression" and measured.high is None):
        return Judgement(**stated, passed=False, reason=_NOTHING[rule.kind])
    passed, reason = _compare(rule, measured)
    return Judgement(**stated, passed=passed, reason=reason)


def _measure(rule: Rule, of: Slice) -> Estimate:
    """What the rule bounds; a regression is positive where the model is worse."""
    statistic = STATISTICS[rule.metric]
    if rule.kind == "max_regression":
        change = (of.difference or {}).get(rule.metric, _UNKNOWN)
        return change if statistic.lower_is_better else change.negated()
    return of.metrics.get(f"{statistic.measure}_drop" if rule.kind == "max_drop" else rule.metric, _UNKNOWN)


def _compare(rule: Rule, measured: Estimate) -> tuple[bool, str]:
    value, bound = measured.value or 0.0, rule.bound
    if rule.kind == "at_least":
        return value >= bound, f"is {value:.4f}, must be at least {bound:g}"
    if rule.kind == "at_most":
        return value <= bound, f"is {value:.4f}, may be at most {bound:g}"
    if rule.kind == "max_drop":
        return value <= bound, f"copies are worse than originals by {value:.4f}, may be by {bound:g}"
    worst = measured.high or 0.0
    change = f"changed for the worse by {value:.4f}" if value > 0 else f"better by {-value:.4f}"
    perhaps = f"perhaps worse by {worst:.4f}" if worst > 0 else "surely not worse"
    return worst <= bound, f"{change}, {perhaps}, may be worse by {bound:g}"
