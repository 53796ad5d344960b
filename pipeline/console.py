"""What a run shows on the terminal; the libraries' pages of output go to a log file."""

import datetime
import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.status import Status
from rich.table import Table

from schema.reports.estimate import Estimate
from schema.reports.evaluation import in_part

if TYPE_CHECKING:
    from tfx.types import Artifact

    from pipeline.runners import ComponentRun
    from schema.reports.result import RunResult
    from schema.reports.study import StudyResult


_FILE_WIDTH = 120
_BAR_WIDTH = 30


@contextmanager
def terminal(log_file: Path | None = Path(os.devnull)) -> Iterator[Console]:
    """Send standard output and error, of libraries and their C++ code too, to a file.

    Args:
        log_file: To append to, behind a line with the time and the process; None leaves everything on the terminal. By
            default the output goes nowhere.

    Yields:
        A console on what was standard output.
    """
    if log_file is None:
        yield _console(sys.stdout)
        return
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as log, os.fdopen(os.dup(1), "w") as shown:
        log.write(f"==== {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M:%S%z}, process {os.getpid()}\n".encode())
        log.flush()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        saved = [os.dup(descriptor) for descriptor in (1, 2)]
        try:
            for descriptor in (1, 2):
                os.dup2(log.fileno(), descriptor)
            yield _console(shown)
        finally:
            with suppress(OSError):  # of a full disk, which must not keep the terminal
                for stream in (sys.stdout, sys.stderr):
                    stream.flush()
            for descriptor, original in zip((1, 2), saved, strict=True):
                os.dup2(original, descriptor)
                os.close(original)


def _console(file: TextIO) -> Console:
    # A file or pipe has no width: tables should not be squeezed into 80 columns there. Paths and names of slices may
    # hold brackets, so nothing is read as markup.
    width = None if file.isatty() else _FILE_WIDTH
    return Console(file=file, width=width, markup=False, highlight=False)


