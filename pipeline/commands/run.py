"""One run of the pipeline on this machine: checks, runs, decides, reports."""

import errno
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline import console
from pipeline.cli_options import Orchestrator
from pipeline.config import Config
from pipeline.errors import START_AGAIN, UserError
from pipeline.notify.telling import Tell, decision, telling
from pipeline.notify.webhook import open_webhook
from pipeline.root import ARTIFACTS_DIR, LOG_FILE, REPORT_DIR, check_root, occupied
from schema.reports.result import RunResult
from schema.reports.serving import Regardless

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.runners import ComponentRun


_PLACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What is wrong with the place where something is written, rather than with what writes it."""


def run(
    config: Config, *, orchestrator: Orchestrator = Orchestrator.LOCAL, force: bool = False, verbose: bool = False
) -> bool:
    """Run the pipeline; everything that it writes is under the configuration's root.

    Args:
        config: Of the run.
        orchestrator: What runs the graph, with the same results.
        force: Trains even where nothing has changed since the model that serves was made, and takes nothing from the
            cache.
        verbose: Leaves the libraries' output on the terminal.

    Returns:
        Whether the model was blessed and pushed, or is the one that serves.

    Raises:
        UserError: There is no data, the root cannot be written, or a secret for the webhook cannot be read.
        ComponentError: A component failed.
    """
    start = time.monotonic()
    webhook = open_webhook(config.notify)
    with prepared(config, verbose) as shown:
        from pipeline.commands.run_result import report_of

        warn = partial(shown.print, style="yellow", soft_wrap=True)
        with telling(config, webhook, warn) as tell:
            with _marked_unfinished(config.root) as resumed:
                regardless: Regardless | None = "forced" if force else "resumed" if resumed else None
                result, runs = _run_graph(config, orchestrator, shown, tell, regardless)
                if result.status != "unchanged":
                    publish(report_of(runs), config.root)
            if result.slices:
                console.show_result(shown, result)
            serves = result.status != "not_blessed"
            shown.print(
                _verdict(config.serving_dir, result, runs, start),
                style="bold green" if serves else "bold red",
                soft_wrap=True,
            )
        if result.slices:  # an unchanged run has none where the last report is of another model
            shown.print(f"Report: {config.root / REPORT_DIR / 'index.html'}", soft_wrap=True)
        shown.print(f"All figures: {config.root / RunResult.FILE}", soft_wrap=True)
    return serves


def _run_graph(
    config: Config, orchestrator: Orchestrator, shown: "Console", tell: Tell, regardless: Regardless | None
) -> "tuple[RunResult, list[ComponentRun]]":
    """Run all components; what serves is put on record and told, even if the report fails."""
    from pipeline.commands.run_result import collect_result, collect_unchanged
    from pipeline.graph import create_pipeline
    from pipeline.runners import BeamRunner, LocalRunner

    with console.RunView(shown) as view:
        runner = {Orchestrator.LOCAL: LocalRunner, Orchestrator.BEAM: BeamRunner}[orchestrator](config.root, view)
        try:
            runner.run(create_pipeline(config, runner.connection, regardless=regardless))
        finally:
            unchanged = any(run.unchanged for run in runner.runs)
            if unchanged or any(run.id == "Pusher" for run in runner.runs):
                result = (collect_unchanged if unchanged else collect_result)(config, runner.runs)
                result.write(config.root)
                tell(decision(result))
    return result, runner.runs


@contextmanager
def prepared(config: Config, verbose: bool) -> Iterator["Console"]:
    """Check the folders and load the libraries; yield where to show what happens.

    Raises:
        UserError: There is no data, the root is held or cannot be written, now or within the block, or what is there
            cannot be read.
    """
    check_data(config.data.root, config.data.span)
    for folder in config.data.external.values():
        check_data(folder)
    check_root(config.root)
    log_file = None if verbose else config.root / LOG_FILE
    with _written(config.root), occupied(config.root), console.terminal(log_file) as shown:
        _check_store(config.root)
        config.write()
        if log_file:
            shown.print(f"Libraries' output goes to {log_file}", style="dim", soft_wrap=True)
        with shown.status("Loading TensorFlow and TFX"):
            # Beam executors read the process's arguments as options of their own.
            del sys.argv[1:]
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
            from modules.training.distribution import split_cpu

            split_cpu(config.train.devices)  # other components compute with TensorFlow before the Trainer does
            import pipeline.graph  # noqa: F401  # takes a quarter of a minute
            from modules.serving.serving_dir import current_version

            try:
                current_version(config.serving_dir)
            except ValueError as error:
                raise UserError(str(error)) from error
        yield shown


@contextmanager
def _written(root: Path) -> Iterator[None]:
    """Say in one line that a root can no longer be written, as where the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno in _PLACE:
            reason = error.strerror
        elif isinstance(error, shutil.Error):  # of `copytree`, which tells of each file why
            reason = error.args[0][0][2]
        else:
            raise
        raise UserError(f"root '{root}' cannot be written: {reason}; {START_AGAIN}") from error


