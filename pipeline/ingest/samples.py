"""What a layout lists, and how it becomes records.

>>> sample = ImageSample(root="clinic", name="images/a.png", masks=("masks/a.png",), image_id="a",
...                      description=Description(patient_id="", source="clinic"))
>>> [record] = sample.read(ReadOptions(size=512))
>>> record.patient_id
'a'
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import cv2
import numpy as np

from pipeline.ingest.formats.base import Decoded, DicomMetadata, EmptyMaskError, ImageError
from pipeline.ingest.formats.labels import Labels
from pipeline.ingest.formats.masks import decode_mask
from pipeline.ingest.formats.registry import decode_image
from pipeline.ingest.formats.resize import resize_image, resize_mask
from pipeline.ingest.identity import Identity, identify_by_header, identify_by_name
from pipeline.ingest.metadata import Description
from pipeline.ingest.pairing import Pair
from pipeline.ingest.storage.files import join, read_file
from pipeline.ingest.storage.memory_limit import PIXELS, read_within
from schema.record import Pixels, Record


@dataclass(frozen=True)
class ReadOptions:
    """How samples are read.

    Attributes:
        size: Side length of image and mask in the records, pixels.
        patient_key: Of the pseudonyms of what DICOM files name; None where there is none.
        empty_slices: Share of a volume's slices without lung that are kept, 0-1.
        seed: Of the choice among them.
        labels: Of the masks, those that are lung; None where masks need no choice.
    """

    size: int
    patient_key: bytes | None = None
    empty_slices: float = 0.1
    seed: int = 0
    labels: Labels | None = None

    def require_patient_key(self) -> bytes:
        """Return the key of the pseudonyms, which DICOM files need.

        Raises:
            ImageError: There is none.
        """
        if self.patient_key is None:
            raise ImageError("is DICOM, whose patient needs a key: give --patient-key FILE or set LUNGSEG_PATIENT_KEY")
        return self.patient_key


class Sample(Protocol):
    """One image or volume with its mask; small, and picklable."""

    @property
    def name(self) -> str:
        """Name of the image below the input folder, as rejections have it; no two samples share one."""

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of all that is read."""

    def read(self, options: ReadOptions) -> Iterator[Record]:
        """Read the records: one of an image, many of a volume.

        Raises:
            ImageError: It cannot be taken; the message follows the sample's name.
        """


@dataclass(frozen=True)
class ImageSample:
    """An image file (PNG, JPEG, TIFF or DICOM) with its mask files, which are joined by OR.

    Attributes:
        root: The input folder.
        name: Of the image, below `root`, with forward slashes.
        masks: Of the masks, likewise; of the image's size.
        image_id: Name of the record, unless the image is DICOM.
        description: What is known beside the pixels; of a DICOM file, its header gives what this leaves open.
    """

    root: str
    name: str
    masks: tuple[str, ...]
    image_id: str
    description: Description

    @classmethod
    def from_pair(cls, root: str, pair: Pair, stem: str, description: Description) -> "ImageSample":
        """Make the sample of an image and its masks, paired by a stem, after which the record is called."""
        return cls(root, pair.image, pair.masks, stem, description)

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the image and its masks."""
        return tuple(join(self.root, name) for name in (self.name, *self.masks))

    def read(self, options: ReadOptions) -> Iterator[Record]:
        """Read the one record of the image.

        Raises:
            ImageError: Image or mask cannot be taken; a mask is named by its path below `root`.
        """
        with read_within(PIXELS, self.files[0]) as data:
            decoded = self.decode(data)
            image_id, description = self._identify(decoded.metadata, options)
            height, width = decoded.pixels.shape
            mask = self._join_masks(decoded.pixels, options.labels)
            image, mask = resize_image(decoded.pixels, options.size), resize_mask(mask, options.size)
        yield Record(image=image, mask=mask, image_id=image_id, width=width, height=height, **vars(description))

    def decode(self, data: bytes) -> Decoded:
        """Decode the image file.

        Raises:
            ImageError: It cannot be taken.
        """
        return decode_image(data)

    def mask_fits(self, mask: Pixels, image: Pixels) -> bool:
        """Tell whether a mask has the image's size, or its aspect ratio at another one, as far as pixels allow."""
        (height, width), (image_height, image_width) = mask.shape, image.shape
        if height == image_height or width == image_width:
            return mask.shape == image.shape
        return abs(width * image_height - height * image_width) <= max(image.shape)

    def _identify(self, metadata: DicomMetadata | None, options: ReadOptions) -> Identity:
        if metadata is None:
            return identify_by_name(self.image_id, self.description)
        return identify_by_header(
            metadata.instance_uid,
            metadata,
            self.description,
            options.require_patient_key(),
            without_uid="is DICOM without a SOPInstanceUID, by which images are told apart",
            without_patient="is DICOM without a PatientID that names one: name the patient in metadata.csv",
        )

    def _join_masks(self, image: Pixels, labels: Labels | None) -> Pixels:
        """Read all masks, of which some may be empty: after a pneumonectomy one lung is missing."""
        masks, empty = [], None
        for name in self.masks:
            try:
                masks.append(self._read_mask(name, image, labels))
            except EmptyMaskError as error:
                empty = empty or error
        if empty and not masks:
            raise empty
        shape = max(mask.shape for mask in masks)
        return reduce(np.maximum, (_enlarge(mask, shape) for mask in masks))

    def _read_mask(self, name: str, image: Pixels, labels: Labels | None) -> Pixels:
        try:
            mask = decode_mask(read_file(join(self.root, name)), labels)
        except EmptyMaskError as error:
            raise EmptyMaskError(f"has the mask {name}, which {error}") from error
        except ImageError as error:
            raise ImageError(f"has the mask {name}, which {error}") from error
        if not self.mask_fits(mask, image):
            raise ImageError(f"is {_format_size(image)}, but its mask {name} is {_format_size(mask)}")
        return mask


def _enlarge(mask: Pixels, shape: tuple[int, ...]) -> Pixels:
    """Return a mask at another size, which no pixel of it gets lost at."""
    return mask if mask.shape == shape else np.asarray(cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST))


def _format_size(pixels: Pixels) -> str:
    height, width = pixels.shape
    return f"{width} x {height}"
