"""What the figures of a report do not show."""

from components.reporter.evidence import Evidence
from schema import features
from schema.reports.evaluation import TEST_SET

_CATEGORIES = (features.FINDING, features.VIEW, features.SEX)


def limits(evidence: Evidence) -> list[str]:
    """Sentences, those that follow from this run's data first."""
    return [
        *_of_the_data(evidence),
        "Intervals tell what other patients of the same kind would change. They do not tell what another training "
        "would: one seed was trained.",
        "Slices overlap and are many. One that lies a little below the whole may do so by chance; no correction is "
        "made for looking at all of them.",
        "Copies stand for other exposures, postures and detectors only as far as the augmentation policy imitates "
        "them.",
        "True masks were drawn by people, who differ among each other. A Dice close to 1 is agreement with their "
        "masks.",
        "The model answers for every image, also for one that is no chest radiograph, and it does not say so.",
        "This is not a medical device. Nothing here is evidence for a diagnosis made with it.",
    ]


def _of_the_data(evidence: Evidence) -> list[str]:
    evaluation, images = evidence.evaluation, evidence.images
    test = images[(images["set"] == TEST_SET) & (images[features.IS_AUGMENTED] == 0)]
    found = []
    whole = evaluation.find(TEST_SET, {})
    if whole is None or not whole.enough:
        patients = whole.patients if whole else 0
        needed = f"at least {evaluation.min_patients} are needed to judge by"
        found.append(f"The test split holds {patients} patients; {needed}.")
    if set(images["set"]) <= {TEST_SET}:
        found.append("No external set was tested: how good the model is on another hospital's images is not known.")
    if test[features.SOURCE].nunique() == 1:
        found.append(f"All test originals are of one source, {test[features.SOURCE].iloc[0]}.")
    if evidence.drift and (drifted := evidence.drift.drifted):
        names = ", ".join(one.feature.replace("_", " ") for one in drifted)
        found.append(
            f"The training data have drifted since version {evidence.drift.baseline} was trained ({names}): what that "
            "version was tested on then tells little about it now."
        )
    unknown = {name: int((test[name] == features.UNKNOWN).sum()) for name in _CATEGORIES}
    unknown[features.AGE] = int((test[features.AGE] < 0).sum())
    found += [
        f"For {count} of {len(test)} test originals the {name} is not known; no slice of it holds them."
        for name, count in unknown.items()
        if count
    ]
    return found
