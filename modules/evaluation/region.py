"""Which part of an image is judged, where hospitals draw different things.

>>> columns_of_right_lung(mask, right_at_left=True)
slice(0, 251, None)
"""

import numpy as np

from modules.lungs import LEFT, RIGHT, split_lungs
from schema.record import Pixels


def columns_of_right_lung(mask: Pixels, *, right_at_left: bool) -> slice:
    """Find the part of an image with the patient's right lung.

    It ends in the middle between the middles of the two lungs of the mask, or in the middle of the image where the mask
    does not have two that lie side by side and are of similar size.

    Args:
        mask: The true one, uint8 [height, width], not 0 inside.
        right_at_left: Whether the patient's right is at the left of the image; not so where it is mirrored.
    """
    width = mask.shape[1]
    lungs = split_lungs(mask[np.newaxis] > 0)
    border = width / 2
    if lungs.are_told_apart:
        border = sum(float(np.nonzero(lungs.labels[0] == lung)[1].mean() + 0.5) for lung in (RIGHT, LEFT)) / 2
    return slice(0, round(border)) if right_at_left else slice(round(border), width)
