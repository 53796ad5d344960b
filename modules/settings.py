"""What determines a model and the judgement on it, as frozen, validated settings.

    >>> TrainSettings.model_validate({"epochs": 3}).epochs
    3

The graph hands them to TFX as plain dictionaries (`model_dump`); `run_fn` and the EvalConfig read them back.
"""

import difflib
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from modules.evaluation.measures import STATISTICS

_Count = Annotated[int, Field(ge=1)]
_Width = Annotated[int, Field(ge=1, le=512)]
_Rate = Annotated[float, Field(gt=0, le=1)]
_Share = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """Base of all settings: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSettings(Settings):
    """The network: its input size, its shape and its options."""

    architecture: Literal["unet", "resunet"] = "unet"
    """`resunet`: each block adds its input to its output (residual)."""
    image_size: Annotated[int, Field(ge=16, le=2048)] = 128
    """Side of the square input, pixels."""
    filters: _Width = 16
    """Channels of the first level; each level below doubles them. Multiples of 8 suit tensor cores."""
    levels: Annotated[int, Field(ge=1, le=8)] = 4
    """How often the image is halved on the way down."""
    normalization: Literal["batch", "sync_batch", "group"] = "sync_batch"
    """`batch`: over the images of one replica; `sync_batch`: over those of all, so that several devices give the losses
    of one; `group`: over groups of channels of each image."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the channels that are dropped at the deepest level."""
    deep_supervision: bool = False
    """Coarser levels are judged in training as well; the exported model does not have them."""
    average_mirrored: bool = True
    """The exported model averages its answer with that for the mirrored image: twice the work, steadier outlines."""

    @model_validator(mode="after")
    def _can_be_halved(self) -> "ModelSettings":
        if self.image_size % 2**self.levels:
            msg = f"image_size {self.image_size} must be a multiple of {2**self.levels} (2 to the power of levels)"
            raise ValueError(msg)
        return self


class TrainSettings(Settings):
    """How the network is trained."""

    epochs: _Count = 10
    batch_size: _Count = 8
    """Images a step on each replica."""
    copies: bool = True
    """False: trains and validates on originals alone; in training each is seen again where else a copy of it would be,
    so that the number of steps stays the same."""
    learning_rate: _Rate = 2e-3
    """Adam's at its peak for a step of `REFERENCE_BATCH` images; it grows in proportion with the images of a step."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """What the learning rate does after the warm-up; `cosine` ends at zero."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of all steps in which the learning rate rises from zero to its peak."""
    weight_decay: _Share = 0.0
    """Of AdamW (Loshchilov and Hutter, 2019, arXiv 1711.05101)."""
    average_weights: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Momentum of an average of the weights over the steps, which is validated and exported in their place; 0: none."""
    dice_weight: _Share = 0.5
    """Share of the Dice loss; the rest is binary cross-entropy."""
    patience: _Count = 5
    """Epochs without a better validation Dice after which training stops."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7
    devices: Annotated[str, Field(pattern=r"^(auto|cpu:[1-9][0-9]*|gpu:[1-9][0-9]*)$")] = "auto"
    """`auto`: the workers that TF_CONFIG names, each with all its GPUs, else all GPUs, else the CPU. `gpu:N`: the first
    N GPUs. `cpu:N`: the CPU split into N logical devices."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the arithmetic; weights stay float32. `auto`: on GPUs bfloat16 where the hardware has it, else float16 with
    scaled losses; float32 on CPUs."""
    xla: Literal["auto"] | bool = "auto"
    """Whether XLA compiles the step. `auto`: on GPUs, where the replicas need not speak to each other within it."""
    warm_start: bool = False
    """Begins with the weights of the model that was blessed last, if there is one."""


REFERENCE_BATCH = 8
"""Images of a step for which `TrainSettings.learning_rate` is meant."""


