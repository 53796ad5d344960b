"""What determines the network: the section `model` of a configuration.

>>> ModelSettings(filters=32).levels
4
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schema.settings import Settings

Width = Annotated[int, Field(ge=1, le=512)]
"""Channels of the network's first level."""


class ModelSettings(Settings):
    """The network: its input size, its shape and its options."""

    architecture: Literal["unet", "resunet"] = "unet"
    """`unet`: Ronneberger et al., 2015, arXiv 1505.04597; `resunet`: each block of it adds its input to its output."""
    image_size: Annotated[int, Field(ge=16, le=2048)] = 128
    """Side of the square input, pixels."""
    filters: Width = 16
    """Channels of the first level; each level below doubles them. Multiples of 8 suit tensor cores."""
    levels: Annotated[int, Field(ge=1, le=8)] = 4
    """How often the image is halved on the way down."""
    normalization: Literal["batch", "sync_batch", "group"] = "sync_batch"
    """What activations are normalised over. `batch`: the images of one replica; `sync_batch`: those of all, so that
    several devices give the losses of one; `group`: groups of channels of each image."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the channels that are dropped at the deepest level."""
    deep_supervision: bool = False
    """Coarser levels are judged in training as well; the exported model does not have them."""
    average_mirrored: bool = True
    """The exported model averages its answer with that for the mirrored image: twice the work, steadier outlines."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Probability above which the exported model takes a pixel for lung. Half of a Dice is where the highest is had
    (Lipton et al., 2014): the presets for real data take 0.45, for the 0.9 of another hospital's images."""
    largest_parts: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Connected parts of a mask that the exported model keeps, the largest first; 0: all. `auto`: as many as nearly all
    masks of the training have, which is two for radiographs."""
    review_below: Annotated[float, Field(ge=0, le=1)] = 0.85
    """Expected Dice below which the exported model says that somebody should look at a mask."""

    @model_validator(mode="after")
    def _can_be_halved(self) -> "ModelSettings":
        if self.image_size % 2**self.levels:
            raise ValueError(
                f"image_size {self.image_size} must be a multiple of {2**self.levels} (2 to the power of levels)"
            )
        return self
