"""Segments everything that a user names, and tells what became of it.

>>> inputs = list_inputs(find_files(["scans", "s3://clinic/*.png"]))
>>> prediction = predict(Path("run/serving"), Path("masks"), inputs)
>>> prediction.report.refusals
{'unreadable': 2}
"""

import time
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from components.code_version import code_version
from pipeline.cli_options import OutputFormat, Overlays
from pipeline.errors import ComponentError, UserError
from pipeline.ingest.formats.base import ImageError
from pipeline.prediction.formats import FormatError, choose_format
from pipeline.prediction.inputs import Input, folder_of
from pipeline.prediction.measurements import MEASUREMENTS_FILE, write_measurements
from pipeline.prediction.model import Model, find_drift, open_model
from pipeline.prediction.receipts import find_receipt
from pipeline.prediction.step import Run, Step, WriteError, here, refuse, result_files, writing
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
    where: Callable[[Step], Run] = here,
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
        where: Makes of the step what runs it: in this process, or on other machines.
        progress: Called with the number of inputs that are done.

    Raises:
        UserError: The model folder is no model, or the output is where the inputs are or cannot be made.
        OutputError: A result cannot be written.
        ComponentError: What ran the step failed, or lost inputs.
    """
    start = time.monotonic()
    if output.resolve() in {Path(folder_of(file)).resolve() for input_ in inputs for file in input_.files}:
        raise UserError(f"'{output}' holds the images themselves: name another folder for the masks")
    rows = dict(_refuse_formats(inputs, format_))
    model = open_model(model_dir)
    rows |= _refuse_kinds(_without(rows, inputs), model)
    reused = {} if again else dict(_find_done(_without(rows, inputs), output, model, format_, overlays))
    rows |= reused
    left = _without(rows, inputs)
    run = where(Step(model, output, format_, overlays)) if left else None
    _make_folder(output)
    progress(len(rows))

    def note(input_: Input, row: Measurement) -> None:
        rows[input_.name] = row
        progress(len(rows))

    try:
        if run is not None:
            run(left, note)
        measurements = _in_order(rows, inputs)
        report = _report(model, measurements, len(reused), time.monotonic() - start)
        with writing(output):
            write_measurements(output, measurements)
            report.write(output)
    except WriteError as error:
        if not again:  # others may have been written at the same time
            rows |= dict(_find_done(_without(rows, inputs), output, model, format_, overlays))
        raise OutputError(str(error), [input_.label for input_ in _without(rows, inputs)]) from error
    return Prediction(measurements, report)


def _in_order(rows: Mapping[str, Measurement], inputs: Sequence[Input]) -> list[Measurement]:
    """Return the row of each input; raise ComponentError where one has none."""
    if lost := _without(rows, inputs):
        problem = f"{len(lost)} of {len(inputs)} inputs got lost, such as {lost[0].label}: call it again"
        raise ComponentError("predict", RuntimeError(problem))
    return [rows[input_.name] for input_ in inputs]


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
