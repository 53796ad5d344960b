"""Which slices of an evaluation the report looks at, and what they are called.

>>> [slice_.slice for slice_ in populations(evaluation, "test")]
['overall', 'is_augmented:0', 'is_augmented:1']
"""

from collections.abc import Mapping
from typing import Final

from schema import features
from schema.reports.evaluation import TEST_SET, Evaluation, Region, Slice, SliceKey, in_part

ORIGINALS: Final[dict[SliceKey, str]] = {"is_augmented": "0"}
COPIES: Final[dict[SliceKey, str]] = {"is_augmented": "1"}
DICE: Final = "dice_mean"
"""The statistic that slices are told apart by."""

_SUBGROUPS: Final[dict[SliceKey, str]] = {
    "source": "Source",
    "finding": "Finding",
    "view": "View",
    "sex": "Sex",
    "age": "Age",
    "lungs": "Lungs",
}
"""Keys that tell for whom the model is worse, with the headings of their slices."""


def external_sets(evaluation: Evaluation) -> list[str]:
    """Return the names of the external sets, sorted."""
    return sorted({slice_.set for slice_ in evaluation.slices} - {TEST_SET})


def originals(evaluation: Evaluation, set_: str) -> Slice | None:
    """Return the originals of a set, or all of its images where copies are not told apart."""
    return evaluation.find(set_, ORIGINALS) or evaluation.find(set_, {})


def named_originals(evaluation: Evaluation) -> list[tuple[str, Slice]]:
    """Return the originals of each set, the test split first, with a name for people."""
    named = {TEST_SET: "unseen originals", **{name: f"external set {name}" for name in external_sets(evaluation)}}
    found = [(name, slice_) for set_, name in named.items() if (slice_ := originals(evaluation, set_))]
    return [(in_part(name, slice_.region), slice_) for name, slice_ in found]


def populations(evaluation: Evaluation, set_: str) -> list[Slice]:
    """Return all images, originals and copies of a set; the first alone where there are no copies."""
    whole, of_originals, of_copies = (evaluation.find(set_, keys) for keys in ({}, ORIGINALS, COPIES))
    shown = (whole, of_originals, of_copies) if of_copies else (whole or of_originals,)
    return [slice_ for slice_ in shown if slice_]


def subgroups(evaluation: Evaluation) -> list[Slice]:
    """Return the slices of the test split by one kind of patient, view or source, the youngest first."""
    single = [slice_ for slice_ in evaluation.slices if slice_.set == TEST_SET and len(slice_.keys) == 1]
    by_key = {key: [slice_ for slice_ in single if key in slice_.keys] for key in _SUBGROUPS}
    by_key["age"].sort(key=lambda slice_: (not slice_.keys["age"].startswith("under"), slice_.keys["age"]))
    return [slice_ for of_key in by_key.values() for slice_ in of_key]


def copies_by_transform(evaluation: Evaluation) -> list[Slice]:
    """Return all copies of the test split, then those that each transform had a part in, the largest loss first."""
    copies = evaluation.find(TEST_SET, COPIES)
    fired = [slice_ for slice_ in evaluation.slices if slice_.set == TEST_SET and slice_.keys.keys() == {"transform"}]
    fired.sort(key=lambda slice_: (-_drop(slice_), slice_.slice))
    return [*([copies] if copies else []), *fired]


def _drop(slice_: Slice) -> float:
    drop = slice_.metrics.get("dice_drop")
    return drop.value if drop and drop.value is not None else float("-inf")


def group(keys: Mapping[SliceKey, str]) -> str:
    """Return the heading under which a slice stands."""
    if len(keys) > 1:
        return "Crossed"
    return next((_SUBGROUPS.get(key, "All") for key in keys), "All")


def describe(keys: Mapping[SliceKey, str]) -> str:
    """Return a slice in words, such as `Originals, finding tuberculosis`."""
    words = _in_words(keys)
    return words[0].upper() + words[1:]


def _in_words(keys: Mapping[SliceKey, str]) -> str:
    words = []
    for key, value in sorted(keys.items(), key=lambda item: item[0] != features.IS_AUGMENTED):
        if key == features.IS_AUGMENTED:
            words.append("originals" if value == "0" else "augmented copies")
        else:
            words.append(value if key == "transform" else f"{key} {value}")
    return ", ".join(words) or "all images"


def describe_place(set_: str, keys: Mapping[SliceKey, str], region: Region) -> str:
    """Return a slice of a set in words, with the part of its images that is judged."""
    place = describe(keys) if set_ == TEST_SET else f"External set {set_}: {_in_words(keys)}"
    return in_part(place, region)
