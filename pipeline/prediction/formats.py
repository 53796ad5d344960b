"""The formats that masks are written in, and which input can be given which.

>>> choose_format("nifti", OutputFormat.AUTO)
<OutputFormat.NIFTI: 'nifti'>
"""

from typing import Final

from pipeline.cli_options import OutputFormat
from pipeline.ingest.formats.base import ImageError
from schema.reports.prediction import Kind


class FormatError(ImageError):
    """An input whose mask the format that is asked for cannot hold."""


EXTENSIONS: Final = {OutputFormat.PNG: ".png", OutputFormat.NIFTI: ".nii.gz", OutputFormat.DICOM_SEG: ".dcm"}
"""Of the files with masks."""
VOLUMES: Final[tuple[Kind, ...]] = ("nifti", "series")
"""The kinds that hold a CT volume."""

_WORDS: Final[dict[Kind, str]] = {
    "raster": "is no DICOM",
    "radiograph": "is a radiograph",
    "nifti": "is NIfTI",
    "series": "is a CT series",
}
_CHOICE: Final[dict[Kind, tuple[OutputFormat, ...]]] = {
    "raster": (OutputFormat.PNG,),
    "radiograph": (OutputFormat.DICOM_SEG, OutputFormat.PNG),
    "nifti": (OutputFormat.NIFTI,),
    "series": (OutputFormat.DICOM_SEG, OutputFormat.NIFTI),
}
_LACKING: Final = {
    OutputFormat.PNG: "a mask of whose slices fits in no PNG",
    OutputFormat.NIFTI: "which has no place in space as NIfTI tells it",
    OutputFormat.DICOM_SEG: "so no patient and study that a DICOM SEG could refer to",
}


def choose_format(kind: Kind, wanted: OutputFormat) -> OutputFormat:
    """Choose the format of an input's mask: what is wanted, or the input's own.

    Raises:
        FormatError: The wanted format cannot hold the mask of such an input.
    """
    possible = _CHOICE[kind]
    if wanted is OutputFormat.AUTO:
        return possible[0]
    if wanted not in possible:
        others = " or ".join(format_.value for format_ in possible)
        raise FormatError(f"{_WORDS[kind]}, {_LACKING[wanted]}: take --format {others}, or auto")
    return wanted
