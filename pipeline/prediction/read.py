"""Reads an input whole, by the readers of the ingest and with their refusals.

>>> scan = read(input_)
>>> [scan.image(index).shape for index in range(scan.shape[0])]
[(2048, 2500)]
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.ct.hounsfield import check_hounsfield
from pipeline.ingest.formats.dicom.image import DicomSlice, decode_slice
from pipeline.ingest.formats.dicom.parser import get_text, hide_values, is_dicom, parse_header
from pipeline.ingest.formats.nifti import decode_nifti
from pipeline.ingest.formats.registry import decode_image
from pipeline.ingest.formats.series import stack_slices
from pipeline.ingest.formats.volume import Volume, apply_lung_window
from pipeline.ingest.plausibility import is_plausible_spacing
from pipeline.ingest.storage.files import read_file
from pipeline.prediction.inputs import Input
from pipeline.prediction.measurements import Scale
from schema.record import Pixels

_LATERAL_VIEWS: Final = ("LL", "RL", "LLO", "RLO", "LLD", "RLD")


@dataclass(frozen=True)
class Radiograph:
    """A radiograph.

    Attributes:
        pixels: Grey values, uint8 [height, width].
        header: Of DICOM, without its pixels; it names the patient.
        scale: Of the pixels.
        right_at_left: Whether the patient's right is at the image's left; None where neither side is, as in a lateral
            view.
    """

    pixels: Pixels
    header: Dataset | None = None
    scale: Scale = field(default_factory=Scale)
    right_at_left: bool | None = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of slices (one), rows and columns."""
        return (1, *self.pixels.shape)

    def image(self, _: int) -> Pixels:
        """Return the one image."""
        return self.pixels


@dataclass(frozen=True)
class Scan:
    """A CT volume.

    Attributes:
        volume: In Hounsfield units.
        headers: Of a DICOM series, those of its slices, without pixels, along the third axis of the volume's voxels;
            they name the patient.
    """

    volume: Volume
    headers: tuple[Dataset, ...] = ()
    right_at_left: bool | None = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of slices, rows and columns."""
        return (self.volume.slice_count, *self.volume.slice_shape)

    @property
    def scale(self) -> Scale:
        """Of the voxels."""
        slices, rows, columns = self.volume.spacing
        voxel_mm3 = float(abs(np.linalg.det(self.volume.affine[:3, :3])))
        return Scale(row_mm=rows, column_mm=columns, slice_mm=slices, voxel_mm3=voxel_mm3, at="patient")

    def image(self, index: int) -> Pixels:
        """Return an axial slice, counted from the feet, in the lung window."""
        return apply_lung_window(self.volume.slice(index))

    def to_voxels(self, slices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Put axial slices, [slices, rows, columns] as displayed, into the order of the volume's voxels."""
        voxels = np.zeros(self.volume.voxels.shape, np.uint8)
        target = Volume(voxels, self.volume.affine)
        for index, plane in enumerate(slices):
            target.slice(index)[...] = plane  # a view of the voxels
        return voxels


def read(input_: Input) -> Radiograph | Scan:
    """Read an input.

    Raises:
        ImageError: It cannot be taken; the message follows its name.
    """
    if input_.kind == "series":
        return _read_series(input_.files)
    [file] = input_.files
    data = read_file(file)
    if input_.kind == "nifti":
        return _check_scan(Scan(decode_nifti(data)))
    pixels = decode_image(data).pixels
    if not is_dicom(data):
        return Radiograph(pixels)
    with hide_values():
        header = parse_header(data)
        return Radiograph(pixels, header, _read_scale(header), _is_right_at_left(header))


def _read_series(files: Sequence[str]) -> Scan:
    placed: list[tuple[NDArray[np.float64], Dataset]] = []

    def read_slices() -> Iterator[DicomSlice]:
        for file in files:
            try:
                data = read_file(file)
                slice_ = decode_slice(data)
                with hide_values():
                    placed.append((slice_.position, parse_header(data)))
            except ImageError as error:
                raise ImageError(f"has the slice {os.path.basename(file)}, which {error}") from error
            normals.append(np.cross(*slice_.orientation))
            yield slice_

    normals: list[NDArray[np.float64]] = []
    volume = stack_slices(read_slices()).volume
    # As the slices are stacked.
    placed.sort(key=lambda place: float(place[0] @ normals[0]))
    return _check_scan(Scan(volume, tuple(header for _, header in placed)))


def _check_scan(scan: Scan) -> Scan:
    """Refuse values that are not in Hounsfield units; where lung is, is not known yet."""
    nowhere = np.zeros(scan.volume.slice_shape, np.bool_)
    check_hounsfield(scan.volume, (nowhere for _ in range(scan.volume.slice_count)))
    return scan


def _read_scale(header: Dataset) -> Scale:
    """Read how far apart pixels are: in the patient where that is known, otherwise at the detector."""
    for keyword, place in (("PixelSpacing", "patient"), ("ImagerPixelSpacing", "detector")):
        try:
            rows, columns = (float(number) for number in header.get(keyword) or ())
        except (TypeError, ValueError):
            continue
        if is_plausible_spacing(rows) and is_plausible_spacing(columns):
            return Scale(row_mm=rows, column_mm=columns, at="patient" if place == "patient" else "detector")
    return Scale()


def _is_right_at_left(header: Dataset) -> bool | None:
    """Tell by the direction of the rows where the patient's right is; without one, images are shown face to face."""
    along_rows = str(next(iter(header.get("PatientOrientation") or ()), ""))
    if along_rows:
        return {"L": True, "R": False}.get(along_rows[0])
    return None if get_text(header, "ViewPosition").upper() in _LATERAL_VIEWS else True
