"""What a sound record is.

>>> RecordValidationSettings(min_lung_fraction=0).max_lung_fraction
0.8
"""

from typing import Annotated, Final, Literal, get_args

from pydantic import Field, model_validator

from schema.settings import Settings

Reason = Literal[
    "undecodable",
    "copy",
    "description",
    "size",
    "constant_image",
    "mask_area",
    "components",
    "fingerprint",
    "exact_duplicate",
    "duplicate_id",
    "near_duplicate",
    "patient_in_two_splits",
]
"""Why a record is in quarantine, the first that applies: `undecodable`: breaks the record's contract; `copy`: is an
augmented copy already; `description`: width, height, age, spacing or a text is out of range; `size`: of the stored
image; `mask_area`, `components`: of the lungs; `fingerprint`: was not computed from these pixels; `duplicate_id`:
another image has this id in the same source."""

REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=1)]


class RecordValidationSettings(Settings):
    """What is expected of a record, and which expectations count."""

    min_lung_fraction: _Share = 0.02
    """Of the image's area; 0 where an image may show no lung, as slices of CT do."""
    max_lung_fraction: _Share = 0.8
    min_component: _Share = 0.0005
    """Share of the image from which a connected part of the mask counts as a component."""
    max_components: _Count = 6
    min_contrast: _Share = 0.01
    """Standard deviation of the grey values, whose range is 1."""
    min_side: _Count = 32
    """Pixels, of the stored image."""
    max_side: _Count = 4096
    fingerprint_tolerance: _Share = 1e-3
    """By how much features of the fingerprint may be off what the pixels give."""
    max_age: Annotated[float, Field(gt=0)] = 130
    """Years."""
    max_text: _Count = 1024
    """Bytes of a text feature."""
    near_duplicate: Annotated[float, Field(gt=0, le=1)] = 0.91
    """Likeness (see `likeness`) from which two images are taken for one."""
    ignore: tuple[Reason, ...] = ()
    """Reasons that are not looked for; `undecodable` cannot be among them."""

    @model_validator(mode="after")
    def _is_sound(self) -> "RecordValidationSettings":
        for low, high in (("min_lung_fraction", "max_lung_fraction"), ("min_side", "max_side")):
            if getattr(self, low) > getattr(self, high):
                msg = f"{low} must not be above {high}, is {getattr(self, low):g} and {getattr(self, high):g}"
                raise ValueError(msg)
        if "undecodable" in self.ignore:
            msg = "ignore: records that are undecodable cannot be used"
            raise ValueError(msg)
        return self
