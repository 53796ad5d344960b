"""What the report says in words: the decision, what the figures do not show, and what each measure means.

>>> headline(evidence).title
'May serve: version 4'
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from components.reporter.evidence import Evidence
from components.reporter.figures import label, write, write_interval
from components.reporter.slices import COPIES, DICE, describe_place, originals
from modules.evaluation.settings import EvaluateSettings
from modules.preprocessing.settings import Normalization
from schema import features
from schema.reports.blessing import RuleResult
from schema.reports.estimate import Estimate
from schema.reports.evaluation import TEST_SET, Slice
from schema.reports.run_report import Outcome

NORMALIZATIONS: Final[dict[Normalization, str]] = {
    "dataset": "by mean and standard deviation of all original training images",
    "image": "by mean and standard deviation of each image, without its border",
    "percentile": "by the 1st and 99th percentile of each image, without its border",
}
"""What grey values are shifted and scaled by."""
_CATEGORIES: Final = (features.FINDING, features.VIEW, features.SEX)


class Headline(NamedTuple):
    """What was decided.

    Attributes:
        outcome: In one word.
        title: In a few.
        sentence: The decision and what it rests on.
    """

    outcome: Outcome
    title: str
    sentence: str


def headline(evidence: Evidence) -> Headline:
    """Put the decision into words."""
    decided = _decide(evidence)
    return decided._replace(sentence=f"{decided.sentence} {_quality(evidence)}")


def limits(evidence: Evidence) -> list[str]:
    """Say what the figures do not show, what follows from this run's data first."""
    return [
        *_limits_of_the_data(evidence),
        "Intervals tell what other patients of the same kind would change. They do not tell what another training "
        "would: one seed was trained.",
        "Slices overlap and are many. One that lies a little below the whole may do so by chance; no correction is "
        "made for looking at all of them.",
        "Copies stand for other exposures, postures and detectors only as far as the augmentation policy imitates "
        "them.",
        "True masks were drawn by people, who differ among each other. A Dice close to 1 is agreement with their "
        "masks.",
        "The model answers for every image, also for one of another kind than it has learned from. It says where it "
        "doubts its answer, but it has learned doubt from damaged and turned copies of its own images: it may trust "
        "itself on what is strange in another way.",
        "This is not a medical device. Nothing here is evidence for a diagnosis made with it.",
    ]


def glossary(tolerance: float) -> dict[str, str]:
    """Say what each measure means.

    Args:
        tolerance: Of the surface Dice, a share of the image's width.
    """
    return {
        "Dice": "Overlap of predicted and true lung: twice the shared area over the sum of both areas. 1 is perfect, 0 "
        "is none (Dice, 1945). Mean, median, 5th percentile and worst are over images; the pooled Dice takes all "
        "pixels of a slice together.",
        "IoU": "Shared area over the area covered by either (Jaccard, 1912). Always at or below Dice.",
        "Pixel accuracy": "Share of pixels that are labelled rightly. High even for poor masks where lungs are small.",
        "Precision, recall": "Share of the predicted lung that is lung; share of the true lung that was found.",
        "HD95": "95 % Hausdorff distance: 95 % of either outline lies within it of the other. Given as a share of the "
        "image's width, and in pixels. Shows what Dice hides: a piece of outline far off.",
        "ASD": "Average distance between the two outlines, likewise.",
        "Surface Dice": f"Share of both outlines that lies within {100 * tolerance:g} % of the image's width of the "
        "other (Nikolov et al., 2018).",
        "Lung area error": "Difference of predicted and true area over the larger of the two.",
        "Expected Dice": "What the model expects the Dice of its own mask to be. AUROC: how often it expects a mask "
        "with a Dice below 0.9 to be worse than one above; 0.5 is chance. Rank correlation: Spearman's, 1904.",
        "Brier score": "Mean squared error of the lung probabilities over pixels: 0 is perfect (Brier, 1950).",
        "Drop": "By how much a copy is worse than the original it was made from, the mean over pairs. Above 0: worse.",
        "Difference": "This model minus the one it is compared with, image by image.",
        "pp": "Percentage points: the difference of two percentages.",
        "Interval": "Range that bootstrap samples of the patients give (percentile bootstrap; Efron, 1979). Images of "
        "one patient stay together, so many images of few patients do not feign certainty.",
    }


