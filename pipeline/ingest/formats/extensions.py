"""What the names of files end with, in lower case, by what the files hold; their content tells the format."""

from typing import Final

MASK_EXTENSIONS: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
DICOM_EXTENSIONS: Final = (".dcm",)
IMAGE_EXTENSIONS: Final = (*MASK_EXTENSIONS, *DICOM_EXTENSIONS)
VOLUME_EXTENSIONS: Final = (".nii", ".nii.gz")


def stem_of(name: str) -> str:
    """Drop the extension of an image or volume only: what follows another dot may be part of a UID."""
    for extension in (*IMAGE_EXTENSIONS, *VOLUME_EXTENSIONS):
        if name.lower().endswith(extension):
            return name[: -len(extension)]
    return name
