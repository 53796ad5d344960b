"""May the model serve? Applies the rules to what was measured.

>>> decide(evaluation, settings.rules).blessed
True
"""

from collections.abc import Sequence
from typing import Final

from modules.evaluation.measures import STATISTICS
from modules.evaluation.settings import Rule
from schema.reports.blessing import BlessingDecision, Bound, RuleResult
from schema.reports.estimate import Estimate
from schema.reports.evaluation import TEST_SET, Evaluation, Slice, SliceKey, slice_name

_UNKNOWN: Final = Estimate()
_NOTHING: Final[dict[Bound, str]] = {
    "at_least": "has no value there",
    "at_most": "has no value there",
    "max_drop": "there are no copies to compare with",
    "max_regression": "there are too few images to tell how sure the comparison is",
}


def decide(evaluation: Evaluation, rules: Sequence[Rule]) -> BlessingDecision:
    """Judge every rule; the model is blessed if all hold."""
    results = [_judge(rule, evaluation) for rule in rules]
    return BlessingDecision(
        blessed=all(result.passed for result in results), baseline=evaluation.baseline, rules=results
    )


def _judge(rule: Rule, evaluation: Evaluation) -> RuleResult:
    set_ = str(rule.slice.get("set", TEST_SET))
    keys: dict[SliceKey, str] = {key: str(value) for key, value in rule.slice.items() if key != "set"}
    slice_ = evaluation.find(set_, keys)
    # A regression without a baseline, and any rule on an empty slice, has nothing to measure.
    comparable = slice_ is not None and (rule.kind != "max_regression" or evaluation.baseline is not None)
    measured = _measure(rule, slice_) if slice_ and comparable else _UNKNOWN
    passed, reason = _outcome(rule, evaluation, slice_, measured)
    return RuleResult(
        metric=rule.metric,
        slice=slice_name(set_, keys),
        set=set_,
        keys=keys,
        kind=rule.kind,
        bound=rule.bound,
        measured=measured,
        baseline=(slice_.baseline or {}).get(rule.metric, _UNKNOWN).value if slice_ and comparable else None,
        passed=passed,
        reason=reason if slice_ else f"no image falls into the slice {slice_name(set_, keys)}",
    )


def _outcome(rule: Rule, evaluation: Evaluation, slice_: Slice | None, measured: Estimate) -> tuple[bool, str]:
    """Tell whether a rule holds, and why."""
    if slice_ is None:
        return False, ""
    if rule.kind == "max_regression" and evaluation.baseline is None:
        return True, "there is no model yet to compare with"
    if not slice_.enough:
        return False, f"{slice_.patients} patients are too few to judge by, {evaluation.min_patients} are needed"
    if measured.value is None or (rule.kind == "max_regression" and measured.high is None):
        return False, _NOTHING[rule.kind]
    return _compare(rule, measured)


def _measure(rule: Rule, slice_: Slice) -> Estimate:
    """Return what the rule bounds; a regression is positive where the model is worse."""
    statistic = STATISTICS[rule.metric]
    if rule.kind == "max_regression":
        change = (slice_.difference or {}).get(rule.metric, _UNKNOWN)
        return change if statistic.lower_is_better else change.negated()
    return slice_.metrics.get(f"{statistic.measure}_drop" if rule.kind == "max_drop" else rule.metric, _UNKNOWN)


def _compare(rule: Rule, measured: Estimate) -> tuple[bool, str]:
    value, bound = measured.value or 0.0, rule.bound
    if rule.kind == "at_least":
        return value >= bound, f"is {value:.4f}, must be at least {bound:g}"
    if rule.kind == "at_most":
        return value <= bound, f"is {value:.4f}, may be at most {bound:g}"
    if rule.kind == "max_drop":
        return value <= bound, f"copies are worse than originals by {value:.4f}, may be by {bound:g}"
    worst = measured.high or 0.0
    change = f"changed for the worse by {value:.4f}" if value > 0 else f"better by {abs(value):.4f}"
    perhaps = f"perhaps worse by {worst:.4f}" if worst > 0 else "surely not worse"
    return worst <= bound, f"{change}, {perhaps}, may be worse by {bound:g}"
