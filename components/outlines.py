"""Draws outlines of masks over grey images.

>>> draw_outlines(image, Outline(truth, (60, 225, 255), thickness=4), Outline(prediction, (110, 0, 214))).shape
(512, 512, 3)
"""

from typing import NamedTuple

import cv2
import numpy as np

from schema.record import Pixels


class Outline(NamedTuple):
    """The outline of a mask, holes included, as it is drawn.

    Attributes:
        mask: 0 outside and anything else inside, uint8 [height, width].
        colour: three channels, each 0-255, in the order that the picture is to have: RGB or, as OpenCV writes it, BGR.
        thickness: pixels.
        smooth: whether the line is blended with what is below it; otherwise its pixels have the colour and no other.
    """

    mask: Pixels
    colour: tuple[int, int, int]
    thickness: int = 1
    smooth: bool = True


def draw_outlines(image: Pixels, *outlines: Outline) -> Pixels:
    """Draw outlines over a grey image, the first at the bottom.

    Args:
        image: uint8 [height, width]; stays as it is.
        *outlines: Of masks of the same shape.

    Returns:
        uint8 [height, width, 3], channels in the order of the colours.
    """
    picture = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    for outline in outlines:
        contours, _ = cv2.findContours(outline.mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        line = cv2.LINE_AA if outline.smooth else cv2.LINE_8
        cv2.drawContours(picture, contours, -1, outline.colour, outline.thickness, line)
    return np.asarray(picture, np.uint8)
