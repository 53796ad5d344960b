"""Chooses the images on which the arms of a study differ most from the reference.

>>> choose(sets, comparison.arms)[0].arm
'wide'
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from components.study_comparison.tables import MeasuredSet
from modules.evaluation.measures import COLUMNS
from schema import features
from schema.reports.study import Arm

SHOWN: Final = 3
"""Images a set."""


@dataclass(frozen=True)
class Case:
    """An image, and the arm that differs most from the reference on it.

    Attributes:
        set: `test`, or the name of an external set.
        image_id: Of an original.
        fold: Whose models measured it; those of the first tell of external sets. None without folds.
        arm: The name of the arm.
        dice: Its Dice, 0-1: the mean over seeds.
        reference: The same of the reference.
    """

    set: str
    image_id: str
    fold: int | None
    arm: str
    dice: float
    reference: float


def choose(measured: MeasuredSet, arms: list[Arm]) -> list[Case]:
    """Choose the originals of a set on which an arm's mean Dice over seeds differs most from the reference's."""
    dice = measured.values[..., COLUMNS.index("dice")].mean(axis=(1, 2))
    difference = np.abs(dice[1:] - dice[0])
    originals = np.flatnonzero(measured.images[features.IS_AUGMENTED] == 0)
    order = originals[np.argsort(-difference[:, originals].max(axis=0), kind="stable")]
    cases = []
    for row in order[:SHOWN].tolist():
        arm = 1 + int(difference[:, row].argmax())
        image = measured.images.iloc[row]
        cases.append(
            Case(
                set=measured.name,
                image_id=image[features.IMAGE_ID],
                fold=image["fold"],
                arm=arms[arm].name,
                dice=float(dice[arm, row]),
                reference=float(dice[0, row]),
            )
        )
    return cases
