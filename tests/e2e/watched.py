"""Runs that faults are done to: started as a user does, each in a process group of its own, and watched."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from modules.serving.serving_dir import current_version
from pipeline.root import REPORT_DIR, SERVING_DIR
from schema.reports.evaluation import Slice
from schema.reports.result import RunResult
from schema.reports.run_report import RunReport

SETTINGS = (
    *("--config", "demo", "--set", "model.image_size=32", "--set", "model.levels=2", "--set", "model.filters=4"),
    *("--set", "train.warmup=0", "--set", "train.epochs=1", "--set", "evaluate.min_patients=1"),
    *("--set", "evaluate.rules=[{metric: dice_mean, at_least: 0}]"),
)

_LONGEST = 1800
"""A run that takes more seconds hangs."""
_COMPONENT = re.compile(r"[A-Z]\w+")


class WatchedRun:
    """One `lungseg run`, whose terminal is read line by line; one that hangs is killed."""

    def __init__(self, data: Path, root: Path, *arguments: object, settings: Sequence[str] = SETTINGS) -> None:
        """Start it."""
        command = (sys.executable, "-m", "pipeline", "run", "--data", data, "--root", root, *settings, *arguments)
        self._process = subprocess.Popen(
            [*map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
        )
        self.lines: list[str] = []
        self._watchdog = threading.Timer(_LONGEST, self.send, [signal.SIGKILL])
        self._watchdog.daemon = True
        self._watchdog.start()

    @property
    def pid(self) -> int:
        """Return the id of the process, which is that of its group as well."""
        return self._process.pid

    @property
    def last(self) -> str:
        """Return the line that it ended with."""
        return self.lines[-1] if self.lines else ""

    @property
    def at(self) -> str:
        """Name the component that was under way when the last line came."""
        for line in reversed(self.lines):
            if _COMPONENT.fullmatch(line):
                return line
            if line.startswith("  done, "):
                return "between two components"
        return "the start"

    def wait_for(self, line: str) -> bool:
        """Read until a line comes; return whether it did before the run ended."""
        assert self._process.stdout
        for read in self._process.stdout:
            self.lines.append(read.rstrip("\n"))
            if self.lines[-1] == line:
                return True
        return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the run and all that it has started."""
        os.killpg(self.pid, number)

    def end(self) -> int:
        """Wait for its end and return its code, below 0 for a signal."""
        assert self._process.stdout
        self.lines += self._process.stdout.read().splitlines()
        self._watchdog.cancel()
        return self._process.wait()


def finished(data: Path, root: Path, *arguments: object) -> tuple[int, str]:
    """Run to the end; return the code and all that was said."""
    run = WatchedRun(data, root, *arguments)
    return run.end(), "\n".join(run.lines)


def check_whole(root: Path) -> None:
    """Fail where half a model, half a report or half a result can be read under a root, or a second version serves."""
    assert current_version(root / SERVING_DIR) in (None, 1)
    if (root / REPORT_DIR).exists():
        RunReport.read(root / REPORT_DIR)
        assert (root / REPORT_DIR / "index.html").read_text().rstrip().endswith("</html>")
    if (root / RunResult.FILE).exists():
        RunResult.read(root)


def check_ends_as(undisturbed: RunResult, data: Path, root: Path) -> None:
    """Run to the end, and fail where that is not as that of a run that nothing has happened to."""
    code, output = finished(data, root)
    assert code == 0, output
    assert _figures(RunResult.read(root)) == _figures(undisturbed)
    check_whole(root)
    assert [path.name for path in (root / SERVING_DIR).iterdir() if path.is_dir()] == ["1"]


def _figures(result: RunResult) -> list[Slice]:
    # After an end between a push and its record, the next run judges the same model once more, against itself.
    return [slice_.model_copy(update={"baseline": None, "difference": None}) for slice_ in result.slices]
