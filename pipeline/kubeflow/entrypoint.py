"""What the container of a step runs: `python -m pipeline.kubeflow.entrypoint --retries=N COMPONENT ...`.

It runs the step (`pipeline.kubeflow.step`) as a process of its own, and again where that fails. Kubeflow cannot be
relied on for it: some of its releases start another pod where one failed, others where one vanished, and no pipeline
can choose. This module imports little, since it stays in memory beside the step.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from pipeline.errors import NOT_BLESSED, WRONG_INPUT

_STEP: Final = ("-m", "pipeline.kubeflow.step")

_STOPPED: Final = 128 + signal.SIGTERM
_FINAL: Final = {
    WRONG_INPUT: "what it was given is wrong",
    NOT_BLESSED: "its data are over a limit",
}
"""Why a step that ends with this code would fail again."""

_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 300.0
"""Seconds before the second attempt, of which each later pause is the double, and at most."""
_TICK = 0.1


class Attempts:
    """Runs a step until it ends well, fails for good, has failed too often, or is told to stop."""

    def __init__(self, retries: int, step: Sequence[str]) -> None:
        """Take what to run; nothing is started yet.

        Args:
            retries: How often to start it again, 0 or more.
            step: The component's id, then its arguments.
        """
        self._retries, self._step = retries, step
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self) -> int:
        """Return the exit code of the last attempt; 128 and the signal's number where one killed it."""
        for attempt in range(1, self._retries + 2):
            code = self._run_once()
            if self._stopped or code in {0, _STOPPED}:
                break
            if code in _FINAL:
                self._say(f"is not started again: {_FINAL[code]} (code {code})")
                break
            if attempt <= self._retries:
                pause = min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE)
                self._say(
                    f"attempt {attempt} of {self._retries + 1} {_in_words(code)}: starts again in {pause:g} seconds"
                )
                if not self._sleep(pause):
                    return _STOPPED
        return code

    def stop(self, *_: object) -> None:
        """Hand SIGTERM on to the attempt under way, and start no other; a handler of signals."""
        self._stopped = True
        if self._process is not None:
            self._process.terminate()

    def _run_once(self) -> int:
        self._process = subprocess.Popen([sys.executable, *_STEP, *self._step], start_new_session=True)  # noqa: S603
        if self._stopped:  # between both lines
            self._process.terminate()
        code = self._process.wait()
        # What it has started itself must not work on beside the next attempt.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return code if code >= 0 else 128 - code

    def _sleep(self, seconds: float) -> bool:
        """Return whether it slept to the end; a signal's handler does not end a long sleep."""
        end = time.monotonic() + seconds
        while not self._stopped and time.monotonic() < end:
            time.sleep(min(_TICK, seconds))
        return not self._stopped

    def _say(self, line: str) -> None:
        print(f"lungseg: {self._step[0]} {line}", file=sys.stderr, flush=True)  # noqa: T201


def _in_words(code: int) -> str:
    killed = {128 + number: number.name for number in signal.Signals}
    return f"was killed ({killed[code]})" if code in killed else f"failed (code {code})"


def main(arguments: Sequence[str]) -> int:
    """Run a step, more than once if need be.

    Args:
        arguments: `--retries=N`, then those of `pipeline.kubeflow.step`.

    Returns:
        The exit code for the container.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--retries", type=int, required=True)
    parser.add_argument("step", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    attempts = Attempts(given.retries, given.step)
    signal.signal(signal.SIGTERM, attempts.stop)
    return attempts.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