def _check_store(root: Path) -> None:
    """Raise UserError where there is a store that cannot be used."""
    from pipeline.store import has_store, open_store

    if has_store(root):
        with open_store(root):
            pass


def _verdict(serving_dir: Path, result: RunResult, runs: "list[ComponentRun]", start: float) -> str:
    from modules.serving.serving_dir import pointed_version

    minutes = (time.monotonic() - start) / 60
    version = result.pushed_version
    if result.status == "not_blessed" or version is None:
        return f"not blessed, nothing pushed, after {minutes:.1f} minutes"
    if result.status == "unchanged":
        return (
            f"unchanged: data, settings and code are those of version {version}, which serves; "
            f"it lies in {serving_dir / version}; train all the same with --force"
        )
    if not all(run.cached for run in runs):
        return f"blessed and pushed in {minutes:.1f} minutes: the model lies in {serving_dir / version}"
    current = pointed_version(serving_dir)
    unchanged = f"nothing has changed since this model was blessed and pushed as version {version}"
    if current is None:
        raise UserError(f"{unchanged}, but '{serving_dir}' holds no model now: put it back, or start with a new --root")
    if str(current) == version:
        return f"{unchanged}: it lies in {serving_dir / version}"
    return f"{unchanged}; now version {current} serves, as `lungseg promote` or a later run has it"


@contextmanager
def _marked_unfinished(root: Path) -> Iterator[bool]:
    """Yield whether the last run under the root was cut off or failed; a mark says so of this one until it has ended.

    It lies among the artifacts, which alone can bring such a run to its end.
    """
    mark = root / ARTIFACTS_DIR / ".unfinished"
    before = mark.exists()
    mark.parent.mkdir(exist_ok=True)
    mark.touch()
    yield before
    mark.unlink(missing_ok=True)


def publish(report: Path, root: Path, name: str = REPORT_DIR) -> None:
    """Put the newest report in its place, a folder of this name; a reader never finds half of one."""
    partial, last, target = root / f".{name}.partial", root / f".{name}.last", root / name
    for leftover in (partial, last):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(report, partial)
    if target.exists():
        target.replace(last)
    partial.replace(target)
    shutil.rmtree(last, ignore_errors=True)


def check_data(data: Path, span: int | None = None) -> None:
    """Raise UserError where there are no records to train on, or none of the span that is named."""
    if not data.is_dir():
        raise UserError(f"data folder '{data}' does not exist: make it with `lungseg ingest --output {data}`")
    if not any(data.glob("span-[0-9]*/records-*")):
        raise UserError(
            f"data folder '{data}' holds no span-N/records-*: make them with `lungseg ingest --output {data}`"
        )
    if span is not None and not any(data.glob(f"span-{span}/records-*")):
        there_are = ", ".join(sorted(folder.name for folder in data.glob("span-[0-9]*")))
        raise UserError(f"data folder '{data}' holds no span-{span}, but {there_are}: name another --span")
