"""What determines a model and the judgement on it, as frozen, validated settings.

    >>> TrainSettings.model_validate({"epochs": 3}).epochs
    3

The graph hands them to TFX as plain dictionaries (`model_dump`); `run_fn` and the EvalConfig read them back.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schema import features

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


SliceKey = Literal["is_augmented", "augmentation", "source", "finding", "view", "sex"]
Metric = Literal["dice_mean", "iou_mean", "pixel_accuracy", "precision", "recall"]


class Threshold(Settings):
    """A lower bound for one metric, overall or on one slice."""

    metric: Metric
    at_least: _Share
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
    max_regression: _Share = 0.01
    """By how much mean Dice over all images may lie below that of the model blessed last."""

    @model_validator(mode="after")
    def _bounds_the_whole(self) -> "EvaluateSettings":
        if not any(not threshold.slice for threshold in self.thresholds):
            msg = "thresholds must hold one for all images (without `slice`)"
            raise ValueError(msg)
        return self
