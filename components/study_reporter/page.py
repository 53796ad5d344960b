"""Renders the page of a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import matplotlib as mpl
from matplotlib.colors import to_hex

from components.reporter import charts
from components.reporter.charts import INK, Chart, Curve, Row
from components.reporter.figures import label, lower_is_better, write
from components.reporter.page import make_environment
from components.reporter.pictures import Pictures
from components.reporter.slices import COPIES, DICE, ORIGINALS, describe_place
from components.reporter.wording import glossary
from components.study_reporter.cases import Case
from components.study_reporter.settings import StudyReporterSettings
from modules.evaluation.arms import OUTCOMES
from schema.features import IS_AUGMENTED
from schema.reports.evaluation import TEST_SET
from schema.reports.study import ArmComparison
from schema.reports.training import Training, TrainingHistory

_COLOURS: Final = "tab10"
_MANY_COLOURS: Final = "turbo"
"""Of the arms' curves, for up to ten arms beside the reference and for more."""


class Shown(NamedTuple):
    """A case with what the models of both arms made of it."""

    case: Case
    reference: Pictures
    arm: Pictures


def render(
    comparison: ArmComparison,
    histories: Mapping[Training, TrainingHistory],
    shown: Sequence[Shown],
    settings: StudyReporterSettings,
) -> str:
    """Render the page: HTML that needs no other file and no script.

    Args:
        comparison: What it says.
        histories: Of all trainings.
        shown: The images on which arms differ most.
        settings: Of the study.
    """
    sets = dict.fromkeys(slice_.set for slice_ in comparison.slices if slice_.keys.keys() == {IS_AUGMENTED})
    return (
        make_environment(Path(__file__).with_name("templates"))
        .get_template("study.html.j2")
        .render(
            comparison=comparison,
            settings=settings,
            populations=[slice_ for slice_ in comparison.slices if slice_.keys.keys() <= {IS_AUGMENTED}],
            key_figures=[slice_ for slice_ in comparison.slices if slice_.keys == ORIGINALS],
            outcomes=OUTCOMES,
            forests={name: {set_: _forest(name, set_, comparison) for set_ in sets} for name in OUTCOMES},
            curves=_curves(comparison, histories),
            shown=shown,
            place=lambda slice_: describe_place(slice_.set, slice_.keys, slice_.region),
            lower_is_better=lower_is_better,
            glossary=_glossary(comparison),
            limits=_limits(comparison, settings),
            dice=DICE,
        )
    )


def _forest(outcome: str, set_: str, comparison: ArmComparison) -> Chart:
    """Draw the differences of all arms on the originals and copies of a set; sets differ too much for one axis."""
    rows = [
        Row(
            label=arm.arm,
            estimate=arm.differences[outcome].estimate,
            note="" if slice_.enough else "too few",
            heading=""
            if number
            else f"{describe_place(slice_.set, slice_.keys, slice_.region)} ({slice_.patients} patients)",
            judged=slice_.enough,
        )
        for slice_ in comparison.slices
        if slice_.set == set_ and slice_.keys.keys() == {IS_AUGMENTED}
        for number, arm in enumerate(slice_.arms[1:])
    ]
    better = "lower" if lower_is_better(outcome) else "higher"
    axis = f"{label(outcome)}, arm minus '{comparison.arms[0].name}' ({better} is better)"
    return charts.forest(outcome, rows, axis=axis, reference=0, signed=True)


def _curves(comparison: ArmComparison, histories: Mapping[Training, TrainingHistory]) -> Chart:
    """Draw the validation figures of all trainings, a colour an arm."""
    names = [arm.name for arm in comparison.arms]
    many = mpl.colormaps[_COLOURS if len(names) <= 11 else _MANY_COLOURS].resampled(max(10, len(names) - 1))
    colours = [INK, *(to_hex(many(number)) for number in range(len(names) - 1))]
    drawn, told = [], []
    for name, colour in zip(names, colours, strict=True):
        of_arm = [history for training, history in histories.items() if training.arm == name]
        drawn += [
            Curve("" if number else name, history, colour, validation=True) for number, history in enumerate(of_arm)
        ]
        best = [max(dice) for history in of_arm if (dice := _known(history.figures.get("val_dice", [])))]
        told.append(f"{name} {', '.join(write(DICE, value) for value in best)}")
    return charts.curves(drawn, f"Highest validation Dice of each training: {'; '.join(told)}")


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _limits(comparison: ArmComparison, settings: StudyReporterSettings) -> list[str]:
    """Say what the figures do not show."""
    limits = []
    if {slice_.set for slice_ in comparison.slices} == {TEST_SET}:
        limits.append("No external set was tested: which arm is best on another hospital's images is not known.")
    if comparison.find(TEST_SET, COPIES):
        limits.append(
            f"Copies of test images were made by one policy for all arms, '{settings.policy.name}': an arm that was "
            "trained with it has seen their kind."
        )
    return [
        *limits,
        "A seed changes the first weights, the order of the images and the dropout. Training images of other patients "
        "may change a difference as well, which no interval here tells.",
        "Intervals are not corrected for the number of measures and slices: look at one that you chose beforehand.",
        "True masks were drawn by people, who differ among each other, and hospitals draw different things.",
        "This is not a medical device. Nothing here is evidence for a diagnosis made with it.",
    ]


def _glossary(comparison: ArmComparison) -> dict[str, str]:
    over = "patients and seeds" if len(comparison.seeds) > 1 else "patients alone, since there is one seed"
    terms = ("Dice", "HD95", "Surface Dice", "Lung area error", "Brier score", "pp")
    return {
        **{term: text for term, text in glossary(comparison.tolerance).items() if term in terms},
        "Arm": "A way to train: settings that are compared with those of the reference, the first arm.",
        "Difference": f"An arm minus '{comparison.arms[0].name}': the means over seeds, on the same images.",
        "Interval": f"What drawing {over} with replacement gives (bootstrap over crossed factors; Owen, 2007), widened "
        "so that with few seeds it still holds as often as it says, and so that it holds for all arms at once (max-T; "
        "Westfall and Young, 1993). It is not corrected for the number of measures and slices.",
        "From seed to seed": "The lowest and the highest value that the arm's seeds reached.",
    }