@contextmanager
def bar(console: Console, what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show a progress bar that says how long it will take; only its end is shown where there is no terminal.

    Yields:
        What moves the bar: called with the number done and, where it was not known before, the total.
    """
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console)
    task = progress.add_task(what, total=total)

    def advance_to(done: int, total: int | None = None) -> None:
        progress.start()  # not before: what is wrong with the arguments should stand alone
        progress.update(task, completed=done, total=total)

    try:
        yield advance_to
    finally:
        if progress.live.is_started:
            progress.stop()


class RunView(logging.Handler):
    """Show a run: one line a component as it starts and ends, below it what our own loggers say."""

    def __init__(self, console: Console) -> None:
        """Take the terminal."""
        super().__init__(logging.DEBUG)
        self._console = console
        self._status: Status | None = None

    def __enter__(self) -> "RunView":
        """Begin to listen to our loggers."""
        logger = logging.getLogger("lungseg")
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._end_status()
        logging.getLogger("lungseg").removeHandler(self)

    def started(self, component_id: str) -> None:
        """Say that a component starts."""
        self._console.print(component_id, style="bold")
        if self._console.is_terminal:
            self._status = self._console.status(component_id)
            self._status.start()

    def ended(self, run: "ComponentRun") -> None:
        """Say how long it took and what it made."""
        self._end_status()
        how = "from the cache" if run.cached else f"{run.seconds:.1f} s"
        self._console.print(f"  done, {how}: {_describe(run)}")

    def emit(self, record: logging.LogRecord) -> None:
        """Show a message, or move the bar where the record tells of a step."""
        if not hasattr(record, "step"):
            if record.levelno >= logging.INFO:
                self._console.print(f"  {record.getMessage()}")
        elif self._status is not None:
            self._status.update(_training_bar(vars(record)))

    def _end_status(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def _training_bar(place: Mapping[str, Any]) -> Table:
    """Draw how far a training is: `epoch` of `epochs`, in it `step` of `steps`, and `seconds_left` where known."""
    left = place["seconds_left"]
    row = Table.grid(padding=(0, 1))
    row.add_row(
        f"epoch {place['epoch']}/{place['epochs']}",
        ProgressBar(total=place["steps"], completed=place["step"], width=_BAR_WIDTH),
        f"step {place['step']}/{place['steps']}",
        "" if left is None else f"{datetime.timedelta(seconds=round(left))} left",
    )
    return row


def show_result(console: Console, result: "RunResult") -> None:
    """Print the table of the slices, where there is room for them with intervals, and the rules."""
    shown = [slice_ for slice_ in result.slices if len(slice_.keys) <= 1]
    is_roomy = console.width >= _FILE_WIDTH
    intervals = f" with {100 * result.confidence:g} % intervals" if is_roomy else ""
    table = _table(f"Unseen patients, means over images{intervals}", ("slice", "images", *_SHOWN.values()))
    for slice_ in shown:
        cells = [_tell(slice_.metrics.get(name), interval=is_roomy) for name in _SHOWN]
        table.add_row(in_part(slice_.slice, slice_.region), str(slice_.examples), *cells)
    console.print(table)
    hidden = len(result.slices) - len(shown)
    if hidden:
        console.print(f"slices of two keys, in the report: {hidden}", style="dim")
    for rule in result.rules:
        if rule.passed:
            console.print(f"passed: {rule.metric} on {rule.slice}: {rule.reason}", style="dim")
    for failure in result.failures:
        console.print(f"failed: {failure}", style="red")


def show_study(console: Console, study: "StudyResult") -> None:
    """Print what each arm reaches on the images of each set, its difference to the first, and what that shows."""
    comparison = study.comparison
    over = "patients and seeds" if len(comparison.seeds) > 1 else "patients"
    console.print(f"Unseen patients, with {100 * comparison.confidence:g} % intervals over {over}", soft_wrap=True)
    told = [slice_ for slice_ in comparison.slices if slice_.keys.keys() <= {"is_augmented"}]
    for slice_, (metric, title) in itertools.product(told, _STUDIED.items()):
        few = "" if slice_.enough else ", too few patients"
        place = f"{title} on {in_part(slice_.slice, slice_.region)}: {slice_.examples} images{few}"
        table = _table(place, ("arm", "value", f"minus {comparison.arms[0].name}", ""))
        for arm in slice_.arms:
            if metric in arm.metrics:
                difference = arm.differences.get(metric)
                told_of_arm = (_tell(difference.estimate), difference.effect) if difference else ("", "")
                table.add_row(arm.arm, _tell(arm.metrics[metric], interval=False), *told_of_arm)
        if table.row_count:
            console.print(table)
    console.print(comparison.headline, style="bold", soft_wrap=True)
    for sentence in comparison.shown:
        console.print(sentence, soft_wrap=True)


_SHOWN = {"dice_mean": "Dice", "hd95": "HD95 / width", "dice_drop": "drop to copies"}
_STUDIED = {"dice_mean": "Dice", "hd95": "HD95 / width"}


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for index, name in enumerate(columns):
        left = index == 0
        table.add_column(name, justify="left" if left else "right", overflow="fold", no_wrap=not left)
    return table


def _tell(estimate: Estimate | None, *, interval: bool = True) -> str:
    if estimate is None or estimate.value is None:
        return "-"
    ends = estimate.interval if interval else None
    return f"{estimate.value:.4f}" + (f" ({ends[0]:.4f} to {ends[1]:.4f})" if ends else "")


def _describe(run: "ComponentRun") -> str:
    return (
        ", ".join(
            key + (f" ({found})" if (found := _detail(artifact)) else "")
            for key, artifacts in sorted(run.outputs.items())
            for artifact in artifacts
        )
        or "nothing"
    )


def _detail(artifact: "Artifact") -> str:
    """Describe the splits and spans of examples."""
    splits = ", ".join(getattr(artifact, "splits", ()))
    spans = artifact.get_string_custom_property("spans").replace(",", ", ")
    name = "spans" if "," in spans else "span"
    return "; ".join(part for part in (splits, f"{name} {spans}" if spans else "") if part)
