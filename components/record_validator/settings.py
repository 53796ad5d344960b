"""What a sound record is: the section `record_validation` of a configuration.

>>> RecordValidationSettings(min_lung_fraction=0).max_lung_fraction
0.65
"""

from typing import Annotated, Final

from pydantic import Field, model_validator

from schema.reports.validation import Reason
from schema.settings import Settings

SIMILARITY_THRESHOLD: Final = 0.91
"""Similarity (`near_duplicates.similarity`) from which two thumbnails show one image.

566 radiographs of Shenzhen and 77 of Hannover: at most 0.80 between any two, but for one pair with 0.90, which by the
looks of it is two visits of one person. 2,500 phantoms: at most 0.89. 120 of the radiographs against copies of
themselves: at least 0.94 as JPEG of quality 50, at half the size, darker, with gamma 0.7 and 1.5, or noise of 8 grey
values; at least 0.915 where cropped by 1-2 %.
"""

_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=1)]


class RecordValidationSettings(Settings):
    """What is expected of a record, and which expectations count."""

    min_lung_fraction: _Share = 0.02
    """Smallest share of the image that lungs cover; 0 where an image may show no lung, as slices of CT do."""
    max_lung_fraction: _Share = 0.65
    """Largest share of the image that lungs cover; in 643 radiographs of two hospitals it was 0.61 at most."""
    min_component: _Share = 0.0005
    """Smallest share of the image that a connected part of the lung mask covers to count as a component; what is
    smaller is overlooked as a speck."""
    max_components: _Count = 6
    """Largest number of components that a lung mask may be in."""
    min_contrast: _Share = 0.01
    """Smallest standard deviation of an image's grey values, where black is 0 and white 1; below it, the image is taken
    to show nothing."""
    min_grey_range: _Share = 0.1
    """Smallest range of an image's grey values, where black is 0 and white 1, without stray pixels; below it, a marker
    or a hot pixel is taken to have swallowed the contrast of the rest."""
    min_side: _Count = 32
    """Smallest width and height of an image as it is stored, pixels."""
    max_side: _Count = 4096
    """Largest width and height of an image as it is stored, pixels."""
    fingerprint_tolerance: _Share = 1e-3
    """How far the mean and the standard deviation of the grey values and the share of lung, each 0-1, that are stored
    with a record may be off what its pixels give."""
    max_age: Annotated[float, Field(gt=0)] = 130
    """Highest age of a patient, years."""
    max_text: _Count = 1024
    """Largest length of a text that describes an image, such as `finding` or `patient_id`, bytes of UTF-8."""
    near_duplicate: Annotated[float, Field(gt=0, le=1)] = SIMILARITY_THRESHOLD
    """Likeness from which two images are taken for one, so that only one of them stays: the correlation of their fine
    structure, once one is laid over the other. Copies that were compressed, resized, exposed anew or cropped by 2 %
    have 0.915 and more, radiographs of different people less than 0.9."""
    ignore: tuple[Reason, ...] = ()
    """Reasons for which no record is refused, by the names that the report gives them, such as `[near_duplicate]`;
    `undecodable` cannot be among them."""

    @model_validator(mode="after")
    def _is_sound(self) -> "RecordValidationSettings":
        for low, high in (("min_lung_fraction", "max_lung_fraction"), ("min_side", "max_side")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"{low} must not be above {high}, is {getattr(self, low):g} and {getattr(self, high):g}"
                )
        if "undecodable" in self.ignore:
            raise ValueError("ignore: records that are undecodable cannot be used")
        return self
