"""Ranks masks by how well models agree with them that never saw them.

>>> rank_masks(tables)[["rank", "image_id", "dice"]].iloc[0].tolist()
[1, 'p12-0', 0.412]
"""

from collections.abc import Sequence
from typing import Final

import pandas as pd

from schema import features
from schema.reports.evaluation import TEST_SET

NAMES: Final = (features.IMAGE_ID, features.PATIENT_ID, features.SOURCE, features.FINDING)
DISAGREEMENT: Final = ("dice", "hd95", "hd95_px", "lung_area_error")


def rank_masks(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rank the masks of original test images, the one that models agree with least first.

    Args:
        tables: What each training's model measured, a row an image, as the Evaluator writes them.

    Returns:
        A row an image: `rank`, from 1; its names; the means over trainings of Dice, HD95 (a share of the width, and
        pixels) and the error of the lung's area, the mask being the truth; `lung_fraction` of the mask; `trainings`, by
        how many models it was measured. Where no Dice is known, it comes last.
    """
    images = pd.concat(tables, ignore_index=True)
    originals = images[(images["set"] == TEST_SET) & (images[features.IS_AUGMENTED] == 0)]
    of_image = originals.groupby(list(NAMES), sort=True)
    means = of_image[[*DISAGREEMENT, features.LUNG_FRACTION]].mean()
    ranked = means.assign(trainings=of_image.size()).reset_index()
    ranked = ranked.sort_values(["dice", features.IMAGE_ID], ignore_index=True)
    ranked.insert(0, "rank", ranked.index + 1)
    return ranked