class TuneSettings(Settings):
    """Whether hyper-parameters are searched for before the training, and where."""

    trials: Annotated[int, Field(ge=0)] = 0
    """How many are tried; 0 leaves the search out."""
    trial_epochs: _Count = 3
    """Of each trial's training."""
    learning_rate: tuple[_Rate, _Rate] = (5e-4, 5e-3)
    """Lowest and highest, drawn on a logarithmic scale."""
    dice_weight: tuple[_Share, _Share] = (0.25, 0.75)
    """Lowest and highest."""
    filters: Annotated[tuple[_Width, ...], Field(min_length=1)] = (8, 16)
    batch_size: Annotated[tuple[_Count, ...], Field(min_length=1)] = (4, 8, 16)

    @model_validator(mode="after")
    def _rises(self) -> "TuneSettings":
        for name in ("learning_rate", "dice_weight"):
            low, high = getattr(self, name)
            if low >= high:
                msg = f"{name} must be a lower and a higher value, is {low:g} and {high:g}"
                raise ValueError(msg)
        return self


SliceKey = Literal["is_augmented", "transform", "source", "finding", "view", "sex", "age", "lungs"]
"""`transform`: each that fired; `age`: `under-18`, `18-39`, `40-64`, `65-and-over`; `lungs`: `small`, `large`."""


Bound = Literal["at_least", "at_most", "max_drop", "max_regression"]
_BOUNDS: tuple[Bound, ...] = get_args(Bound)


class Rule(Settings):
    """What a statistic must reach on a slice; exactly one bound a rule."""

    metric: str
    """Name of a statistic, such as `dice_mean`, `dice_p5`, `hd95`."""
    slice: dict[SliceKey | Literal["set"], str | int] = Field(default={})
    """Key and value, such as `{is_augmented: 0}`; `set` names an external test set; empty for the whole test split."""
    at_least: FiniteFloat | None = None
    at_most: FiniteFloat | None = None
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
            nearest = difflib.get_close_matches(self.metric, STATISTICS, n=1, cutoff=0.0)[0]
            msg = f"unknown metric '{self.metric}'; the nearest known one is '{nearest}'"
            raise ValueError(msg)
        if sum(getattr(self, kind) is not None for kind in _BOUNDS) != 1:
            msg = f"a rule has exactly one of {', '.join(_BOUNDS)}"
            raise ValueError(msg)
        statistic = STATISTICS[self.metric]
        if self.kind == ("at_least" if statistic.lower_is_better else "at_most"):
            direction, other = ("lower", "at_most") if statistic.lower_is_better else ("higher", "at_least")
            msg = f"{self.metric} is better the {direction} it is: use {other}"
            raise ValueError(msg)
        if self.kind == "max_drop" and statistic.kind != "mean":
            msg = f"max_drop is for means, such as dice_mean; {self.metric} is none"
            raise ValueError(msg)
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
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Of the surface Dice, as a share of the image's width."""
    small_lungs: _Share = 0.2
    """Share of the image below which its lungs count as small."""
    min_patients: _Count = 10
    """A slice of fewer is too small to judge: rules on it fail."""
    resamples: Annotated[int, Field(ge=100)] = 1000
    """How many times patients are drawn for an interval."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of the intervals."""

    def all_slices(self) -> list[tuple[SliceKey, ...]]:
        """The keys of each slice, those that rules ask for among them, without the whole of a set."""
        of_rules = [tuple(key for key in rule.slice if key != "set") for rule in self.rules]
        by_keys = {frozenset(keys): keys for keys in (*of_rules, *self.slices) if keys}
        return list(by_keys.values())

    @model_validator(mode="after")
    def _bounds_the_whole(self) -> "EvaluateSettings":
        if not any(rule.kind in ("at_least", "at_most") and not rule.slice for rule in self.rules):
            msg = "rules must hold one for all images (at_least or at_most, without `slice`)"
            raise ValueError(msg)
        return self
