"""Masks and overlays as PNG."""

import io
from typing import Final

import cv2
import numpy as np
from PIL import Image

from components.outlines import Outline, draw_outlines
from schema.record import Pixels

_OUTLINE: Final = (0, 220, 255)  # BGR
_GREYS: Final = range(255)


def encode_mask(mask: Pixels) -> bytes:
    """Encode a mask, uint8 [height, width] of 0 and 255."""
    return cv2.imencode(".png", mask)[1].tobytes()


def encode_overlay(image: Pixels, mask: Pixels) -> bytes:
    """Encode an image with the outline of its mask, in 255 greys and the outline's colour; white loses a level.

    A byte a pixel that is not compressed is smaller than three that are, and takes a fifth of the time.
    """
    outline = len(_GREYS)
    picture = Image.fromarray(_outline(np.minimum(image, outline - 1), mask, (outline,) * 3)[..., 0], "P")
    picture.putpalette([*np.repeat(_GREYS, 3), *reversed(_OUTLINE)])
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", compress_level=0)
    return encoded.getvalue()


def outlined(image: Pixels, mask: Pixels) -> Pixels:
    """Return the image with the mask's outline, uint8 [height, width, 3] BGR, from two uint8 [height, width]."""
    return _outline(image, mask, _OUTLINE)


def _outline(image: Pixels, mask: Pixels, colour: tuple[int, int, int]) -> Pixels:
    thickness = max(1, min(image.shape) // 256)
    return draw_outlines(image, Outline(mask, colour, thickness, smooth=False))


def widest_slice(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int:
    """Return the slice of a mask, bool [slices, rows, columns], that shows most of the lungs."""
    return int(np.count_nonzero(mask, axis=(1, 2)).argmax())
