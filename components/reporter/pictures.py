"""Finds images in record files, has the model segment them, and draws what it made of them."""

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from components.artifacts import read_records
from components.outlines import Outline, draw_outlines
from components.reporter.evidence import ReportError
from modules.serving.segmenter import Segmenter
from schema import features
from schema.example import Example
from schema.record import Pixels, Record, decode

WIDTH: Final = 320
"""Of the pictures, pixels."""
TRUTH: Final = (60, 225, 255)
"""Colour of the true outline, BGR: a light yellow, so that the two differ in lightness as well."""
PREDICTION: Final = (110, 0, 214)
"""Colour of the predicted outline, BGR: a dark pink."""

_JPEG: Final = (cv2.IMWRITE_JPEG_QUALITY, 82)


@dataclass(frozen=True)
class Pictures:
    """Of one image, as `data:` addresses.

    Attributes:
        image: The image.
        truth: Its true mask.
        prediction: The predicted mask.
        overlay: The image with both outlines.
    """

    image: str
    truth: str
    prediction: str
    overlay: str


def find_records(files: Sequence[str], image_ids: Collection[str]) -> dict[str, Record]:
    """Read the records of some images, and no further than to the last of them; of others only the name is looked at.

    Args:
        files: TFRecords, compressed where their name ends in `.gz`.
        image_ids: Of the records that are wanted.

    Raises:
        ReportError: One of them is in no file.
    """
    found: dict[str, Record] = {}
    missing = set(image_ids)
    records = read_records(files)
    while missing and (serialized := next(records, None)) is not None:
        image_id = _image_id(serialized)
        if image_id in missing:
            found[image_id] = decode(serialized)
            missing.remove(image_id)
    if missing:
        raise ReportError(
            f"image '{min(missing)}' was evaluated but is not among the examples: "
            "the evaluation and the examples must be those of one run"
        )
    return found


def _image_id(serialized: bytes) -> str:
    (value,) = Example.FromString(serialized).features.feature[features.IMAGE_ID].bytes_list.value
    return str(value, "utf-8")


def draw_all(records: Mapping[tuple[str, str], Record], segmenter: Segmenter) -> dict[tuple[str, str], Pictures]:
    """Segment the images and draw each.

    Args:
        records: By set and image_id.
        segmenter: The model.
    """
    answers = segmenter.segment([record.image for record in records.values()])
    return {
        key: draw(record.image, record.mask, answer.mask)
        for (key, record), answer in zip(records.items(), answers, strict=True)
    }


def draw(image: Pixels, truth: Pixels, prediction: Pixels) -> Pictures:
    """Draw one image, brought to `WIDTH`.

    Args:
        image: uint8 [height, width].
        truth: 0 or 255, of the same shape.
        prediction: Likewise.
    """
    image, truth, prediction = (_scale(pixels) for pixels in (image, truth, prediction))
    truth, prediction = (np.asarray((mask > 127) * 255, np.uint8) for mask in (truth, prediction))
    # The wider below the narrower, so that both are seen where they agree.
    overlay = draw_outlines(image, Outline(truth, TRUTH, thickness=4), Outline(prediction, PREDICTION, thickness=2))
    return Pictures(
        image=_address(image, ".jpg", _JPEG),
        truth=_address(truth, ".png", (cv2.IMWRITE_PNG_BILEVEL, 1)),
        prediction=_address(prediction, ".png", (cv2.IMWRITE_PNG_BILEVEL, 1)),
        overlay=_address(overlay, ".jpg", _JPEG),
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
