"""What a training is called, and what the Trainer tells of it."""

from typing import ClassVar

from schema.reports.base import Part, Report


class Training(Part):
    """Names one training of a study."""

    arm: str
    seed: int
    fold: int | None = None
    """Which part of the patients it is tested on, from 1; None where the split is not turned round."""


class TrainingHistory(Report):
    """The figures of a training, one an epoch."""

    FILE: ClassVar = "history.json"

    figures: dict[str, list[float | None]]
    """By name: `loss`, `accuracy`, `dice`, and the same of validation behind `val_`; None where one is not finite."""

    @property
    def best_epoch(self) -> int | None:
        """The number, from 1, of the epoch with the highest validation Dice, whose weights are kept."""
        dice = [(value, -epoch) for epoch, value in enumerate(self.figures.get("val_dice", []), 1) if value is not None]
        return -max(dice)[1] if dice else None
