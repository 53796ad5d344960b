"""What becomes of grey values before the network sees them: the section `transform` of a configuration.

>>> TransformSettings(normalization="image").normalization
'image'
"""

from typing import Literal

from schema.settings import Settings

Normalization = Literal["dataset", "image", "percentile"]


class TransformSettings(Settings):
    """What becomes of grey values before the network sees them, in training and in the exported model alike."""

    normalization: Normalization = "dataset"
    """What grey values are shifted and scaled by. `dataset`: mean and standard deviation of all original training
    images; `image`: those of each image; `percentile`: of each image, the 1st percentile becomes -1 and the 99th 1. The
    latter two leave black and white borders out, and so neither these nor brightness and contrast of an image count."""


class PreprocessingSettings(Settings):
    """What Transform is given in its `custom_config`."""

    image_size: int
    """Side of the square output, pixels."""
    transform: TransformSettings = TransformSettings()
    code_version: str = ""
    """Identifies the code that transforms, so that the cache does not outlive it."""
