"""One run of the pipeline on this machine: checks, runs, decides, reports."""

import os
import sys
import time
from pathlib import Path

from pipeline import console
from pipeline.config import Config
from pipeline.errors import UserError

LOG_FILE = "log.txt"


def run(config: Config, *, verbose: bool = False) -> bool:
    """Runs the pipeline; everything that it writes is under the configuration's root.

    Args:
        config: of the run.
        verbose: leaves the libraries' output on the terminal.

    Returns:
        Whether the model was blessed and pushed.

    Raises:
        UserError: there is no data, or the root cannot be written.
        ComponentError: a component failed.
    """
    check_data(config.data.root)
    check_root(config.root)
    start = time.monotonic()
    log_file = None if verbose else config.root / LOG_FILE
    with console.terminal(log_file) as shown:
        if log_file:
            shown.print(f"Libraries' output goes to {log_file}", style="dim", soft_wrap=True)
        with shown.status("Loading TensorFlow and TFX"):
            # Beam executors read the process's arguments as options of their own.
            del sys.argv[1:]
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
            from modules.distribution import split_cpu

            split_cpu(config.train.devices)  # other components compute with TensorFlow before the Trainer does
            from pipeline.graph import create_pipeline  # takes a quarter of a minute
            from pipeline.local_runner import LocalRunner
            from pipeline.result import RESULT_FILE, collect_result
        with console.RunView(shown) as view:
            runner = LocalRunner(config.root, view)
            runner.run(create_pipeline(config, runner.connection))
        result = collect_result(config, runner.runs)
        result.write(config.root)
        console.show_result(shown, result)
        blessed = result.status == "blessed"
        minutes = (time.monotonic() - start) / 60
        if blessed:
            model = config.serving_dir / str(result.pushed_version)
            verdict, style = f"blessed and pushed in {minutes:.1f} minutes: the model lies in {model}", "bold green"
        else:
            verdict, style = f"not blessed, nothing pushed, after {minutes:.1f} minutes", "bold red"
        shown.print(verdict, style=style, soft_wrap=True)
        shown.print(f"All figures: {config.root / RESULT_FILE}", soft_wrap=True)
    return blessed


def check_data(data: Path) -> None:
    """Raises UserError where there are no records to train on."""
    if not data.is_dir():
        msg = f"data folder '{data}' does not exist: make it with `lungseg ingest --output {data}`"
        raise UserError(msg)
    if not any(data.glob("span-[0-9]*/records-*")):
        msg = f"data folder '{data}' holds no span-N/records-*: make them with `lungseg ingest --output {data}`"
        raise UserError(msg)


def check_root(root: Path) -> None:
    """Makes the root; raises UserError where it cannot be made or written."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        msg = f"root '{root}' cannot be written: {error.strerror}"
        raise UserError(msg) from error
