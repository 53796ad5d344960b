"""What the names of files end with, in lower case, by what the files hold; their content tells the format."""

import re
from collections.abc import Callable, Iterable
from typing import Final

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.dicom.parser import is_dicom

DICOM_EXTENSIONS: Final = (".dcm", ".dicom", ".ima")
IMAGE_EXTENSIONS: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff", *DICOM_EXTENSIONS)
MASK_EXTENSIONS: Final = (*IMAGE_EXTENSIONS, ".gif")
VOLUME_EXTENSIONS: Final = (".nii", ".nii.gz")


def stem_of(name: str) -> str:
    """Drop the extension of an image or volume only: what follows another dot may be part of a UID."""
    stem = strip_extension(name, (*IMAGE_EXTENSIONS, *VOLUME_EXTENSIONS))
    return name if stem is None else stem


def strip_extension(name: str, extensions: Iterable[str]) -> str | None:
    """Return a name without the first of some extensions that it ends with; None where it ends with none of them."""
    for extension in extensions:
        if name.lower().endswith(extension):
            return name[: -len(extension)]
    return None


def begins_as_dicom(read_head: Callable[[], bytes]) -> bool:
    """Tell by its beginning whether a file is DICOM; where it cannot be read, reading it whole says what is wrong."""
    try:
        return is_dicom(read_head())
    except ImageError:
        return True


def is_bare_dicom(name: str, read_head: Callable[[], bytes]) -> bool:
    """Tell whether a file whose name has no extension, as `IM0001` or a UID, is DICOM."""
    return re.search(r"\.\d*[^\W\d]\w*$", name) is None and begins_as_dicom(read_head)
