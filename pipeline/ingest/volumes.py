"""CT volumes with lung masks, and how they become records: one an axial slice.

>>> sample = VolumeSample(root="clinic", name="volumes/a.nii.gz", slices=("volumes/a.nii.gz",), mask="masks/a.nii.gz",
...                       image_id="a", description=Description(patient_id="", source="clinic"))
>>> [record.image_id for record in sample.read(ReadOptions(size=512))]
['a-z0000', 'a-z0001', ...]
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.ct.hounsfield import check_hounsfield
from pipeline.ingest.formats.ct.masks import LungValues, find_lung
from pipeline.ingest.formats.dicom.image import DicomSlice, decode_slice
from pipeline.ingest.formats.dicom.parser import is_dicom
from pipeline.ingest.formats.labels import Labels
from pipeline.ingest.formats.nifti import decode_nifti
from pipeline.ingest.formats.resize import resize_image, resize_mask
from pipeline.ingest.formats.series import stack_slices
from pipeline.ingest.formats.volume import Volume, apply_lung_window
from pipeline.ingest.identity import identify_by_header, identify_by_name
from pipeline.ingest.metadata import Description
from pipeline.ingest.samples import ReadOptions
from pipeline.ingest.storage.files import join, read_file
from schema import features
from schema.record import Pixels, Record


class _Scan(NamedTuple):
    """A volume, the name of its records, and what is known of it."""

    volume: Volume
    image_id: str
    description: Description


class _Lung(NamedTuple):
    """A mask and which of its values are lung."""

    mask: Volume
    values: LungValues

    @property
    def slice_count(self) -> int:
        """Number of axial slices."""
        return self.mask.slice_count

    def slice(self, index: int) -> NDArray[np.bool_]:
        """Tell where lung is in an axial slice, counted as `Volume.slice` does."""
        return self.values.inside(self.mask.slice(index))


@dataclass(frozen=True)
class VolumeSample:
    """A CT volume in Hounsfield units, from one NIfTI file or the DICOM files of one series, with a NIfTI mask.

    Lung is the only label of the mask, or both of 1 and 2, or those that are chosen (`ReadOptions.labels`); a soft mask
    of one structure is cut half-way. Volume and mask must have the same voxels in space. Slices are displayed as
    radiologists do, in the lung window (level -600, width 1500 HU). One volume is in memory at a time.

    Attributes:
        root: The input folder.
        name: Of the volume's file or folder, below `root`, with forward slashes.
        slices: Of its files, likewise.
        mask: Of the mask, likewise.
        image_id: What the names of its records begin with, unless it is DICOM.
        description: What is known beside the voxels; a DICOM header gives what this leaves open.
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

    def read(self, options: ReadOptions) -> Iterator[Record]:
        """Read a record for each axial slice with lung and for a share of the others, from the feet to the head.

        Which of those without lung are kept follows from the seed and the image_id alone. Slices of one grey level,
        outside the scan, are left out.

        Raises:
            ImageError: Volume or mask cannot be taken, or they do not belong together; the mask is named.
        """
        scan = self._read_scan(options)
        lung = self._read_mask(scan.volume, options.labels)
        check_hounsfield(scan.volume, map(lung.slice, range(lung.slice_count)))
        for index in range(lung.slice_count):
            image_id = f"{scan.image_id}-z{index:04d}"
            lungs = _resize_lungs(lung.slice(index), options.size)
            if not lungs.any() and _draw_share(options.seed, image_id) >= options.empty_slices:
                continue
            image = resize_image(apply_lung_window(scan.volume.slice(index)), options.size)
            if image.min() < image.max():
                yield _make_record(scan, image_id, image, lungs)

    def _read_scan(self, options: ReadOptions) -> _Scan:
        if not self.slices:
            raise ImageError("holds no DICOM files; a NIfTI file would lie beside it, not in it")
        first = read_file(join(self.root, self.slices[0]))
        if not is_dicom(first):
            return _Scan(decode_nifti(first), *identify_by_name(self.image_id, self.description))
        key = options.require_patient_key()
        volume, metadata, series_uid = stack_slices(self._read_slice(name) for name in self.slices)
        identity = identify_by_header(
            series_uid,
            metadata,
            self.description,
            key,
            without_uid="is DICOM without a SeriesInstanceUID, by which series are told apart",
            without_patient="is DICOM without a PatientID that names one: name the patient in metadata.csv",
        )
        return _Scan(volume, *identity)

    def _read_slice(self, name: str) -> DicomSlice:
        try:
            return decode_slice(read_file(join(self.root, name)))
        except ImageError as error:
            raise ImageError(f"has the slice {name}, which {error}") from error

    def _read_mask(self, volume: Volume, labels: Labels | None) -> "_Lung":
        try:
            mask = decode_nifti(read_file(join(self.root, self.mask)))
            values = find_lung(mask, labels)
        except ImageError as error:
            raise ImageError(f"has the mask {self.mask}, which {error}") from error
        if not volume.matches(mask):
            raise ImageError(volume.describe_difference(mask, f"its mask {self.mask}"))
        return _Lung(mask, values)


def _resize_lungs(lungs: NDArray[np.bool_], size: int) -> Pixels:
    """Resize the mask of a slice, which may be empty: uint8 [size, size] of 0 and 255."""
    try:
        return resize_mask(np.where(lungs, np.uint8(255), np.uint8(0)), size)
    except ImageError:  # no lung is left
        return np.zeros((size, size), np.uint8)


def _draw_share(seed: int, image_id: str) -> float:
    """Return a number of [0, 1) that follows from its arguments alone."""
    digest = hashlib.sha256(f"{seed}/{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _make_record(scan: _Scan, image_id: str, image: Pixels, lungs: Pixels) -> Record:
    height, width = scan.volume.slice_shape
    description = replace(scan.description, view=features.AXIAL, pixel_spacing=scan.volume.pixel_spacing)
    return Record(image=image, mask=lungs, image_id=image_id, width=width, height=height, **vars(description))
