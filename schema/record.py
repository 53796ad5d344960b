"""One record: an image with its lung mask and what is known of both.

>>> record = Record(image=pixels, mask=lungs, image_id="a", patient_id="p1", source="clinic",
...                 width=2000, height=1800)
>>> decode(encode(record)).patient_id
'p1'
"""

import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from schema import features
from schema.example import Example

Pixels = NDArray[np.uint8]

MAX_PIXELS: Final = 2**26
"""Of an image. Larger ones are refused from the header, before anything is decoded; a radiograph has 2**20 to 2**25."""

# What pays, for a 512-pixel radiograph and its mask. OpenCV's own setting writes them in 2.3 and 0.5 ms and reads them
# in 1.6 and 1.0 ms, at 140 and 3.6 kB. Differences to the row above are read faster than those to the pixel before, and
# noisy grey values have no runs to look for: 2.0 and 1.2 ms, 139 kB. A mask has nothing but runs: 0.35 and 0.5 ms,
# 2.3 kB. Setting a level, even the lowest, more than doubles the time to write.
PNG_SETTINGS: Final = {
    features.IMAGE: [
        cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP,
        cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY,
    ],
    features.MASK: [
        cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE,
        cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE,
    ],
}  # fmt: skip


_COPY: Final = "-copy"
_OF_COPY: Final = re.compile(rf"{_COPY}[0-9]+$")


class RecordError(ValueError):
    """A record that breaks the contract; the message names the record and the field."""

    def __init__(self, image_id: str, field: str, problem: str) -> None:
        super().__init__(f"record '{image_id}', field '{field}': {problem}")


@dataclass(frozen=True, eq=False)
class Record:
    """An image, its mask and their description.

    Attributes:
        image: grey values, uint8 [height, width].
        mask: 255 inside the lungs and 0 outside, uint8 [height, width], same shape as `image`.
        image_id: name of the record, unique in a data set.
        patient_id: pseudonym of the patient; the key by which data is split.
        source: hospital or data set.
        width: of the original file, pixels.
        height: of the original file, pixels.
        finding: diagnosis as given by the data set, or "unknown".
        view: projection (PA, AP ...), or "unknown".
        sex: "female", "male", "other" or "unknown".
        age: years, -1 where not known.
        pixel_spacing: between neighbouring pixels of the original file, mm; -1 where not known.
        is_augmented: whether this is an augmented copy.
        augmentation: "none", or the names of the transforms that made this copy, joined by "+".
    """

    image: Pixels
    mask: Pixels
    image_id: str
    patient_id: str
    source: str
    width: int
    height: int
    finding: str = features.UNKNOWN
    view: str = features.UNKNOWN
    sex: str = features.UNKNOWN
    age: float = features.UNKNOWN_AGE
    pixel_spacing: float = features.UNKNOWN_SPACING
    is_augmented: bool = False
    augmentation: str = features.NOT_AUGMENTED

    def name_copy(self, copy: int) -> str:
        """Return the `image_id` of a copy of this record, numbered from 1."""
        return f"{self.image_id}{_COPY}{copy}"

    @property
    def original_id(self) -> str:
        """The `image_id` of the record that a copy was made from; an original's own."""
        return self.image_id.rpartition(_COPY)[0] if self.is_augmented else self.image_id

    def fingerprint(self) -> dict[str, float]:
        """Return mean and standard deviation of the grey values, and the share of lung pixels, each 0-1."""
        return {
            **describe_grey_values(self.image),
            features.LUNG_FRACTION: cv2.countNonZero(self.mask) / self.mask.size,
        }

    def check(self) -> None:
        """Raise RecordError where pixels or texts break the contract."""
        for name in (features.IMAGE, features.MASK):
            pixels: Pixels = getattr(self, name)
            if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.size == 0:
                raise RecordError(
                    self.image_id, name, f"must be uint8 [height, width], is {pixels.dtype} {list(pixels.shape)}"
                )
        if self.mask.shape != self.image.shape:
            problem = f"is {_size(self.mask)}, but the image is {_size(self.image)}"
            raise RecordError(self.image_id, features.MASK, problem)
        if np.count_nonzero(self.mask == 255) != cv2.countNonZero(self.mask):
            stray = self.mask[(self.mask != 0) & (self.mask != 255)]
            raise RecordError(self.image_id, features.MASK, f"must hold 0 and 255 only, also holds {stray[0]}")
        for name in features.TEXT:
            if not getattr(self, name):
                raise RecordError(self.image_id, name, "is empty")
        if not self.is_augmented and (ending := _OF_COPY.search(self.image_id)):
            problem = f"ends with '{ending[0]}', as the names of augmented copies do: give the image another name"
            raise RecordError(self.image_id, features.IMAGE_ID, problem)
        if self.is_augmented != (self.augmentation != features.NOT_AUGMENTED):
            problem = f"is '{self.augmentation}', but is_augmented is {int(self.is_augmented)}"
            raise RecordError(self.image_id, features.AUGMENTATION, problem)


def describe_grey_values(image: Pixels) -> dict[str, float]:
    """Return mean and standard deviation of the grey values, uint8 [height, width], each 0-1."""
    mean, deviation = cv2.meanStdDev(image)
    return {features.MEAN_INTENSITY: float(mean[0, 0]) / 255, features.STD_INTENSITY: float(deviation[0, 0]) / 255}


