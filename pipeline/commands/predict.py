"""Where `lungseg predict` segments, and what it says of a prediction.

>>> describe_drift(prediction.report.drift)
'no drift from the images that the model was trained on (32 images against 442)'
>>> summarize(prediction, Path("masks"))
'30 of 32 images segmented into masks, 1 of them doubtful; 2 refused: 2 unreadable (see measurements.csv)'
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from pipeline.beam.settings import BeamSettings
from pipeline.errors import UserError
from pipeline.prediction.measurements import MEASUREMENTS_FILE
from pipeline.prediction.predict import OutputError, Prediction
from pipeline.prediction.step import Run, Step, here
from schema.reports.prediction import Measurement
from schema.reports.statistics import DISTANCE_NAMES, Drift

_IN_WORDS: Final = {
    "unreadable": "unreadable",
    "other kind": "of a kind that the model was not trained on",
    "other format": "whose masks this format cannot hold",
}


def choose_place(settings: BeamSettings) -> Callable[[Step], Run]:
    """Return where to segment: on Beam, or without it where it would run in this process.

    Raises:
        UserError: What Beam runs on sees no folder of this machine.
    """
    if settings.runner == "direct" and settings.mode == "in_memory":
        return here
    if settings.runner == "dataflow":
        raise UserError("beam.runner: the machines of dataflow see no folder of this one: take flink or spark")
    from pipeline.prediction.on_beam import on_beam

    return partial(on_beam, beam_args=settings.arguments())


def summarize(prediction: Prediction, output: Path) -> str:
    """Return how many inputs were segmented, how many were not and why, in a line."""
    report = prediction.report
    line = f"{report.segmented} of {report.found} images segmented into {output}"
    if report.review:
        line += f", {report.review} of them doubtful"
    if report.reused:
        line += f"; {report.reused} were there already"
    if report.refused:
        causes = ", ".join(f"{number} {_IN_WORDS[cause]}" for cause, number in sorted(report.refusals.items()))
        line += f"; {report.refused} refused: {causes} (see {MEASUREMENTS_FILE})"
    return line


def describe_drift(drift: Drift) -> str:
    """Return in a line whether the images have moved from those that the model was trained on."""
    if drift.reason:
        return f"cannot tell whether the images differ from those that the model was trained on: {drift.reason}"
    numbers = f"{drift.new_examples} images against {drift.baseline_examples}"
    if not drift.drifted:
        return f"no drift from the images that the model was trained on ({numbers})"
    moved = ", ".join(
        f"{feature.feature} ({DISTANCE_NAMES[feature.kind]} {feature.distance:.2f}, may be {feature.threshold:.2f})"
        for feature in drift.drifted
    )
    return f"the images have drifted from those that the model was trained on: {moved}; {numbers}"


def complaints(prediction: Prediction) -> Iterator[str]:
    """Yield a line for each mask that is doubtful, then for each input that is refused."""
    segmented = [row for row in prediction.measurements if row.status == "segmented"]
    if segmented and all(row.expected_dice is None for row in segmented):
        yield "the model does not tell how good its masks are: it was exported by an earlier version"
    for row in segmented:
        if row.review:
            yield f"{row.file} {_doubt(row)}"
    for row in prediction.measurements:
        if row.status == "refused":
            yield f"{row.file} {row.reason}"


def _doubt(row: Measurement) -> str:
    expected = "" if row.expected_dice is None else f" (expected Dice {row.expected_dice:.2f})"
    return f"{row.review_reason}{expected}"


def name_undone(error: OutputError) -> Iterator[str]:
    """Yield what could not be written, then a line for each input that is not done."""
    yield f"{error}: make room or rights there and call it again, which does only what is missing"
    for label in error.undone:
        yield f"{label} is not done"
