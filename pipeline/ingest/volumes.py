"""CT volumes with lung masks, and how they become records: one an axial slice.

>>> sample = VolumeSample(root="clinic", name="volumes/a.nii.gz", slices=("volumes/a.nii.gz",), mask="masks/a.nii.gz",
...                       image_id="a", description=Description(patient_id="", source="clinic"))
>>> [record.image_id for record in sample.read(Reading(size=512))]
['a-z0000', 'a-z0001', ...]
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.formats.dicom.header import DicomSlice, is_dicom, read_slice
from pipeline.ingest.formats.masks import resize_mask
from pipeline.ingest.formats.nifti import read_nifti
from pipeline.ingest.formats.raster import ImageError, Pixels, resize_image
from pipeline.ingest.formats.series import stack_slices
from pipeline.ingest.formats.volume import Volume, lung_window
from pipeline.ingest.identity import pseudonym
from pipeline.ingest.metadata import Description
from pipeline.ingest.samples import Reading
from pipeline.ingest.storage.files import join, read_file

if TYPE_CHECKING:
    from schema.record import Record

_VIEW: Final = "axial"


class _Scan(NamedTuple):
    """A volume, the name of its records, and what is known of it."""

    volume: Volume
    image_id: str
    description: Description


@dataclass(frozen=True)
class VolumeSample:
    """A CT volume in Hounsfield units, from one NIfTI file or the DICOM files of one series, with a NIfTI mask.

    Labels above 0 are lung; volume and mask must have the same voxels in space. Slices are displayed as radiologists
    do, in the lung window (level -600, width 1500 HU). One volume is in memory at a time.

    Attributes:
        root: the input folder.
        name: of the volume's file or folder, below `root`, with forward slashes.
        slices: of its files, likewise.
        mask: of the mask, likewise.
        image_id: what the names of its records begin with, unless it is DICOM.
        description: what is known beside the voxels; a DICOM header gives what this leaves open.
    """

    root: str
    name: str
    slices: tuple[str, ...]
    mask: str
    image_id: str
    description: Description

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the volume and its mask."""
        return tuple(join(self.root, name) for name in (*self.slices, self.mask))

    def read(self, reading: Reading) -> Iterator["Record"]:
        """A record for each axial slice with lung and for a share of the others, from the feet to the head.

        Which of those without lung are kept follows from the seed and the image_id alone. Slices of one grey level,
        outside the scan, are left out.

        Raises:
            ImageError: volume or mask cannot be taken, or they do not belong together; the mask is named.
        """
        scan = self._read_scan(reading)
        mask = self._read_mask(scan.volume)
        for index in range(mask.slice_count):
            image_id = f"{scan.image_id}-z{index:04d}"
            lungs = _resize_lungs(mask.slice(index) > 0, reading.size)
            if not lungs.any() and _draw(reading.seed, image_id) >= reading.empty_slices:
                continue
            image = resize_image(lung_window(scan.volume.slice(index)), reading.size)
            if image.min() < image.max():
                yield _record(scan, image_id, image, lungs)

    def _read_scan(self, reading: Reading) -> _Scan:
        first = read_file(join(self.root, self.slices[0]))
        if not is_dicom(first):
            description = replace(self.description, patient_id=self.description.patient_id or self.image_id)
            return _Scan(read_nifti(first), self.image_id, description)
        key = reading.key_for_dicom()
        volume, facts, series_uid = stack_slices(self._read_slice(name) for name in self.slices)
        if not series_uid:
            raise ImageError("is DICOM without a SeriesInstanceUID, by which series are told apart")
        if not (self.description.patient_id or facts.patient_id):
            raise ImageError("is DICOM without a PatientID")
        header = Description(
            patient_id=pseudonym(key, facts.patient_id),
            source=self.description.source,
            sex=facts.sex,
            age=facts.age,
        )
        return _Scan(volume, pseudonym(key, series_uid), self.description.or_else(header))

    def _read_slice(self, name: str) -> DicomSlice:
        try:
            return read_slice(read_file(join(self.root, name)))
        except ImageError as error:
            raise ImageError(f"has the slice {name}, which {error}") from error

    def _read_mask(self, volume: Volume) -> Volume:
        try:
            mask = read_nifti(read_file(join(self.root, self.mask)))
            lung = sum(np.count_nonzero(mask.slice(index) > 0) for index in range(mask.slice_count))
            if lung in (0, np.prod(mask.voxels.shape)):
                raise ImageError("covers the whole volume" if lung else "is empty")
        except ImageError as error:
            raise ImageError(f"has the mask {self.mask}, which {error}") from error
        if not volume.matches(mask):
            raise ImageError(f"is {_size(volume)}, but its mask {self.mask} is {_size(mask)} or lies elsewhere")
        return mask


def _resize_lungs(lungs: NDArray[np.bool_], size: int) -> Pixels:
    """The mask of a slice, which may be empty: uint8 [size, size] of 0 and 255."""
    try:
        return resize_mask(np.where(lungs, np.uint8(255), np.uint8(0)), size)
    except ImageError:  # no lung is left
        return np.zeros((size, size), np.uint8)


def _draw(seed: int, image_id: str) -> float:
    """A number of [0, 1) that follows from its arguments alone."""
    digest = hashlib.sha256(f"{seed}/{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _size(volume: Volume) -> str:
    height, width = volume.slice_shape
    return f"{width} x {height} x {volume.slice_count}"


def _record(scan: _Scan, image_id: str, image: Pixels, lungs: Pixels) -> "Record":
    from schema.record import Record

    height, width = scan.volume.slice_shape
    description = replace(scan.description, view=_VIEW, pixel_spacing=scan.volume.pixel_spacing)
    return Record(image=image, mask=lungs, image_id=image_id, width=width, height=height, **vars(description))