def _decide(evidence: Evidence) -> Headline:
    decision, probe = evidence.decision, evidence.probe
    if decision is None:
        sentence = "This model must not serve: no rules were applied to it."
        return Headline("not judged", "Not judged: must not serve", sentence)
    broken = [rule for rule in decision.rules if not rule.passed]
    rules = f"all {len(decision.rules)} rules hold" if len(decision.rules) > 1 else "its rule holds"
    if broken or not decision.blessed:
        return _refused(_list_broken(broken, len(decision.rules), evidence.settings.evaluate))
    if probe is not None and not probe.blessed:
        failed = sum(not check.passed for check in probe.checks)
        checks = f"its export fails {failed} of {len(probe.checks)} checks of the serving probe"
        return _refused(f"{rules}, but {checks}")
    checked = f" and its export passes all {len(probe.checks)} checks" if probe else ""
    if evidence.version is not None:
        sentence = f"This model may serve and is served as version {evidence.version}: {rules}{checked}."
        return Headline("served", f"May serve: version {evidence.version}", sentence)
    pushed = "" if evidence.pushed is None else ", though this run did not push it"
    return Headline("fit", "May serve", f"This model may serve{pushed}: {rules}{checked}.")


def _refused(obstacle: str) -> Headline:
    return Headline("refused", "Must not serve", f"This model must not serve: {obstacle}.")


def _list_broken(broken: Sequence[RuleResult], rules: int, settings: EvaluateSettings) -> str:
    reasons = "; ".join(
        f"{label(rule.metric)}, {describe_place(rule.set, rule.keys, settings.region_of(rule.set))}: {rule.reason}"
        for rule in broken
    )
    return f"{len(broken)} of {rules} rules {'does' if len(broken) == 1 else 'do'} not hold ({reasons})"


def _quality(evidence: Evidence) -> str:
    unseen = originals(evidence.evaluation, TEST_SET)
    copies = evidence.evaluation.find(TEST_SET, COPIES)
    if unseen is None:
        return "No image of the test split was measured."
    interval = f"{100 * evidence.evaluation.confidence:g}\N{NO-BREAK SPACE}% interval"
    text = f"Its mean Dice is {_dice(unseen, interval)} on {_images(unseen, 'unseen original', 'unseen originals')}"
    if copies is not None:
        text += f", and {_dice(copies, interval)} on {_images(copies, 'augmented copy', 'augmented copies')}"
    return text + "."


def _dice(slice_: Slice, interval: str) -> str:
    dice = slice_.metrics.get(DICE, Estimate())
    between = write_interval(DICE, dice)
    return f"{write(DICE, dice.value)} ({interval} {between})" if between else write(DICE, dice.value)


def _images(slice_: Slice, singular: str, plural: str) -> str:
    images = f"{slice_.examples} {singular if slice_.examples == 1 else plural}"
    return f"{images} of {slice_.patients} patient{'' if slice_.patients == 1 else 's'}"


def _limits_of_the_data(evidence: Evidence) -> list[str]:
    evaluation, images = evidence.evaluation, evidence.images
    test = images[(images["set"] == TEST_SET) & (images[features.IS_AUGMENTED] == 0)]
    limits = []
    whole = evaluation.find(TEST_SET, {})
    if whole is None or not whole.enough:
        patients = whole.patients if whole else 0
        needed = f"at least {evaluation.min_patients} are needed to judge by"
        limits.append(f"The test split holds {patients} patients; {needed}.")
    if set(images["set"]) <= {TEST_SET}:
        limits.append("No external set was tested: how good the model is on another hospital's images is not known.")
    elif (region := evidence.settings.evaluate.region) != "whole":
        limits.append(
            f"Of external sets the {region.replace('_', ' ')} alone is judged, wherever figures of them stand. They "
            "tell nothing of the rest, and are no figures of whole masks as those of the test split are."
        )
    if test[features.SOURCE].nunique() == 1:
        limits.append(f"All test originals are of one source, {test[features.SOURCE].iloc[0]}.")
    if evidence.drift and (drifted := evidence.drift.drifted):
        names = ", ".join(feature.feature.replace("_", " ") for feature in drifted)
        limits.append(
            f"The training data have drifted since version {evidence.drift.baseline} was trained ({names}): what that "
            "version was tested on then tells little about it now."
        )
    unknown = {name: int((test[name] == features.UNKNOWN).sum()) for name in _CATEGORIES}
    unknown[features.AGE] = int((test[features.AGE] < 0).sum())
    limits += [
        f"For {count} of {len(test)} test originals the {name} is not known; no slice of it holds them."
        for name, count in unknown.items()
        if count
    ]
    return limits