def encode(record: Record) -> bytes:
    """Serialize a record as tf.train.Example; the fingerprint features are computed here.

    Raises:
        RecordError: the record breaks the contract.
    """
    record.check()
    example = Example()
    feature = example.features.feature
    for name in (features.IMAGE, features.MASK):
        feature[name].bytes_list.value.append(_to_png(name, getattr(record, name)))
    for name in features.TEXT:
        feature[name].bytes_list.value.append(getattr(record, name).encode())
    for name in features.INTEGERS:
        feature[name].int64_list.value.append(int(getattr(record, name)))
    described = {features.AGE: record.age, features.PIXEL_SPACING: record.pixel_spacing}
    for name, value in {**described, **record.fingerprint()}.items():
        feature[name].float_list.value.append(value)
    return bytes(example.SerializeToString(deterministic=True))


def decode(serialized: bytes) -> Record:
    """Read one serialized tf.train.Example.

    Raises:
        RecordError: it is no tf.train.Example, lacks a feature, or breaks the contract.
    """
    return StoredRecord(serialized).decode()


class RecordNames(NamedTuple):
    """Whose image a record holds; `features.UNKNOWN` where that cannot be read."""

    image_id: str = features.UNKNOWN
    patient_id: str = features.UNKNOWN
    source: str = features.UNKNOWN


class StoredRecord:
    """A serialized record, parsed once: its names can be read even where it breaks the contract.

    >>> stored = StoredRecord(encode(record))
    >>> stored.names().patient_id, stored.fingerprint()["lung_fraction"]
    ('p1', [0.25])
    """

    def __init__(self, serialized: bytes) -> None:
        """Parse a serialized tf.train.Example.

        Raises:
            RecordError: It is none.
        """
        example = Example()
        try:
            example.ParseFromString(serialized)
        except Exception as error:  # protobuf's DecodeError differs between its implementations
            raise RecordError(features.UNKNOWN, "(all)", "is no serialized tf.train.Example") from error
        self._feature = example.features.feature

    def decode(self) -> Record:
        """Decode the whole record.

        Raises:
            RecordError: It lacks a feature, or breaks the contract.
        """
        reader = _Reader(self._feature)
        record = Record(
            image=reader.pixels(features.IMAGE),
            mask=reader.pixels(features.MASK),
            is_augmented=bool(reader.scalar(features.IS_AUGMENTED, "int64_list")),
            age=float(reader.scalar(features.AGE, "float_list")),
            pixel_spacing=float(reader.scalar(features.PIXEL_SPACING, "float_list")),
            width=int(reader.scalar(features.WIDTH, "int64_list")),
            height=int(reader.scalar(features.HEIGHT, "int64_list")),
            **{name: reader.text(name) for name in features.TEXT},
        )
        record.check()
        return record

    def names(self) -> RecordNames:
        """Read the names, as far as they can be read; bytes that are no UTF-8 become U+FFFD."""
        texts = {name: self._values(name, "bytes_list") for name in RecordNames._fields}
        return RecordNames(**{name: str(values[0], "utf-8", "replace") for name, values in texts.items() if values})

    def fingerprint(self) -> dict[str, list[float]]:
        """Read the values of each feature of the fingerprint as they are stored: one each, if the record is sound."""
        return {name: self._values(name, "float_list") for name in features.FINGERPRINT}

    def _values(self, name: str, kind: str) -> list[Any]:
        # Asking a map of protobuf for what is not there would put it there.
        return list(getattr(self._feature[name], kind).value) if name in self._feature else []


class _Reader:
    """Reads single values out of an Example, with errors that name the record and the field."""

    def __init__(self, feature: Any) -> None:
        self._feature = feature
        self._image_id = features.UNKNOWN
        self._image_id = self.text(features.IMAGE_ID)

    def scalar(self, name: str, kind: str) -> Any:
        if name not in self._feature:
            raise RecordError(self._image_id, name, "is missing")
        actual = self._feature[name].WhichOneof("kind")
        if actual != kind:
            raise RecordError(self._image_id, name, f"must be a {kind}, is {actual or 'empty'}")
        values = getattr(self._feature[name], kind).value
        if len(values) != 1:
            raise RecordError(self._image_id, name, f"must hold one value, holds {len(values)}")
        return values[0]

    def text(self, name: str) -> str:
        try:
            return str(self.scalar(name, "bytes_list"), "utf-8")
        except UnicodeDecodeError as error:
            raise RecordError(self._image_id, name, "is no UTF-8 text") from error

    def pixels(self, name: str) -> Pixels:
        encoded = np.frombuffer(self.scalar(name, "bytes_list"), np.uint8)
        decoded = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
        if decoded is None:
            raise RecordError(self._image_id, name, "cannot be decoded as an image")
        return decoded  # type: ignore[return-value]  # `Record.check` refuses other types and shapes


def _to_png(name: str, pixels: Pixels) -> bytes:
    return cv2.imencode(".png", pixels, PNG_SETTINGS[name])[1].tobytes()


def _size(pixels: Pixels) -> str:
    height, width = pixels.shape
    return f"{width} x {height}"
