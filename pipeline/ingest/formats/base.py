"""What the readers of all formats share: the form of an image, the error, and the limit of pixels."""

from dataclasses import dataclass
from typing import NamedTuple

from schema.record import MAX_PIXELS, Pixels


class ImageError(ValueError):
    """A file that cannot be taken; the message is one line that follows the file's name: "is empty"."""


class EmptyMaskError(ImageError):
    """A mask without lung."""


@dataclass(frozen=True)
class DicomMetadata:
    """What the header of a DICOM file tells of its image.

    Attributes:
        patient_id: As in the header, so it names a person: to be turned into a pseudonym; "" where there is none.
        instance_uid: The same of the image.
        age: Years, -1 where not known.
        sex: "female", "male", "other" or "unknown".
        view: ViewPosition (PA, AP ...), or "unknown".
        pixel_spacing: Mm, -1 where not known or where pixels are not square.
    """

    patient_id: str
    instance_uid: str
    age: float
    sex: str
    view: str
    pixel_spacing: float


class Decoded(NamedTuple):
    """An image: uint8 [height, width], 0 black and 255 white, of more than one value, and what a DICOM header tells."""

    pixels: Pixels
    metadata: DicomMetadata | None = None


def refuse_large(width: int, height: int) -> None:
    """Raise ImageError where an image has more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"is too large: {width} x {height} is more than {MAX_PIXELS} pixels")
