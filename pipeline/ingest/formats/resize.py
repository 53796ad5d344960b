"""Brings images and masks to one square size.

The aspect ratio is not kept, so that a mask is taken back to the original by its width and height alone.
"""

import cv2
import numpy as np

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.masks import binarize
from schema.record import Pixels


def resize_image(pixels: Pixels, size: int) -> Pixels:
    """Resize grey values to `size` x `size`, uint8 [size, size]; what has that size is returned as it is.

    Shrinking averages over areas, which does not alias; anything else interpolates linearly.
    """
    if pixels.shape == (size, size):
        return pixels
    shrinks = min(pixels.shape) >= size
    resized = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def resize_mask(mask: Pixels, size: int) -> Pixels:
    """Resize a mask of 0 and 255 to `size` x `size`: a pixel is lung where at least half of its area is.

    A mask that has that size is returned as it is.

    Raises:
        ImageError: No lung is left.
    """
    square = (size, size)
    resized = mask if mask.shape == square else binarize(cv2.resize(mask, square, interpolation=cv2.INTER_AREA), 127)
    if not resized.any():
        raise ImageError(f"is empty at {size} x {size}")
    return resized
