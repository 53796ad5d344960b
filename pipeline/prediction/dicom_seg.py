"""Masks as DICOM segmentations, which refer to the images that they are of.

>>> encode_seg(frames, lungs_are_told_apart, headers, Algorithm("3"))
b'...DICM...'

A segmentation belongs to the study of its source: it names the same patient, as its header does.
"""

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from modules.lungs import LEFT, LUNG, RIGHT
from pipeline.ingest.formats.dicom.parser import get_text
from pipeline.prediction.formats import FormatError
from pipeline.prediction.measurements import Scale

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.sr.coding import Code

_NAME: Final = "lungseg"
_SERIES_NUMBER: Final = 1000  # behind those of the scanner
_NEEDED: Final = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_MAY_BE_EMPTY: Final = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""What a segmentation takes over from its source, and has empty where that lacks it (type 2)."""

_NOMINAL_MM: Final = 1.0
"""Thickness of a radiograph, which has none."""


def check_headers(headers: Sequence[Dataset], *, is_series: bool) -> None:
    """Refuse sources that a segmentation cannot refer to.

    Raises:
        FormatError: A header lacks what identifies the image, its series and study, or a series its place in space.
    """
    needed = (*_NEEDED, "FrameOfReferenceUID") if is_series else _NEEDED
    other = "nifti" if is_series else "png"
    for header in headers:
        missing = [keyword for keyword in needed if not get_text(header, keyword)]
        if missing:
            raise FormatError(f"has no {missing[0]}, which a DICOM SEG refers to: take --format {other}")


def encode_seg(
    labels: NDArray[np.uint8], *, told_apart: bool, headers: Sequence[Dataset], scale: Scale, model_version: str
) -> bytes:
    """Encode a mask: a segment for each lung where they are told apart, otherwise one of both.

    Args:
        labels: As `Lungs.labels`, [slices, rows, columns] as the source stores its pixels.
        told_apart: Whether labels tell right from left.
        headers: Of the source's slices, in the same order.
        scale: Of the source.
        model_version: Of the model that made the mask.

    Returns:
        A DICOM file.

    Raises:
        FormatError: The source's headers do not allow it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd values in the source, and of a mask that is empty
            segmentation = _make_segmentation(labels, told_apart, headers, scale, model_version)
            # Of an image without a place in space, which may leave open how the patient was turned (type 2).
            segmentation.PatientOrientation = headers[0].get("PatientOrientation") or ""
            file = io.BytesIO()
            segmentation.save_as(file)
    except Exception as error:  # its message may quote the header
        raise FormatError(f"has a header that a DICOM SEG cannot be made for ({type(error).__name__})") from None
    return file.getvalue()


def _make_segmentation(
    labels: NDArray[np.uint8], told_apart: bool, headers: Sequence[Dataset], scale: Scale, model_version: str
) -> "Segmentation":
    # Takes a second to import.
    from highdicom import UID, PixelMeasuresSequence
    from highdicom.seg import Segmentation, SegmentationTypeValues

    measures = None
    if scale.row_mm is not None and scale.column_mm is not None:
        measures = PixelMeasuresSequence([scale.row_mm, scale.column_mm], _thickness(headers[0], scale), scale.slice_mm)
    return Segmentation(
        source_images=[_complete(header, scale) for header in headers],
        pixel_array=labels,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=_describe_segments(told_apart, model_version),
        series_instance_uid=UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=UID(),
        instance_number=1,
        manufacturer=_NAME,
        manufacturer_model_name=_NAME,
        software_versions=model_version,
        device_serial_number=model_version,
        pixel_measures=measures,
        content_label="LUNGS",
        content_description="Lungs",
        series_description="Lung segmentation",
    )


def _complete(header: Dataset, scale: Scale) -> Dataset:
    """Return a copy of a header with what highdicom takes to be there, which real ones leave out."""
    completed = Dataset()
    completed.update(header)
    for keyword in _MAY_BE_EMPTY:
        if keyword not in completed:
            setattr(completed, keyword, "")
    completed.SliceThickness = _thickness(header, scale)
    if not get_text(completed, "FrameOfReferenceUID") and "FrameOfReferenceUID" in completed:
        del completed.FrameOfReferenceUID
    return completed


def _thickness(header: Dataset, scale: Scale) -> float:
    """Return the thickness of slices, without which readers take no spacing."""
    try:
        return float(header.SliceThickness) or scale.slice_mm or _NOMINAL_MM
    except (AttributeError, TypeError, ValueError):
        return scale.slice_mm or _NOMINAL_MM


def _describe_segments(told_apart: bool, model_version: str) -> "list[SegmentDescription]":
    from pydicom.sr.codedict import codes

    if not told_apart:
        return [_describe_segment(LUNG, "Lung", None, model_version)]
    return [
        _describe_segment(RIGHT, "Right lung", codes.SCT.Right, model_version),
        _describe_segment(LEFT, "Left lung", codes.SCT.Left, model_version),
    ]


def _describe_segment(number: int, label: str, side: "Code | None", model_version: str) -> "SegmentDescription":
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    description = SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.Lung,
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=_NAME, family=codes.DCM.ArtificialIntelligence, version=model_version
        ),
    )
    if side is not None:
        coded = CodedConcept.from_code(side)
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [coded]
    return description
