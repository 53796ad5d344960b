"""Says what a study shows and what it does not.

>>> tell(comparison)[0]
"Originals: better than 'chest' in mean Dice: 'wide' by +0.0060 (+0.0021 to +0.0099)."
"""

from collections.abc import Iterator
from typing import Final

from components.reporter.figures import write_estimate
from components.reporter.slices import COPIES, DICE, ORIGINALS, describe_place
from modules.evaluation.arms import POWER
from schema.reports.estimate import Effect
from schema.reports.evaluation import TEST_SET, in_part
from schema.reports.study import ArmComparison, ArmDifference, Needed, StudySlice

_TOLD: Final[tuple[Effect, ...]] = ("better", "worse")


def headline(comparison: ArmComparison) -> str:
    """Say in a few words which arms are better or worse than the first in mean Dice on originals, and on which sets."""
    reference = comparison.arms[0].name
    judged = [part for part in comparison.slices if part.keys == ORIGINALS and part.enough]
    if not judged:
        return f"Too few patients to tell any arm from '{reference}'"
    told = []
    for effect in _TOLD:
        for part in judged:
            arms = [name for name, difference in _differences(part).items() if difference.effect == effect]
            every = len(arms) == len(comparison.arms) - 1 > 1
            place = "the test set" if part.set == TEST_SET else in_part(f"external set {part.set}", part.region)
            if arms:
                told.append(f"{effect} on {place}: {'all other arms' if every else _quote(arms)}")
    if not told:
        return f"No difference from '{reference}' can be told"
    of_models = " (one seed: true of these models alone)" if len(comparison.seeds) == 1 else ""
    return f"Compared with '{reference}', {'; '.join(told)}{of_models}"


def tell(comparison: ArmComparison) -> list[str]:
    """Tell, a sentence each, how the arms' mean Dice differs, what the intervals hold for, and what more it would take.

    Originals and copies of each set are told of, as far as there are patients enough to judge by.
    """
    sets = dict.fromkeys(slice_.set for slice_ in comparison.slices)
    parts = [part for name in sets for keys in (ORIGINALS, COPIES) if (part := comparison.find(name, keys))]
    judged = [part for part in parts if part.enough]
    few = ", ".join(f"{_place(part)} ({part.patients})" for part in parts if not part.enough)
    too_few = [f"Too few patients to judge by (fewer than {comparison.min_patients}): {few}."] if few else []
    return [
        *(_tell_differences(comparison, part) for part in judged),
        *too_few,
        _scope(comparison),
        *(sentence for part in judged if part.keys == ORIGINALS for sentence in _tell_needed(comparison, part)),
    ]


def _differences(part: StudySlice) -> dict[str, ArmDifference]:
    """Return the differences of mean Dice by the name of the arm."""
    return {arm.arm: difference for arm in part.arms if (difference := arm.differences.get(DICE))}


def _tell_differences(comparison: ArmComparison, part: StudySlice) -> str:
    reference, differences = comparison.arms[0].name, _differences(part)
    told = []
    for effect in _TOLD:
        sizes = [
            f"'{arm}' by {write_estimate(DICE, difference.estimate, signed=True)}"
            for arm, difference in differences.items()
            if difference.effect == effect
        ]
        if sizes:
            told.append(f"{effect} than '{reference}' in mean Dice: {', '.join(sizes)}")
    alike = [arm for arm, difference in differences.items() if difference.effect not in _TOLD]
    if alike:
        told.append(f"no difference from '{reference}' can be told: {_quote(alike)}")
    return f"{_place(part)}: {'; '.join(told)}."


def _scope(comparison: ArmComparison) -> str:
    at_once = " and hold for all arms at once" if len(comparison.arms) > 2 else ""
    if len(comparison.seeds) == 1:
        return (
            f"Each arm was trained with one seed: intervals are over patients alone{at_once}. What is shown is shown "
            "of these models, not of their settings: two trainings that differ in nothing but the seed would often be "
            "told apart as well."
        )
    return f"Intervals are over patients and {len(comparison.seeds)} seeds of each arm{at_once}."


def _tell_needed(comparison: ArmComparison, part: StudySlice) -> Iterator[str]:
    """Say what it takes to tell differences of the arm that scatters most."""
    known = [difference for difference in _differences(part).values() if difference.needed]
    if known:
        widest = max(known, key=lambda difference: (difference.estimate.high or 0.0) - (difference.estimate.low or 0.0))
        sizes = "; ".join(f"{_ways(needed)} for {needed.difference:g}" for needed in widest.needed)
        here = f"{part.patients} patients and {_seeds(len(comparison.seeds))}"
        yield (
            f"{_place(part)}: to tell a difference of mean Dice in {100 * POWER:.0f} of 100 such studies it takes, "
            f"instead of {here}: {sizes}."
        )


def _ways(needed: Needed) -> str:
    patients = [] if needed.patients is None else [f"{needed.patients} patients"]
    seeds = [] if needed.seeds is None else [_seeds(needed.seeds)]
    return " or ".join([*patients, *seeds]) or "more of both"


def _seeds(number: int) -> str:
    return f"{number} seed{'' if number == 1 else 's'}"


def _place(part: StudySlice) -> str:
    return describe_place(part.set, part.keys, part.region)


def _quote(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
