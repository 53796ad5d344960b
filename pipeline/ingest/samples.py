"""What a layout lists, and how it becomes records.

>>> sample = ImageSample(root="clinic", name="images/a.png", masks=("masks/a.png",), image_id="a",
...                      description=Description(source="clinic"))
>>> [record] = sample.read(Reading(size=512))
>>> record.patient_id
'a'
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from pipeline.ingest.beam.memory_limit import PIXELS
from pipeline.ingest.formats.dicom.header import DicomFacts, is_dicom, read_dicom
from pipeline.ingest.formats.masks import decode_mask, resize_mask
from pipeline.ingest.formats.raster import ImageError, Pixels, decode_image, resize_image
from pipeline.ingest.identity import pseudonym
from pipeline.ingest.metadata import Description
from pipeline.ingest.pairing import Pair
from pipeline.ingest.storage.files import join, read_file, read_within

if TYPE_CHECKING:
    from schema.record import Record


@dataclass(frozen=True)
class Reading:
    """How samples are read.

    Attributes:
        size: side length of image and mask in the records, pixels.
        patient_key: of the pseudonyms of what DICOM files name; None where there is none.
        empty_slices: share of a volume's slices without lung that are kept, 0-1.
        seed: of the choice among them.
    """

    size: int
    patient_key: bytes | None = None
    empty_slices: float = 0.1
    seed: int = 0

    def key_for_dicom(self) -> bytes:
        """The key of the pseudonyms; raises ImageError where there is none."""
        if self.patient_key is None:
            raise ImageError("is DICOM, whose patient needs a key: give --patient-key FILE or set LUNGSEG_PATIENT_KEY")
        return self.patient_key


class Sample(Protocol):
    """One image or volume with its mask; small, and picklable."""

    @property
    def name(self) -> str:
        """Of the image, below the input folder, as rejections name it; no two samples share one."""

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of all that is read."""

    def read(self, reading: Reading) -> Iterator["Record"]:
        """The records: one of an image, many of a volume.

        Raises:
            ImageError: it cannot be taken; the message follows the sample's name.
        """


class Decoded(NamedTuple):
    """The pixels of an image file, uint8 [height, width], and what its header tells."""

    pixels: Pixels
    facts: DicomFacts | None = None


@dataclass(frozen=True)
class ImageSample:
    """An image file (PNG, JPEG, TIFF or DICOM) with its mask files, which are joined by OR.

    Attributes:
        root: the input folder.
        name: of the image, below `root`, with forward slashes.
        masks: of the masks, likewise; of the image's size.
        image_id: name of the record, unless the image is DICOM.
        description: what is known beside the pixels; of a DICOM file, its header gives what this leaves open.
    """

    root: str
    name: str
    masks: tuple[str, ...]
    image_id: str
    description: Description

    @classmethod
    def of(cls, root: str, pair: Pair, stem: str, description: Description) -> "ImageSample":
        """The sample of an image and its masks, paired by a stem, after which the record is called."""
        return cls(root, pair.image, pair.masks, stem, description)

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the image and its masks."""
        return tuple(join(self.root, name) for name in (self.name, *self.masks))

    def read(self, reading: Reading) -> Iterator["Record"]:
        """The one record of the image.

        Raises:
            ImageError: image or mask cannot be taken; a mask is named by its path below `root`.
        """
        from schema.record import Record

        with read_within(PIXELS, self.files[0]) as data:
            decoded = self.decode(data)
            image_id, description = self._identify(decoded.facts, reading)
            height, width = decoded.pixels.shape
            mask = reduce(np.maximum, [self._read_mask(name, decoded.pixels) for name in self.masks])
            image, mask = resize_image(decoded.pixels, reading.size), resize_mask(mask, reading.size)
        yield Record(image=image, mask=mask, image_id=image_id, width=width, height=height, **vars(description))

    def decode(self, data: bytes) -> Decoded:
        """Decodes the image file.

        Raises:
            ImageError: it cannot be taken.
        """
        return Decoded(*read_dicom(data)) if is_dicom(data) else Decoded(decode_image(data))

    def fits(self, mask: Pixels, image: Pixels) -> bool:
        """Whether a mask has the size that one of this image has."""
        return mask.shape == image.shape

    def _identify(self, facts: DicomFacts | None, reading: Reading) -> tuple[str, Description]:
        """Name and description of the record. A UID identifies a person, and file names are often made of it."""
        if facts is None:
            return self.image_id, replace(self.description, patient_id=self.description.patient_id or self.image_id)
        key = reading.key_for_dicom()
        if not facts.instance_uid:
            raise ImageError("is DICOM without a SOPInstanceUID, by which images are told apart")
        if not (self.description.patient_id or facts.patient_id):
            raise ImageError("is DICOM without a PatientID: name the patient in metadata.csv")
        header = Description(
            patient_id=pseudonym(key, facts.patient_id),
            source=self.description.source,
            view=facts.view,
            sex=facts.sex,
            age=facts.age,
            pixel_spacing=facts.pixel_spacing,
        )
        return pseudonym(key, facts.instance_uid), self.description.or_else(header)

    def _read_mask(self, name: str, image: Pixels) -> Pixels:
        try:
            mask = decode_mask(read_file(join(self.root, name)))
        except ImageError as error:
            raise ImageError(f"has the mask {name}, which {error}") from error
        if not self.fits(mask, image):
            raise ImageError(f"is {_size(image)}, but its mask {name} is {_size(mask)}")
        return mask


def _size(pixels: Pixels) -> str:
    height, width = pixels.shape
    return f"{width} x {height}"
