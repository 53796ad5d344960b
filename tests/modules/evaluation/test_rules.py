"""Rules against evaluations made by hand."""

from typing import Any

import pytest
from pydantic import ValidationError

from modules.evaluation.rules import decide
from modules.evaluation.settings import EvaluateSettings, Rule
from schema.reports.blessing import RuleResult
from schema.reports.estimate import Estimate
from schema.reports.evaluation import Evaluation, Slice, slice_name


def estimates(**values: tuple[float, float, float] | float | None) -> dict[str, Estimate]:
    return {
        name: Estimate(value=value[0], low=value[1], high=value[2])
        if isinstance(value, tuple)
        else Estimate(value=value)
        for name, value in values.items()
    }


def slice_of(set_: str = "test", keys: dict[str, str] | None = None, patients: int = 60, **parts: Any) -> Slice:
    named: Any = keys or {}
    return Slice(
        slice=slice_name(set_, named), set=set_, keys=named, examples=2 * patients, patients=patients,
        enough=patients >= 10, **{"metrics": {}, "baseline": None, "difference": None, **parts},
    )  # fmt: skip


def judge(rule: dict[str, Any], *slices: Slice, baseline: str | None = None) -> RuleResult:
    evaluation = Evaluation(baseline=baseline, tolerance=0.01, min_patients=10, confidence=0.95, slices=list(slices))
    decision = decide(evaluation, [Rule.model_validate(rule)])
    (judgement,) = decision.rules
    assert decision.blessed is judgement.passed
    assert decision.baseline == baseline
    return judgement


@pytest.mark.parametrize(("bound", "passed"), [(0.95, True), (0.9501, False)])
def test_at_least(bound: float, passed: bool) -> None:
    result = judge(
        {"metric": "dice_mean", "at_least": bound}, slice_of(metrics=estimates(dice_mean=(0.95, 0.94, 0.96)))
    )
    assert result == RuleResult(
        metric="dice_mean", slice="overall", set="test", keys={}, kind="at_least", bound=bound,
        measured=Estimate(value=0.95, low=0.94, high=0.96), baseline=None, passed=passed,
        reason=f"is 0.9500, must be at least {bound}",
    )  # fmt: skip


@pytest.mark.parametrize(("bound", "passed"), [(0.02, True), (0.019, False)])
def test_at_most_on_a_slice_of_an_external_set(bound: float, passed: bool) -> None:
    external = slice_of("other", {"view": "AP"}, metrics=estimates(hd95=0.02))
    rule = {"metric": "hd95", "at_most": bound, "slice": {"set": "other", "view": "AP"}}
    result = judge(rule, slice_of(metrics=estimates(hd95=0.5)), external)
    assert (result.slice, result.passed) == ("set:other,view:AP", passed)
    assert result.reason == f"is 0.0200, may be at most {bound}"


@pytest.mark.parametrize(("bound", "passed"), [(0.02, True), (0.005, False)])
def test_max_drop(bound: float, passed: bool) -> None:
    copies = slice_of(keys={"is_augmented": "1"}, metrics=estimates(dice_mean=0.9, dice_drop=(0.01, 0.005, 0.03)))
    result = judge({"metric": "dice_mean", "max_drop": bound, "slice": {"is_augmented": 1}}, copies)
    assert (result.measured, result.passed) == (Estimate(value=0.01, low=0.005, high=0.03), passed)
    assert result.reason == f"copies are worse than originals by 0.0100, may be by {bound}"


def test_a_drop_without_copies() -> None:
    result = judge({"metric": "dice_mean", "max_drop": 0.1}, slice_of(metrics=estimates(dice_mean=0.9, dice_drop=None)))
    assert (result.passed, result.reason) == (False, "there are no copies to compare with")


@pytest.mark.parametrize(
    ("metric", "difference", "worse", "passed"),
    [
        ("dice_mean", (0.0, -0.009, 0.009), (0.0, -0.009, 0.009), True),
        ("dice_mean", (0.0, -0.011, 0.009), (0.0, -0.009, 0.011), False),
        ("dice_mean", (-0.02, -0.03, -0.01), (0.02, 0.01, 0.03), False),
        ("dice_mean", (0.05, 0.04, 0.06), (-0.05, -0.06, -0.04), True),
        ("hd95", (0.0, -0.02, 0.009), (0.0, -0.02, 0.009), True),
        ("hd95", (0.0, -0.009, 0.011), (0.0, -0.009, 0.011), False),
    ],
)
def test_max_regression_judges_by_the_worse_end(
    metric: str, difference: tuple[float, float, float], worse: tuple[float, float, float], passed: bool
) -> None:
    compared = slice_of(
        metrics=estimates(**{metric: 0.9}),
        baseline=estimates(**{metric: 0.95}),
        difference=estimates(**{metric: difference}),
    )
    result = judge({"metric": metric, "max_regression": 0.01}, compared, baseline="version 3")
    assert (result.measured.value, *(result.measured.interval or ())) == pytest.approx(worse)
    assert (result.passed, result.baseline) == (passed, 0.95)


@pytest.mark.parametrize(("difference", "reason"), [
    ((-0.02, -0.03, -0.01), "changed for the worse by 0.0200, perhaps worse by 0.0300, may be worse by 0.01"),
    ((0.02, -0.005, 0.03), "better by 0.0200, perhaps worse by 0.0050, may be worse by 0.01"),
    ((0.02, 0.01, 0.03), "better by 0.0200, surely not worse, may be worse by 0.01"),
    ((0.0, 0.0, 0.0), "better by 0.0000, surely not worse, may be worse by 0.01"),
])  # fmt: skip
def test_the_reason_of_a_regression(difference: tuple[float, float, float], reason: str) -> None:
    compared = slice_of(difference=estimates(dice_mean=difference), baseline={}, metrics={})
    assert judge({"metric": "dice_mean", "max_regression": 0.01}, compared, baseline="version 3").reason == reason


