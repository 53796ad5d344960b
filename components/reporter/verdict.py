"""The decision in plain words."""

from dataclasses import dataclass
from typing import Final, Literal

from components.reporter.evidence import STUDY, Evidence
from components.reporter.figures import as_numbers, label, lower_is_better, write_estimate, write_interval
from schema import features
from schema.reports.estimate import Estimate
from schema.reports.evaluation import TEST_SET, Evaluation, Slice, SliceKey

Outcome = Literal["served", "fit", "refused", "compared", "not judged"]

ORIGINALS: Final[dict[SliceKey, str]] = {"is_augmented": "0"}
COPIES: Final[dict[SliceKey, str]] = {"is_augmented": "1"}
DICE: Final = "dice_mean"

NO_DIFFERENCE: Final = "no difference can be told"
UNKNOWN: Final = "not known"


@dataclass(frozen=True)
class Verdict:
    """What was decided.

    Attributes:
        outcome: in one word.
        headline: in a few.
        sentence: the decision and what it rests on.
    """

    outcome: Outcome
    headline: str
    sentence: str


def judge(evidence: Evidence) -> Verdict:
    """Puts the decision into words."""
    outcome, headline, reason = _study(evidence) if evidence.kind == STUDY else _run(evidence)
    return Verdict(outcome, headline, f"{reason} {_quality(evidence)}")


def tell_difference(statistic: str, difference: Estimate | None) -> str:
    """`better`, `worse` or `NO_DIFFERENCE`, by whether the interval of candidate minus baseline leaves out 0.

    `UNKNOWN` where there is no interval.
    """
    if difference is None or difference.value is None or difference.low is None or difference.high is None:
        return UNKNOWN
    if difference.low <= 0 <= difference.high:
        return NO_DIFFERENCE
    return "worse" if (difference.value > 0) == lower_is_better(statistic) else "better"


def describe_slice(keys: dict[SliceKey, str]) -> str:
    """In words, such as `Originals, finding tuberculosis`."""
    words = []
    for key, value in sorted(keys.items(), key=lambda one: one[0] != features.IS_AUGMENTED):
        if key == features.IS_AUGMENTED:
            words.append("Originals" if value == "0" else "Augmented copies")
        else:
            words.append(value if key == "transform" else f"{key} {value}")
    return (words[0][0].upper() + ", ".join(words)[1:]) if words else "All images"


def describe_place(set_: str, keys: dict[SliceKey, str]) -> str:
    """A slice of a set in words."""
    return describe_slice(keys) if set_ == TEST_SET else f"External set {set_}: {describe_slice(keys).lower()}"


def _run(evidence: Evidence) -> tuple[Outcome, str, str]:
    decision, probe = evidence.decision, evidence.probe
    if decision is None:
        return "not judged", "Not judged: must not serve", "This model must not serve: no rules were applied to it."
    failed = [one for one in decision.rules if not one.passed]
    rules = f"all {len(decision.rules)} rules hold" if len(decision.rules) > 1 else "its rule holds"
    if failed or not decision.blessed:
        broken = f"{len(failed)} of {len(decision.rules)} rules {'does' if len(failed) == 1 else 'do'} not hold"
        why = "; ".join(f"{label(one.metric)}, {describe_place(one.set, one.keys)}: {one.reason}" for one in failed)
        return "refused", "Must not serve", f"This model must not serve: {broken} ({why})."
    if probe is not None and not probe["blessed"]:
        wrong = sum(not check["passed"] for check in probe["checks"])
        checks = f"its export fails {wrong} of {len(probe['checks'])} checks of the serving probe"
        return "refused", "Must not serve", f"This model must not serve: {rules}, but {checks}."
    checked = f" and its export passes all {len(probe['checks'])} checks" if probe else ""
    if evidence.version is not None:
        served = f"is served as version {evidence.version}"
        sentence = f"This model may serve and {served}: {rules}{checked}."
        return "served", f"May serve: version {evidence.version}", sentence
    pushed = "" if evidence.pushed is None else ", though this run did not push it"
    return "fit", "May serve", f"This model may serve{pushed}: {rules}{checked}."


def _study(evidence: Evidence) -> tuple[Outcome, str, str]:
    effects = []
    for name, of in test_sets(evidence):
        difference = (of.difference or {}).get(DICE)
        told = tell_difference(DICE, difference)
        if told == UNKNOWN or difference is None:
            continue
        by = write_estimate(DICE, as_numbers(difference), signed=True)
        meaning = {"better": "it helps", "worse": "it harms", NO_DIFFERENCE: NO_DIFFERENCE}[told]
        effects.append((told, f"{name}: {by}, {meaning}"))
    told_of = {told for told, _ in effects}
    if not effects:
        headline = "Whether augmentation pays is not known"
    elif told_of == {NO_DIFFERENCE}:
        headline = "Augmentation makes no difference that could be told"
    elif "worse" in told_of:
        headline = "Augmentation harms" + (", and helps elsewhere" if "better" in told_of else "")
    else:
        headline = "Augmentation helps" + (", though not everywhere" if len(told_of) > 1 else "")
    change = "; ".join(text for _, text in effects) or "there is nothing to compare"
    return "compared", headline, f"Change of mean Dice through augmented copies, at as many training steps: {change}."


def test_sets(evidence: Evidence) -> list[tuple[str, Slice]]:
    """The originals of each test set, or all of its images where there are no copies, with a name for people."""
    found = []
    for name in [TEST_SET, *external_sets(evidence.evaluation)]:
        of = evidence.evaluation.find(name, ORIGINALS) or evidence.evaluation.find(name, {})
        if of is not None:
            found.append(("unseen originals" if name == TEST_SET else f"external set {name}", of))
    return found


def external_sets(evaluation: Evaluation) -> list[str]:
    """Their names."""
    return sorted({one.set for one in evaluation.slices} - {TEST_SET})


def _quality(evidence: Evidence) -> str:
    originals = evidence.evaluation.find(TEST_SET, ORIGINALS) or evidence.evaluation.find(TEST_SET, {})
    copies = evidence.evaluation.find(TEST_SET, COPIES)
    if originals is None:
        return "No image of the test split was measured."
    interval = f"{100 * evidence.evaluation.confidence:g}\N{NO-BREAK SPACE}% interval"
    whose = "With copies the" if evidence.kind == STUDY else "Its"
    text = f"{whose} mean Dice is {_dice(originals, interval)} on {_images(originals, 'unseen original')}"
    if copies is not None:
        text += f", and {_dice(copies, interval)} on {_images(copies, 'augmented copy', 'augmented copies')}"
    return text + "."


def _dice(of: Slice, interval: str) -> str:
    numbers = as_numbers(of.metrics.get(DICE))
    between = write_interval(DICE, numbers)
    alone = write_estimate(DICE, {**numbers, "low": None})
    return f"{alone} ({interval} {between})" if between else alone


def _images(of: Slice, one: str, many: str | None = None) -> str:
    images = f"{of.examples} {one if of.examples == 1 else many or one + 's'}"
    return f"{images} of {of.patients} patient{'' if of.patients == 1 else 's'}"
