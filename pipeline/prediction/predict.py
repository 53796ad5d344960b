"""Segments everything that a user names, and tells what became of it.

>>> inputs = list_inputs(find_files([Path("scans")]))
>>> prediction = predict(Path("run/serving"), Path("masks"), inputs)
>>> prediction.report.refusals
{'unreadable': 2}
"""

import time
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from components.code_version import code_version
from pipeline.cli_options import OutputFormat, Overlays
from pipeline.errors import UserError
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.storage.errors import error_reason
from pipeline.prediction.formats import FormatError, choose_format
from pipeline.prediction.inputs import Input
from pipeline.prediction.measurements import MEASUREMENTS_FILE, write_measurements
from pipeline.prediction.model import Model, find_drift, open_model
from pipeline.prediction.receipts import find_receipt
from pipeline.prediction.step import Step, refuse, result_files
from schema.reports.prediction import Measurement, PredictionReport


class OutputError(Exception):
    """A result that cannot be written: what was written before stays. The message is one line.

    Attributes:
        undone: Labels of the inputs that are not done.
    """

    def __init__(self, message: str, undone: Sequence[str]) -> None:
        super().__init__(message)
        self.undone: Final = undone


class Prediction(NamedTuple):
    """What became of inputs.

    Attributes:
        measurements: A row for each, in their order.
        report: What is told of all.
    """

    measurements: list[Measurement]
    report: PredictionReport


def predict(
    model_dir: Path,
    output: Path,
    inputs: Sequence[Input],
    *,
    format_: OutputFormat = OutputFormat.AUTO,
    overlays: Overlays = Overlays.PNG,
    again: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Prediction:
    """Write a mask of each input, an overlay, the table of measurements and the report.

    Args:
        model_dir: An exported model, or the serving folder, of which the current version is taken.
        output: Folder to write to; made if missing.
        inputs: Images and volumes.
        format_: What masks are written as.
        overlays: What outlines are drawn into.
        again: Whether what an earlier call with the same model has done is done once more.
        progress: Called with the number of inputs that are done.

    Raises:
        UserError: The model folder is no model, or the output is where the inputs are or cannot be made.
        OutputError: A result cannot be written.
    """
    start = time.monotonic()
    if output.resolve() in {file.parent.resolve() for input_ in inputs for file in input_.files}:
        raise UserError(f"'{output}' holds the images themselves: name another folder for the masks")
    rows = dict(_refuse_formats(inputs, format_))
    model = open_model(model_dir)
    rows |= _refuse_kinds(_without(rows, inputs), model)
    reused = {} if again else dict(_find_done(_without(rows, inputs), output, model, format_, overlays))
    rows |= reused
    left = _without(rows, inputs)
    segmenter = model.load() if left else None
    _make_folder(output)
    progress(len(rows))
    try:
        if segmenter is not None:
            step = Step(segmenter, model, output, format_, overlays)
            for input_, row in zip(left, step.run(left), strict=True):
                rows[input_.name] = row
                progress(len(rows))
        measurements = [rows[input_.name] for input_ in inputs]
        report = _report(model, measurements, len(reused), time.monotonic() - start)
        write_measurements(output, measurements)
        report.write(output)
    except OSError as error:
        place = error.filename2 or output  # of a file that could not be put in place
        if not again:  # others may have been written at the same time
            rows |= dict(_find_done(_without(rows, inputs), output, model, format_, overlays))
        undone = [input_.label for input_ in _without(rows, inputs)]
        raise OutputError(f"'{place}' cannot be written: {error_reason(error)}", undone) from error
    return Prediction(measurements, report)


def _without(rows: Container[str], inputs: Sequence[Input]) -> list[Input]:
    """Return the inputs that have no row yet."""
    return [input_ for input_ in inputs if input_.name not in rows]


def _refuse_formats(inputs: Sequence[Input], format_: OutputFormat) -> Iterator[tuple[str, Measurement]]:
    for input_ in inputs:
        try:
            choose_format(input_.kind, format_)
        except FormatError as error:
            yield input_.name, refuse(input_, error)


def _refuse_kinds(inputs: Sequence[Input], model: Model) -> Iterator[tuple[str, Measurement]]:
    for input_ in inputs:
        try:
            model.check_kind(input_.kind)
        except ImageError as error:
            yield input_.name, refuse(input_, error, "other kind")


def _find_done(
    inputs: Sequence[Input], output: Path, model: Model, format_: OutputFormat, overlays: Overlays
) -> Iterator[tuple[str, Measurement]]:
    """Yield the rows of what an earlier call has done."""
    for input_ in inputs:
        files = result_files(input_, format_, overlays)
        if receipt := find_receipt(output, input_, model.identity.digest, files):
            # The user may name file or model otherwise now.
            yield (
                input_.name,
                receipt.measurement.model_copy(update={"file": input_.label, "model_version": model.label}),
            )


def _make_folder(output: Path) -> None:
    """Make the output folder; tables of an earlier call go, since they would not tell of what this one changes."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output folder '{output}' cannot be made: {error.strerror}") from error
    for name in (MEASUREMENTS_FILE, PredictionReport.FILE):
        with suppress(OSError):  # writing the first result says what is wrong
            (output / name).unlink(missing_ok=True)


def _report(model: Model, measurements: Sequence[Measurement], reused: int, seconds: float) -> PredictionReport:
    refusals = Counter(row.cause for row in measurements if row.cause)
    return PredictionReport(
        model=model.identity,
        code_version=code_version(__name__),
        found=len(measurements),
        segmented=sum(row.status == "segmented" for row in measurements),
        refused=sum(row.status == "refused" for row in measurements),
        refusals=dict(refusals),
        reused=reused,
        review=sum(row.review is True for row in measurements),
        drift=find_drift(model, measurements),
        seconds=seconds,
    )