def test_without_a_baseline_nothing_has_got_worse() -> None:
    result = judge({"metric": "dice_mean", "max_regression": 0.0}, slice_of(metrics=estimates(dice_mean=0.1)))
    assert (result.passed, result.measured.value, result.baseline) == (True, None, None)
    assert result.reason == "there is no model yet to compare with"


def test_a_comparison_without_an_interval_proves_nothing() -> None:
    compared = slice_of(difference=estimates(dice_mean=0.1), baseline={}, metrics={})
    result = judge({"metric": "dice_mean", "max_regression": 0.01}, compared, baseline="version 3")
    assert (result.passed, result.measured.value) == (False, 0.1 * -1)
    assert result.reason == "there are too few images to tell how sure the comparison is"


def test_a_statistic_without_a_value() -> None:
    result = judge({"metric": "dice_mean", "at_least": 0.5}, slice_of())
    assert (result.passed, result.reason) == (False, "has no value there")


def test_what_rules_name_is_a_slice() -> None:
    rules = [
        {"metric": "dice_mean", "at_least": 0.9},
        {"metric": "dice_mean", "at_least": 0.9, "slice": {"sex": "male", "age": "18-39", "set": "x"}},
        {"metric": "dice_mean", "at_least": 0.9, "slice": {"finding": "a", "source": "b"}},
    ]
    settings = EvaluateSettings.model_validate({"rules": rules, "slices": [["source", "finding"], ["view"]]})
    assert {frozenset(keys) for keys in settings.all_slices()} == {
        frozenset(keys) for keys in (("sex", "age"), ("source", "finding"), ("view",))
    }
    assert len(settings.all_slices()) == 3


@pytest.mark.parametrize("bound", [float("nan"), float("inf")])
def test_a_bound_is_finite(bound: float) -> None:
    assert problem(Rule, metric="dice_mean", at_least=bound) == "Input should be a finite number"


def test_a_small_slice_cannot_be_judged() -> None:
    result = judge({"metric": "dice_mean", "at_least": 0.5}, slice_of(patients=9, metrics=estimates(dice_mean=0.9)))
    assert (result.passed, result.measured.value) == (False, 0.9)
    assert result.reason == "9 patients are too few to judge by, 10 are needed"


def test_a_slice_without_images() -> None:
    result = judge({"metric": "dice_mean", "at_least": 0.5, "slice": {"sex": "male"}}, slice_of())
    assert (result.passed, result.reason) == (False, "no image falls into the slice sex:male")


def test_one_broken_rule_is_enough() -> None:
    evaluation = Evaluation(
        baseline=None, tolerance=0.01, min_patients=10, confidence=0.95,
        slices=[slice_of(metrics=estimates(dice_mean=0.95, iou_mean=0.8))],
    )  # fmt: skip
    rules = [Rule(metric="dice_mean", at_least=0.9), Rule(metric="iou_mean", at_least=0.9)]
    decision = decide(evaluation, rules)
    assert [rule.passed for rule in decision.rules] == [True, False]
    assert not decision.blessed
    assert decide(evaluation, rules[:1]).blessed


def problem(kind: Any, **values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(values)
    return str(caught.value.errors()[0]["msg"])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"metric": "dice", "at_least": 0.9}, "unknown metric 'dice'; the nearest known one is 'dice_p5'"),
        ({"metric": "dice_mean"}, "a rule has exactly one of at_least, at_most, max_drop, max_regression"),
        (
            {"metric": "dice_mean", "at_least": 0.9, "max_drop": 0.1},
            "a rule has exactly one of at_least, at_most, max_drop, max_regression",
        ),
        ({"metric": "hd95", "at_least": 0.1}, "hd95 is better the lower it is: use at_most"),
        ({"metric": "nsd", "at_most": 0.1}, "nsd is better the higher it is: use at_least"),
        ({"metric": "dice_p5", "max_drop": 0.1}, "max_drop is for means, such as dice_mean; dice_p5 is none"),
    ],
)
def test_rules_that_say_nothing_are_refused(rule: dict[str, Any], message: str) -> None:
    assert problem(Rule, **rule) == f"Value error, {message}"


@pytest.mark.parametrize("kind", ["max_drop", "max_regression"])
def test_a_margin_is_not_negative(kind: str) -> None:
    assert problem(Rule, metric="dice_mean", **{kind: -0.01}) == "Input should be greater than or equal to 0"


def test_all_images_must_have_a_rule() -> None:
    message = "Value error, rules must hold one for all images (at_least or at_most, without `slice`)"
    on_a_slice = {"metric": "dice_mean", "at_least": 0.9, "slice": {"is_augmented": 0}}
    assert problem(EvaluateSettings, rules=[]) == message
    assert problem(EvaluateSettings, rules=[on_a_slice]) == message
    relative = [{"metric": "dice_mean", kind: 0.01} for kind in ("max_drop", "max_regression")]
    assert problem(EvaluateSettings, rules=relative) == message, "the first model would pass whatever it is"
    both = EvaluateSettings.model_validate({"rules": [on_a_slice, {"metric": "recall", "at_least": 0.5}]})
    assert [rule.bound for rule in both.rules] == [0.9, 0.5]
