"""Names and conventions of the features of one record (see `schema.pbtxt` for domains and ranges).

>>> from schema import features
>>> features.IMAGE
'image'
"""

from pathlib import Path
from typing import Final

IMAGE: Final = "image"
MASK: Final = "mask"
IMAGE_ID: Final = "image_id"
PATIENT_ID: Final = "patient_id"
SOURCE: Final = "source"
FINDING: Final = "finding"
VIEW: Final = "view"
SEX: Final = "sex"
AGE: Final = "age"
PIXEL_SPACING: Final = "pixel_spacing"
WIDTH: Final = "width"
HEIGHT: Final = "height"
MEAN_INTENSITY: Final = "mean_intensity"
STD_INTENSITY: Final = "std_intensity"
LUNG_FRACTION: Final = "lung_fraction"
IS_AUGMENTED: Final = "is_augmented"
AUGMENTATION: Final = "augmentation"

TEXT: Final = (IMAGE_ID, PATIENT_ID, SOURCE, FINDING, VIEW, SEX, AUGMENTATION)
"""Text features, stored as UTF-8 bytes."""

INTEGERS: Final = (WIDTH, HEIGHT, IS_AUGMENTED)
FLOATS: Final = (AGE, PIXEL_SPACING, MEAN_INTENSITY, STD_INTENSITY, LUNG_FRACTION)

DESCRIPTIVE: Final = (SOURCE, FINDING, VIEW, SEX, AGE, PIXEL_SPACING, WIDTH, HEIGHT)
FINGERPRINT: Final = (MEAN_INTENSITY, STD_INTENSITY, LUNG_FRACTION)
STATISTICS: Final = (*DESCRIPTIVE, *FINGERPRINT, IS_AUGMENTED, AUGMENTATION)
"""What statistics are taken over: everything but the pixels and the unique names."""

UNKNOWN: Final = "unknown"
"""Stands for a `finding`, `view` or `sex` that is not known."""
AXIAL: Final = "axial"
"""`view` of a slice of a CT volume."""
UNKNOWN_AGE: Final = -1.0
UNKNOWN_SPACING: Final = -1.0
"""`pixel_spacing` of a file that does not tell."""
NOT_AUGMENTED: Final = "none"
"""`augmentation` of an original."""
TRANSFORM_SEPARATOR: Final = "+"
"""Joins the names of the transforms that fired in `augmentation`."""

SCHEMA_FILE: Final = Path(__file__).with_name("schema.pbtxt")
