"""What the names of files end with, in lower case, by what the files hold; their content tells the format."""

import re
from collections.abc import Callable
from typing import Final

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.dicom.parser import is_dicom

MASK_EXTENSIONS: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
DICOM_EXTENSIONS: Final = (".dcm", ".dicom", ".ima")
IMAGE_EXTENSIONS: Final = (*MASK_EXTENSIONS, *DICOM_EXTENSIONS)
VOLUME_EXTENSIONS: Final = (".nii", ".nii.gz")


def stem_of(name: str) -> str:
    """Drop the extension of an image or volume only: what follows another dot may be part of a UID."""
    for extension in (*IMAGE_EXTENSIONS, *VOLUME_EXTENSIONS):
        if name.lower().endswith(extension):
            return name[: -len(extension)]
    return name


def begins_as_dicom(read_head: Callable[[], bytes]) -> bool:
    """Tell by its beginning whether a file is DICOM; where it cannot be read, reading it whole says what is wrong."""
    try:
        return is_dicom(read_head())
    except ImageError:
        return True


def is_bare_dicom(name: str, read_head: Callable[[], bytes]) -> bool:
    """Tell whether a file whose name has no extension, as `IM0001` or a UID, is DICOM."""
    return re.search(r"\.\d*[^\W\d]\w*$", name) is None and begins_as_dicom(read_head)
