"""What a DICOM header tells of a patient and an image, in fixed forms.

Identifiers name a person: they must be turned into pseudonyms (`pipeline.ingest.identity`) before they go anywhere.
"""

from collections.abc import Sequence
from typing import Any, Final

from pydicom import Dataset

from pipeline.ingest.formats.base import DicomMetadata
from pipeline.ingest.formats.dicom.parser import get_text
from pipeline.ingest.plausibility import is_plausible_age, parse_age_string, square_spacing
from schema import features

_SEXES: Final = {"F": "female", "M": "male", "O": "other"}
_VIEWS: Final = ("AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO")  # PS3.3 C.8.1.3.1.1 and C.8.7.1


def read_metadata(dataset: Dataset) -> DicomMetadata:
    """Read what a header tells of patient and image; what it tells in no known form is not known."""
    view = get_text(dataset, "ViewPosition").upper()
    return DicomMetadata(
        patient_id=get_text(dataset, "PatientID"),
        instance_uid=get_text(dataset, "SOPInstanceUID"),
        age=_read_age(get_text(dataset, "PatientAge")),
        sex=_SEXES.get(get_text(dataset, "PatientSex").upper(), features.UNKNOWN),
        view=view if view in _VIEWS else features.UNKNOWN,
        pixel_spacing=_read_spacing(dataset.get("PixelSpacing") or dataset.get("ImagerPixelSpacing")),
    )


def _read_age(text: str) -> float:
    age = parse_age_string(text)
    return age if age is not None and is_plausible_age(age) else features.UNKNOWN_AGE


def _read_spacing(element: Sequence[Any] | None) -> float:
    """Return one number for the distances between rows and between columns."""
    try:
        rows, columns = (float(number) for number in element or ())
    except (TypeError, ValueError):
        return features.UNKNOWN_SPACING
    return square_spacing(rows, columns)
