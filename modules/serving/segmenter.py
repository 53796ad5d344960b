"""Segments grey images with an exported model.

>>> segmenter = Segmenter("serving/3")
>>> [segmented] = segmenter.segment([image])
>>> segmented.mask.shape == image.shape
True
"""

import os
from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import imagecodecs
import numpy as np
import tensorflow as tf

from schema.record import Pixels

_BATCH: Final = 8
"""Images a request."""
_SIGNATURE: Final = "serving_default"
_INPUT: Final = "image_bytes"
_EXPECTED_DICE: Final = "expected_dice"
_OF_SIDES: Final = "expected_dice_of_sides"
_DOUBT: Final = "review_reason"


class ModelError(ValueError):
    """A folder that holds no model of this pipeline; one line says why."""


class Segmented(NamedTuple):
    """What a model says of an image.

    Attributes:
        mask: Of the image's size, uint8, 255 inside the lungs and 0 outside.
        expected_dice: What the Dice of the mask would probably be, 0-1; None where the model does not tell.
        doubt: Why somebody should look at the mask; empty where nobody need.
        expected_dice_of_sides: As `expected_dice`, of what lies at the left and at the right of the image.
    """

    mask: Pixels
    expected_dice: float | None
    doubt: str
    expected_dice_of_sides: tuple[float, float] | None = None


class Segmenter:
    """A loaded model.

    Attributes:
        tells_quality: Whether the model says how good its masks are; those of before do not.
    """

    def __init__(self, model_dir: str | os.PathLike[str]) -> None:
        """Load the model.

        Args:
            model_dir: Folder of a SavedModel, as `export_model` writes it.

        Raises:
            ModelError: It cannot be loaded, or does not take images.
        """
        try:
            self._model = tf.saved_model.load(os.fspath(model_dir))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ModelError(f"'{model_dir}' cannot be loaded as a model: {str(error).splitlines()[0]}") from error
        serve = self._model.signatures.get(_SIGNATURE)
        if serve is None or _INPUT not in serve.structured_input_signature[1]:
            raise ModelError(
                f"'{model_dir}' is no model of this pipeline: it has no signature {_SIGNATURE} that takes {_INPUT}"
            )
        self.tells_quality: Final = {_EXPECTED_DICE, _DOUBT} <= set(serve.structured_outputs)

    def segment(self, images: Sequence[Pixels]) -> list[Segmented]:
        """Segment images, a few at a time.

        Args:
            images: Grey values, uint8 [height, width] each.
        """
        segmented: list[Segmented] = []
        for start in range(0, len(images), _BATCH):
            # Without compression, which takes ten times as long: nobody keeps them.
            encoded = [imagecodecs.spng_encode(image, level=0) for image in images[start : start + _BATCH]]
            # Through the model, which owns the variables that the signature reads.
            answer = self._model.signatures[_SIGNATURE](**{_INPUT: tf.constant(encoded)})
            masks = [_decode(mask) for mask in answer["mask_png"].numpy()]
            dice: Sequence[float | None] = [None] * len(masks)
            of_sides: Sequence[tuple[float, float] | None] = [None] * len(masks)
            doubts = [b""] * len(masks)
            if self.tells_quality:
                dice, doubts = answer[_EXPECTED_DICE].numpy().tolist(), answer[_DOUBT].numpy().tolist()
            if _OF_SIDES in answer:
                of_sides = [(left, right) for left, right in answer[_OF_SIDES].numpy().tolist()]
            segmented += [
                Segmented(mask, expected, doubt.decode(), sides)
                for mask, expected, doubt, sides in zip(masks, dice, doubts, of_sides, strict=True)
            ]
        return segmented


def _decode(png: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
