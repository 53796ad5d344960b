"""Stacks the slices of a DICOM series to a volume.

>>> series = stack_slices(decode_slice(read_file(path)) for path in paths)
>>> series.volume.slice(0)
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.formats.base import DicomMetadata, ImageError
from pipeline.ingest.formats.dicom.image import DicomSlice
from pipeline.ingest.formats.volume import MAX_VOXELS, Volume, check_geometry

_LPS_TO_RAS: Final = np.array([-1.0, -1.0, 1.0])
_SAME_DIRECTION: Final = 1e-3
_SAME_SPACING: Final = 1e-3  # mm
_UNEVEN: Final = 0.05  # share by which gaps between slices may differ; a missing slice doubles one


class Series(NamedTuple):
    """A CT series: its voxels in Hounsfield units, and what the header of its first slice tells."""

    volume: Volume
    metadata: DicomMetadata
    series_uid: str


def stack_slices(slices: Iterable[DicomSlice]) -> Series:
    """Sort and stack slices by their position along the normal of their planes.

    Args:
        slices: Of one series, in any order.

    Raises:
        ImageError: They are of several series, patients, sizes or directions, of one position, or one is missing.
    """
    stack = list(_limit(slices))
    if len(stack) < 2:
        raise ImageError("has one slice: a series of two or more is needed")
    first = stack[0]
    _check_alike(stack)
    normal = np.cross(*first.orientation)
    stack.sort(key=lambda slice_: float(slice_.position @ normal))
    step = (stack[-1].position - stack[0].position) / (len(stack) - 1)
    _check_gaps(np.diff([slice_.position @ normal for slice_ in stack]))
    affine = np.eye(4)
    rows, columns = first.spacing
    along_rows, along_columns = first.orientation
    # PS3.3 C.7.6.2.1.1: the column index runs along a row.
    axes = np.column_stack([along_rows * columns, along_columns * rows, step, stack[0].position])
    affine[:3] = axes * _LPS_TO_RAS[:, None]
    voxels: NDArray[np.int16] = np.stack([slice_.hounsfield for slice_ in stack]).transpose(2, 1, 0)
    check_geometry(voxels.shape, affine)
    return Series(Volume(voxels, affine), first.metadata, first.series_uid)


def _limit(slices: Iterable[DicomSlice]) -> Iterable[DicomSlice]:
    """Yield slices until they are too many for the memory."""
    voxels = 0
    for slice_ in slices:
        voxels += slice_.hounsfield.size
        if voxels > MAX_VOXELS:
            raise ImageError(f"has more than {MAX_VOXELS} voxels")
        yield slice_


def _check_alike(stack: list[DicomSlice]) -> None:
    first = stack[0]
    if len({slice_.series_uid for slice_ in stack}) > 1:
        raise ImageError(f"mixes {len({slice_.series_uid for slice_ in stack})} series")
    if len({slice_.metadata.patient_id for slice_ in stack}) > 1:
        raise ImageError("mixes slices of several patients")
    if len({slice_.hounsfield.shape for slice_ in stack}) > 1:
        raise ImageError("has slices of differing sizes")
    if any(np.abs(slice_.orientation - first.orientation).max() > _SAME_DIRECTION for slice_ in stack):
        raise ImageError("has slices of differing directions")
    if any(np.abs(slice_.spacing - first.spacing).max() > _SAME_SPACING for slice_ in stack):
        raise ImageError("has slices of differing pixel spacing")


def _check_gaps(gaps: NDArray[np.float64]) -> None:
    usual = float(np.median(gaps))
    if gaps.min() <= _SAME_SPACING:
        raise ImageError("has two slices at one position")
    if np.abs(gaps - usual).max() > _UNEVEN * usual:
        raise ImageError(f"has slices {gaps.min():.2f} to {gaps.max():.2f} mm apart: one may be missing")
