"""What the Evaluator tells: the statistics of every slice of every test set.

>>> evaluation = Evaluation.read(folder)
>>> evaluation.find("test", {"is_augmented": "0"}).metrics["dice_mean"]
Estimate(value=0.957, low=0.951, high=0.963)
"""

from collections.abc import Mapping
from typing import ClassVar, Final, Literal

from schema.reports.base import Part, Report
from schema.reports.estimate import Estimate
from schema.reports.training import Training

TEST_SET: Final = "test"
"""Name of the set of the test split; others are external."""
OVERALL: Final = "overall"
"""Name of the slice that is the whole test split."""
SET_KEY: Final = "set"
IMAGES_FILE: Final = "images.csv"
"""Beside the evaluation: a row an image, with what was measured on it."""

SliceKey = Literal["is_augmented", "transform", "source", "finding", "view", "sex", "age", "lungs"]
"""`transform`: each that fired; `age`: `under-18`, `18-39`, `40-64`, `65-and-over`; `lungs`: `small`, `large`."""

Region = Literal["whole", "right_lung"]
"""The part of the images that is judged; `right_lung`: the half with the patient's right lung."""


def in_part(name: str, region: Region) -> str:
    """Add to the name of some images which part of them is judged, unless it is all."""
    return name if region == "whole" else f"{name}, {region.replace('_', ' ')}"


class SliceOfImages(Part):
    """The images of a test set that have a property."""

    slice: str
    """`overall`, or `key:value` pairs joined by commas; those of an external set begin with `set:NAME`."""
    set: str
    region: Region = "whole"
    keys: dict[SliceKey, str]
    examples: int
    patients: int
    enough: bool
    """Whether there are patients enough to judge by."""


class Slice(SliceOfImages):
    """The statistics of one slice of a test set."""

    metrics: dict[str, Estimate]
    """By the name of the statistic (`modules.evaluation.measures.STATISTICS`)."""
    baseline: dict[str, Estimate] | None
    """The same of the model that this one is compared with."""
    difference: dict[str, Estimate] | None
    """Candidate minus baseline, on the same images."""


class Evaluation(Report):
    """What was measured on the test sets."""

    FILE: ClassVar = "evaluation.json"

    baseline: str | None
    """What the candidate was compared with, in words; None if with nothing."""
    tolerance: float
    """Of the surface Dice, a share of the image's width."""
    min_patients: int
    confidence: float
    """Of the intervals, such as 0.95."""
    slices: list[Slice]
    training: Training | None = None
    """Which training of a study made the candidate; None in a run."""
    model: str | None = None
    """Folder of the candidate's artifact; None in files of earlier versions."""

    def find(self, set_: str, keys: Mapping[SliceKey, str]) -> Slice | None:
        """Return the slice of a set with these values; None where no image falls into it."""
        return next((slice_ for slice_ in self.slices if (slice_.set, slice_.keys) == (set_, keys)), None)


def slice_name(set_: str, keys: Mapping[SliceKey, str]) -> str:
    """Name a slice, such as `overall`, `is_augmented:1,source:X` and `set:NAME,is_augmented:1`."""
    named = [f"{key}:{value}" for key, value in sorted(keys.items())]
    return ",".join(named if set_ == TEST_SET else [f"{SET_KEY}:{set_}", *named]) or OVERALL
