"""Segments grey images with an exported model.

>>> segmenter = Segmenter("serving/3")
>>> [mask] = segmenter.segment([image])
>>> mask.shape == image.shape
True
"""

import os
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import tensorflow as tf

from schema.record import Pixels

_BATCH: Final = 8
"""Images a request."""
_SIGNATURE: Final = "serving_default"
_INPUT: Final = "image_bytes"


class ModelError(ValueError):
    """A folder that holds no model of this pipeline; one line says why."""


class Segmenter:
    """A loaded model."""

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

    def segment(self, images: Sequence[Pixels]) -> list[Pixels]:
        """Segment images, a few at a time.

        Args:
            images: Grey values, uint8 [height, width] each.

        Returns:
            Masks of the same sizes, uint8, 255 inside the lungs and 0 outside.
        """
        masks: list[Pixels] = []
        for start in range(0, len(images), _BATCH):
            encoded = [cv2.imencode(".png", image)[1].tobytes() for image in images[start : start + _BATCH]]
            # Through the model, which owns the variables that the signature reads.
            answer = self._model.signatures[_SIGNATURE](**{_INPUT: tf.constant(encoded)})
            masks += [_decode(mask) for mask in answer["mask_png"].numpy()]
        return masks


def _decode(png: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
