"""What is measured on each image, and which statistics of it are given for a slice of images.

    >>> STATISTICS["dice_p5"]
    Statistic(measure='dice', kind='quantile', quantile=0.05)

Names alone: `overlap` and `surface_distance` measure, `bootstrap` takes the statistics.
"""

from typing import Final, Literal, NamedTuple

MEASURES: Final = (
    "dice",
    "iou",
    "pixel_accuracy",
    "precision",
    "recall",
    "lung_area_error",
    "hd95",
    "hd95_px",
    "asd",
    "asd_px",
    "nsd",
    "brier",
    "expected_dice",
    "expected_dice_error",
    "review",
)
"""Of one image. `hd95` and `asd` (95 % Hausdorff and average surface distance) are shares of the image's width, their
`_px` pixels; `nsd` is the surface Dice at the tolerance of the settings; `brier` the mean squared error of the
probabilities (Brier, 1950). The last three are of what the model says of its own mask, and unknown of models that say
nothing: the Dice that it expects, by how much it is wrong, and whether somebody should look at the mask, 1 or 0."""

LOWER_IS_BETTER: Final = frozenset(
    {"lung_area_error", "hd95", "hd95_px", "asd", "asd_px", "brier", "expected_dice_error", "review"}
)

POOLED: Final = ("true_positives", "false_positives", "false_negatives")
"""Pixels of one image that are added up over a slice for the pooled Dice."""

SAID: Final = ("expected_dice", "expected_dice_error", "review")
"""Those that are NaN where a model says nothing of its masks."""

COLUMNS: Final = (*MEASURES, *POOLED)
"""Order of the numbers of one image."""


class Statistic(NamedTuple):
    """How the numbers of a slice's images become one.

    Attributes:
        measure: of each image.
        kind: `mean`; `quantile`; `pooled`: Dice of all pixels of the slice taken together; `drop`: the mean by which
            copies are worse than their originals, image by image.
        quantile: 0-1; 0 is the worst image.
    """

    measure: str
    kind: Literal["mean", "quantile", "pooled", "drop"]
    quantile: float = 0.0

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller value is the better one."""
        return self.kind == "drop" or self.measure in LOWER_IS_BETTER


def _statistics() -> dict[str, Statistic]:
    named = {}
    for measure in MEASURES:
        spread = measure in ("dice", "iou")
        named[f"{measure}_mean" if spread else measure] = Statistic(measure, "mean")
        if spread:
            for suffix, quantile in (("median", 0.5), ("p5", 0.05), ("worst", 0.0)):
                named[f"{measure}_{suffix}"] = Statistic(measure, "quantile", quantile)
    named["dice_pooled"] = Statistic("dice", "pooled")
    drops = {f"{measure}_drop": Statistic(measure, "drop") for measure in MEASURES}
    return named | drops


STATISTICS: Final[dict[str, Statistic]] = _statistics()
"""By name: `dice_mean`, `dice_median`, `dice_p5`, `dice_worst`, `dice_pooled`, `hd95`, `dice_drop`, ..."""
