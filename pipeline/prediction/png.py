"""Masks and overlays as PNG."""

from typing import Final

import cv2
import numpy as np

from components.outlines import Outline, draw_outlines
from schema.record import Pixels

_OUTLINE: Final = (0, 220, 255)  # BGR


def encode_mask(mask: Pixels) -> bytes:
    """Encode a mask, uint8 [height, width] of 0 and 255."""
    return cv2.imencode(".png", mask)[1].tobytes()


def encode_overlay(image: Pixels, mask: Pixels) -> bytes:
    """Encode an image with the outline of its mask."""
    return cv2.imencode(".png", outlined(image, mask))[1].tobytes()


def outlined(image: Pixels, mask: Pixels) -> Pixels:
    """Return the image with the mask's outline, uint8 [height, width, 3] BGR, from two uint8 [height, width]."""
    thickness = max(1, min(image.shape) // 256)
    return draw_outlines(image, Outline(mask, _OUTLINE, thickness, smooth=False))


def widest_slice(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int:
    """Return the slice of a mask, bool [slices, rows, columns], that shows most of the lungs."""
    return int(np.count_nonzero(mask, axis=(1, 2)).argmax())
