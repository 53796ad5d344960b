"""Which images the report shows: drawn at random, the best and the worst, copies, and the worst of other hospitals.

The draw follows from what was measured, so the same evaluation shows the same images.
"""

import hashlib
import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from schema import features
from schema.reports.evaluation import TEST_SET

SHOWN: Final = 3
"""Images a group."""

_Row = dict[Hashable, Any]
"""What was measured on an image, as pandas gives it."""


@dataclass(frozen=True)
class Case:
    """An image to show.

    Attributes:
        group: Heading under which it is shown.
        set: `test`, or the name of an external one.
        image_id: Of the image.
        original_id: Of the original that a copy was made from; the image's own otherwise.
        dice: 0-1.
        hd95: A share of the image's width; None where it is not known.
        hd95_px: The same in pixels.
        facts: What is known of the image, in words.
        original: That of a copy, shown beside it.
    """

    group: str
    set: str
    image_id: str
    original_id: str
    dice: float
    hd95: float | None
    hd95_px: float | None
    facts: tuple[str, ...]
    original: "Case | None" = None

    @property
    def key(self) -> tuple[str, str]:
        """The image's name among those of all sets."""
        return self.set, self.image_id


def choose(images: pd.DataFrame) -> list[Case]:
    """Choose what to show.

    Args:
        images: A row an image, as the Evaluator writes them; those without Dice are never chosen.
    """
    measured = images.dropna(subset=["dice"]).sort_values(["set", "image_id"], ignore_index=True)
    draw = np.random.default_rng(_seed(measured))
    test = measured[measured["set"] == TEST_SET]
    originals = test[test[features.IS_AUGMENTED] == 0]
    ranked = originals.sort_values(["dice", "image_id"])
    cases = [
        *_cases("Drawn at random", _sample(originals, draw)),
        *_cases("Best", ranked[::-1][:SHOWN]),
        *_cases("Worst", ranked[:SHOWN]),
        *_copies(test, originals, draw),
    ]
    for name, of_set in measured[measured["set"] != TEST_SET].groupby("set", sort=True):
        alone = of_set[of_set[features.IS_AUGMENTED] == 0]
        worst = (alone if len(alone) else of_set).sort_values(["dice", "image_id"])[:SHOWN]
        cases += _cases(f"Worst of external set {name}", worst)
    return cases


def _copies(test: pd.DataFrame, originals: pd.DataFrame, draw: np.random.Generator) -> list[Case]:
    by_id = {case.image_id: case for case in _cases("Original", originals)}
    copies = test[(test[features.IS_AUGMENTED] == 1) & test["original_id"].isin(list(by_id))]
    chosen = _sample(copies, draw).to_dict("records")
    return [_case("Augmented copies", row, by_id[row["original_id"]]) for row in chosen]


def _seed(measured: pd.DataFrame) -> int:
    content = measured[["set", "image_id", "dice"]].to_csv(index=False)
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "big")


def _sample(rows: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    return rows.iloc[np.sort(draw.permutation(len(rows))[:SHOWN])]


def _cases(group: str, rows: pd.DataFrame) -> list[Case]:
    return [_case(group, row) for row in rows.to_dict("records")]


def _case(group: str, row: _Row, original: Case | None = None) -> Case:
    return Case(
        group=group,
        set=row["set"],
        image_id=row["image_id"],
        original_id=row["original_id"],
        dice=row["dice"],
        hd95=_known(row["hd95"]),
        hd95_px=_known(row["hd95_px"]),
        facts=_facts(row),
        original=original,
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _facts(row: _Row) -> tuple[str, ...]:
    facts = [row["source"]]
    facts += [row[name] for name in (features.FINDING, features.VIEW, features.SEX) if row[name] != features.UNKNOWN]
    if row[features.AGE] >= 0:
        facts.append(f"{row[features.AGE]:.0f} years")
    if row[features.IS_AUGMENTED]:
        facts.append(row[features.AUGMENTATION].replace(features.TRANSFORM_SEPARATOR, ", "))
    return tuple(facts)
