"""What determines a model and the judgement on it, as frozen, validated settings.

    >>> TrainSettings.model_validate({"epochs": 3}).epochs
    3

The graph hands them to TFX as plain dictionaries (`model_dump`); `run_fn` and the EvalConfig read them back.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schema import features


class Settings(BaseModel):
    """Base of all settings: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSettings(Settings):
    """The U-Net: its input size and its shape."""

    image_size: Annotated[int, Field(ge=16, le=2048)] = 128
    """Side of the square input, pixels."""
    filters: Annotated[int, Field(ge=1, le=512)] = 16
    """Channels of the first level; each level below doubles them."""
    levels: Annotated[int, Field(ge=1, le=8)] = 4
    """How often the image is halved on the way down."""
    average_mirrored: bool = True
    """The exported model averages its answer with that for the mirrored image: twice the work, steadier outlines."""

    @model_validator(mode="after")
    def _can_be_halved(self) -> "ModelSettings":
        if self.image_size % 2**self.levels:
            msg = f"image_size {self.image_size} must be a multiple of {2**self.levels} (2 to the power of levels)"
            raise ValueError(msg)
        return self


class TrainSettings(Settings):
    """How the U-Net is trained."""

    epochs: Annotated[int, Field(ge=1)] = 10
    batch_size: Annotated[int, Field(ge=1)] = 8
    """Images a step on each replica."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    """Adam's at the start; it falls to zero along a cosine."""
    dice_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the Dice loss; the rest is binary cross-entropy."""
    patience: Annotated[int, Field(ge=1)] = 5
    """Epochs without a better validation Dice after which training stops."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7
    devices: Annotated[str, Field(pattern=r"^(auto|cpu:[1-9][0-9]*)$")] = "auto"
    """`auto`: all GPUs, else the CPU. `cpu:N`: the CPU split into N logical devices."""


SliceKey = Literal["is_augmented", "augmentation", "source", "finding", "view", "sex"]
Metric = Literal["dice_mean", "iou_mean", "pixel_accuracy", "precision", "recall"]


class Threshold(Settings):
    """A lower bound for one metric, overall or on one slice."""

    metric: Metric
    at_least: Annotated[float, Field(ge=0, le=1)]
    slice: dict[SliceKey, str | int] = Field(default={})
    """Feature and value, such as `{is_augmented: 0}`; empty for all images."""


class EvaluateSettings(Settings):
    """What is measured on the test split, and what a model must reach to be blessed."""

    slices: tuple[tuple[SliceKey, ...], ...] = (
        (features.IS_AUGMENTED,),
        (features.AUGMENTATION,),
        (features.SOURCE,),
        (features.FINDING,),
        (features.IS_AUGMENTED, features.SOURCE),
        (features.IS_AUGMENTED, features.FINDING),
    )
    """Feature names to slice by, one or several a slice; the overall slice is always there."""
    thresholds: tuple[Threshold, ...] = (Threshold(metric="dice_mean", at_least=0.9),)
    max_regression: Annotated[float, Field(ge=0, le=1)] = 0.01
    """By how much mean Dice over all images may lie below that of the model blessed last."""

    @model_validator(mode="after")
    def _bounds_the_whole(self) -> "EvaluateSettings":
        if not any(not threshold.slice for threshold in self.thresholds):
            msg = "thresholds must hold one for all images (without `slice`)"
            raise ValueError(msg)
        return self
