"""Finds images in record files, has the model segment them, and draws what it made of them."""

import base64
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import tensorflow as tf

from components.reporter.evidence import ReportError
from schema import features
from schema.record import Pixels, Record, decode

WIDTH: Final = 320
"""Of the pictures, pixels."""
TRUTH: Final = (60, 225, 255)
"""Colour of the true outline, BGR: a light yellow, so that the two differ in lightness as well."""
PREDICTION: Final = (110, 0, 214)
"""Colour of the predicted outline, BGR: a dark pink."""

_BATCH: Final = 8
_JPEG: Final = (cv2.IMWRITE_JPEG_QUALITY, 82)

Segment = Callable[[Sequence[Pixels]], list[Pixels]]
"""From grey images, uint8 [height, width], to masks of the same sizes, 0 or 255."""


@dataclass(frozen=True)
class Pictures:
    """Of one image, as `data:` addresses.

    Attributes:
        image: the image.
        truth: its true mask.
        prediction: the predicted mask.
        overlay: the image with both outlines.
    """

    image: str
    truth: str
    prediction: str
    overlay: str


def find_records(files: Sequence[str], image_ids: Collection[str]) -> dict[str, Record]:
    """Reads the records of some images, one after the other, and no further than to the last of them.

    Args:
        files: TFRecords, compressed where their name ends in `.gz`.
        image_ids: of the records that are wanted.

    Raises:
        ReportError: one of them is in no file.
    """
    found: dict[str, Record] = {}
    missing = set(image_ids)
    for serialized in _read(files, sorted(missing)) if missing else ():
        record = decode(serialized)
        found[record.image_id] = record
        missing.discard(record.image_id)
        if not missing:
            return found
    if missing:
        msg = (
            f"image '{min(missing)}' was evaluated but is not among the examples: "
            "the evaluation and the examples must be those of one run"
        )
        raise ReportError(msg)
    return found


def _read(files: Sequence[str], image_ids: Sequence[str]) -> Iterator[bytes]:
    """The serialized records of some images; of all others only the name is parsed."""
    wanted = tf.constant(list(image_ids))
    spec = {features.IMAGE_ID: tf.io.FixedLenFeature([], tf.string)}

    def is_wanted(serialized: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(tf.io.parse_single_example(serialized, spec)[features.IMAGE_ID] == wanted)

    for file in files:
        records = tf.data.TFRecordDataset(file, compression_type="GZIP" if file.endswith(".gz") else "")
        yield from records.filter(is_wanted).as_numpy_iterator()


def load_model(model_dir: str) -> Segment:
    """Loads an exported model."""
    loaded = tf.saved_model.load(model_dir)

    def segment(images: Sequence[Pixels]) -> list[Pixels]:
        masks: list[Pixels] = []
        for start in range(0, len(images), _BATCH):
            encoded = [cv2.imencode(".png", image)[1].tobytes() for image in images[start : start + _BATCH]]
            # Through `loaded`, which owns the variables that the signature reads.
            answer = loaded.signatures["serving_default"](image_bytes=tf.constant(encoded))
            masks += [_decode(mask) for mask in answer["mask_png"].numpy()]
        return masks

    return segment


def draw_all(records: Mapping[tuple[str, str], Record], segment: Segment) -> dict[tuple[str, str], Pictures]:
    """Segments the images and draws each.

    Args:
        records: by set and image_id.
        segment: the model.
    """
    masks = segment([record.image for record in records.values()])
    return {
        key: draw(record.image, record.mask, mask) for (key, record), mask in zip(records.items(), masks, strict=True)
    }


def draw(image: Pixels, truth: Pixels, prediction: Pixels) -> Pictures:
    """Draws one image, brought to `WIDTH`.

    Args:
        image: uint8 [height, width].
        truth: 0 or 255, of the same shape.
        prediction: likewise.
    """
    image, truth, prediction = (_scale(one) for one in (image, truth, prediction))
    truth, prediction = (np.asarray((one > 127) * 255, np.uint8) for one in (truth, prediction))
    overlay = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    # The wider below the narrower, so that both are seen where they agree.
    for mask, colour, thickness in ((truth, TRUTH, 4), (prediction, PREDICTION, 2)):
        outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(overlay, outlines, -1, colour, thickness, cv2.LINE_AA)
    return Pictures(
        image=_address(image, ".jpg", _JPEG),
        truth=_address(truth, ".png", (cv2.IMWRITE_PNG_BILEVEL, 1)),
        prediction=_address(prediction, ".png", (cv2.IMWRITE_PNG_BILEVEL, 1)),
        overlay=_address(np.asarray(overlay, np.uint8), ".jpg", _JPEG),
    )


def _scale(pixels: Pixels) -> Pixels:
    height, width = pixels.shape
    size = (WIDTH, max(1, round(height * WIDTH / width)))
    shrinks = width > WIDTH
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8)


def _address(pixels: Pixels, extension: str, settings: Sequence[int]) -> str:
    kind = {".jpg": "image/jpeg", ".png": "image/png"}[extension]
    encoded = cv2.imencode(extension, pixels, list(settings))[1].tobytes()
    return f"data:{kind};base64,{base64.b64encode(encoded).decode()}"


def _decode(png: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
