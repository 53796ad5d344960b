"""Says what a study shows and what it does not.

>>> tell(comparison)[0]
"Originals: 'wide' is better than 'chest' by +0.0060 (+0.0021 to +0.0099) in mean Dice."
"""

from collections.abc import Iterator, Sequence

from components.reporter.figures import write_estimate
from components.reporter.slices import COPIES, DICE, ORIGINALS, describe_place
from modules.evaluation.arms import POWER
from schema.reports.evaluation import TEST_SET
from schema.reports.study import ArmComparison, StudySlice

_TOLD = {"better": "is better", "worse": "is worse"}


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
        *(_differences(comparison, part) for part in judged),
        *too_few,
        _scope(comparison),
        *(sentence for part in judged if part.keys == ORIGINALS for sentence in _needed(comparison, part)),
    ]


def headline(comparison: ArmComparison) -> str:
    """Say in a few words which arms are better or worse than the first in mean Dice on originals of the test set."""
    reference = comparison.arms[0].name
    part = comparison.find(TEST_SET, ORIGINALS) or comparison.find(TEST_SET, {})
    effects = {arm.arm: arm.differences[DICE].effect for arm in part.arms[1:]} if part and part.enough else {}
    named = {
        effect: [f"'{arm}'" for arm, of_arm in effects.items() if of_arm == effect] for effect in ("better", "worse")
    }
    told = [f"{effect} than '{reference}': {_join(arms)}" for effect, arms in named.items() if arms]
    if told:
        text = "; ".join(told)
        return text[0].upper() + text[1:]
    if not effects:
        return f"Too few patients to tell any arm from '{reference}'"
    return f"No difference from '{reference}' can be told"


def _differences(comparison: ArmComparison, part: StudySlice) -> str:
    reference = comparison.arms[0].name
    differences = {arm.arm: difference for arm in part.arms if (difference := arm.differences.get(DICE))}
    told = [
        f"'{arm}' {words} than '{reference}' by {write_estimate(DICE, difference.estimate, signed=True)} in mean Dice"
        for effect, words in _TOLD.items()
        for arm, difference in differences.items()
        if difference.effect == effect
    ]
    alike = [f"'{arm}'" for arm, difference in differences.items() if difference.effect not in _TOLD]
    if alike:
        told.append(f"no difference from '{reference}' can be told of {_join(alike)}")
    return f"{_place(part)}: {'; '.join(told)}."


def _scope(comparison: ArmComparison) -> str:
    at_once = " and hold for all arms at once" if len(comparison.arms) > 2 else ""
    if len(comparison.seeds) == 1:
        return (
            f"Each arm was trained with one seed: intervals are over patients alone{at_once}. What is shown is shown "
            "of these models, not of what the same settings give with another seed."
        )
    return f"Intervals are over patients and {len(comparison.seeds)} seeds of each arm{at_once}."


def _needed(comparison: ArmComparison, part: StudySlice) -> Iterator[str]:
    """Say what it takes to tell differences of the arm that scatters most."""
    differences = [arm.differences[DICE] for arm in part.arms if DICE in arm.differences]
    known = [difference for difference in differences if difference.needed]
    if not known:
        return
    hardest = max(known, key=lambda difference: (difference.estimate.high or 0.0) - (difference.estimate.low or 0.0))
    seeds, patients = len(comparison.seeds), part.patients
    sizes = []
    for needed in hardest.needed:
        ways = []
        if needed.patients is not None:
            ways.append(f"{needed.patients} patients")
        if needed.seeds is not None:
            ways.append(f"{needed.seeds} seeds")
        sizes.append(f"of {needed.difference:g} {' or '.join(ways) or 'more of both'}")
    have = f"instead of {patients} patients and {seeds} seed{'s' if seeds > 1 else ''}"
    yield (
        f"{_place(part)}: to tell a difference in mean Dice in {100 * POWER:.0f} of 100 such studies it takes, {have}: "
        f"{'; '.join(sizes)}."
    )


def _place(part: StudySlice) -> str:
    return describe_place(part.set, part.keys)


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
