"""What is measured on test sets, and what a model must reach: the section `evaluate` of a configuration.

>>> Rule(metric="dice_mean", at_least=0.9).kind
'at_least'
"""

from collections.abc import Collection
from typing import Annotated, Literal, get_args

from pydantic import Field, FiniteFloat, model_validator

from modules.evaluation.measures import STATISTICS
from schema.reports.blessing import Bound
from schema.reports.evaluation import TEST_SET, Region, SliceKey
from schema.settings import Settings
from schema.suggestions import nearest

_Count = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0, le=1)]

_BOUNDS: tuple[Bound, ...] = get_args(Bound)


class Rule(Settings):
    """What a statistic must reach on a slice; exactly one bound a rule."""

    metric: str
    """Name of a statistic, such as `dice_mean`, `dice_p5`, `hd95`."""
    slice: dict[SliceKey | Literal["set"], str | int] = Field(default={})
    """Key and value, such as `{is_augmented: 0}`; `set` names an external test set; empty for the whole test split."""
    at_least: FiniteFloat | None = None
    """The lowest value that passes, for statistics that are better the higher they are."""
    at_most: FiniteFloat | None = None
    """The highest value that passes, for statistics that are better the lower they are."""
    max_drop: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """By how much copies may be worse than their originals in the mean."""
    max_regression: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """By how much the model may be worse than the one blessed last, on the same images: the worse end of the interval
    of their difference counts. Passed where no model has been blessed."""

    @property
    def kind(self) -> Bound:
        """Which bound is given."""
        return next(kind for kind in _BOUNDS if getattr(self, kind) is not None)

    @property
    def bound(self) -> float:
        """Its value."""
        return float(getattr(self, self.kind))

    @model_validator(mode="after")
    def _is_one_rule(self) -> "Rule":
        if self.metric not in STATISTICS:
            known = nearest(self.metric, STATISTICS, similarity=0)
            raise ValueError(f"unknown metric '{self.metric}'; the nearest known one is '{known}'")
        if sum(getattr(self, kind) is not None for kind in _BOUNDS) != 1:
            raise ValueError(f"a rule has exactly one of {', '.join(_BOUNDS)}")
        statistic = STATISTICS[self.metric]
        if self.kind == ("at_least" if statistic.lower_is_better else "at_most"):
            direction, other = ("lower", "at_most") if statistic.lower_is_better else ("higher", "at_least")
            raise ValueError(f"{self.metric} is better the {direction} it is: use {other}")
        if self.kind == "max_drop" and statistic.kind != "mean":
            raise ValueError(f"max_drop is for means, such as dice_mean; {self.metric} is none")
        return self


class EvaluateSettings(Settings):
    """What is measured on the test sets, and what a model must reach to be blessed."""

    slices: tuple[tuple[SliceKey, ...], ...] = (
        ("is_augmented",),
        ("transform",),
        ("source",),
        ("finding",),
        ("view",),
        ("sex",),
        ("age",),
        ("lungs",),
        ("is_augmented", "source"),
        ("finding", "is_augmented"),
        ("is_augmented", "view"),
        ("is_augmented", "lungs"),
    )
    """Keys to slice each set by, one or several a slice; a whole set, and what rules name, is a slice in any case."""
    rules: tuple[Rule, ...] = (Rule(metric="dice_mean", at_least=0.9), Rule(metric="dice_mean", max_regression=0.01))
    """What a model must reach: it is blessed if all hold. One of them must bound the whole test split."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """How far apart outlines may be that the surface Dice (`nsd`) takes for equal, as a share of the image's width."""
    small_lungs: _Share = 0.2
    """Share of the image below which its lungs count as small."""
    region: Region = "whole"
    """Which part of the images of external sets is judged, since hospitals draw different things. `right_lung`: the
    half with the patient's right lung, up to the middle between the two true lungs, or that of the image where the mask
    does not have two. What the model expects is the Dice of this half, whether it asks for a review goes by the whole
    mask, and the Brier score is not known."""
    min_patients: _Count = 10
    """A slice of fewer patients is too small to judge: rules on it fail."""
    resamples: Annotated[int, Field(ge=100)] = 1000
    """How many times patients are drawn for an interval (bootstrap)."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of the intervals: how often they are to hold the true value."""

    def region_of(self, set_: str) -> Region:
        """Return the part of the images of a set that is judged."""
        return "whole" if set_ == TEST_SET else self.region

    def check_sets(self, external: Collection[str]) -> None:
        """Raise ValueError where a rule is for an external set that is not among those."""
        for rule in self.rules:
            name = rule.slice.get("set", TEST_SET)
            if name != TEST_SET and name not in external:
                raise ValueError(
                    f"a rule on {rule.metric} is for external set '{name}', which is not given: "
                    f"add --external {name}=DIR"
                )

    def all_slices(self) -> list[tuple[SliceKey, ...]]:
        """List the keys of each slice, those that rules ask for among them, without the whole of a set."""
        of_rules = [tuple(key for key in rule.slice if key != "set") for rule in self.rules]
        by_keys = {frozenset(keys): keys for keys in (*of_rules, *self.slices) if keys}
        return list(by_keys.values())

    @model_validator(mode="after")
    def _bounds_the_whole(self) -> "EvaluateSettings":
        if not any(rule.kind in ("at_least", "at_most") and not rule.slice for rule in self.rules):
            raise ValueError("rules must hold one for all images (at_least or at_most, without `slice`)")
        return self
