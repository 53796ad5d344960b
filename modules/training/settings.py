"""What determines a training: the sections `train` and `tune` of a configuration.

>>> TrainSettings.model_validate({"epochs": 3}).epochs
3
"""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from modules.network.settings import ModelSettings, Width
from modules.preprocessing.settings import TransformSettings
from schema.settings import Settings

_Count = Annotated[int, Field(ge=1)]
_Rate = Annotated[float, Field(gt=0, le=1)]
_Share = Annotated[float, Field(ge=0, le=1)]


class TrainSettings(Settings):
    """How the network is trained."""

    epochs: _Count = 10
    """Times that the training data are gone through; `patience` may end the training earlier."""
    batch_size: _Count = 8
    """Images a step on each replica."""
    copies: bool = True
    """False: trains and validates on originals alone; in training each is seen again where else a copy of it would be,
    so that the number of steps stays the same."""
    images_per_original: _Count | None = None
    """Images of an epoch for each original: as many whatever the number of copies, all of which have their turn over
    the epochs. By default an epoch has each original and each copy once."""
    learning_rate: _Rate = 2e-3
    """Adam's at its peak for a step of 8 images (`REFERENCE_BATCH`); it grows in proportion to the images of a step."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """What the learning rate does after the warm-up; `cosine` ends at zero."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of all steps in which the learning rate rises from zero to its peak."""
    weight_decay: _Share = 0.0
    """Weight decay of AdamW (Loshchilov and Hutter, 2019, arXiv 1711.05101)."""
    average_weights: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Momentum of an average of the weights over the steps, which is validated and exported in their place; 0: none."""
    dice_weight: _Share = 0.5
    """Share of the Dice loss; the rest is binary cross-entropy."""
    patience: _Count = 5
    """Epochs without a better validation Dice after which training stops."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7
    """Of the first weights, the order of the examples and the dropout."""
    devices: Annotated[str, Field(pattern=r"^(auto|cpu:[1-9][0-9]*|gpu:[1-9][0-9]*)$")] = "auto"
    """What the network is trained on. `auto`: the workers that TF_CONFIG names, each with all its GPUs, else all GPUs,
    else the CPU. `gpu:N`: the first N GPUs. `cpu:N`: the CPU split into N logical devices."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the arithmetic; weights stay float32. `auto`: on GPUs bfloat16 where the hardware has it, else
    float16 with scaled losses; float32 on CPUs."""
    xla: Literal["auto"] | bool = "auto"
    """Whether XLA compiles the step. `auto`: on GPUs, where the replicas need not speak to each other within it."""
    warm_start: bool = False
    """Begins with the weights of the model that was blessed last, if there is one."""


REFERENCE_BATCH: Final = 8
"""Images of a step for which `TrainSettings.learning_rate` is meant."""


class TuneSettings(Settings):
    """Whether hyper-parameters are searched for before the training, and where."""

    trials: Annotated[int, Field(ge=0)] = 0
    """How many trainings the search tries; 0 leaves it out."""
    trial_epochs: _Count = 3
    """Epochs of each of them."""
    learning_rate: tuple[_Rate, _Rate] = (5e-4, 5e-3)
    """Lowest and highest `train.learning_rate`, drawn on a logarithmic scale."""
    dice_weight: tuple[_Share, _Share] = (0.25, 0.75)
    """Lowest and highest `train.dice_weight`."""
    filters: Annotated[tuple[Width, ...], Field(min_length=1)] = (8, 16)
    """What `model.filters` is chosen from."""
    batch_size: Annotated[tuple[_Count, ...], Field(min_length=1)] = (4, 8, 16)
    """What `train.batch_size` is chosen from."""

    @model_validator(mode="after")
    def _rises(self) -> "TuneSettings":
        for name in ("learning_rate", "dice_weight"):
            low, high = getattr(self, name)
            if low >= high:
                raise ValueError(f"{name} must be a lower and a higher value, is {low:g} and {high:g}")
        return self


class TrainerSettings(Settings):
    """What TFX's Trainer and Tuner are given in their `custom_config`."""

    model: ModelSettings
    transform: TransformSettings = TransformSettings()
    """Of what is read."""
    train: TrainSettings
    tune: TuneSettings = TuneSettings()
    checkpoint_dir: Path
    """A folder that outlives an execution, so that the next one finds what a killed one leaves."""
    code_version: str = ""
    """Identifies the code that trains, so that neither cache nor checkpoints outlive it."""
