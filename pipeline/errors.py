"""What went wrong, told in one line."""

import logging
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

FAILED: Final = 1
WRONG_INPUT: Final = 2
NOT_BLESSED: Final = 3
"""Exit codes; the last one also where the DataGate stops a run."""

# Beam puts the class before an error's message and the name of its step behind it.
_BEAM_FRAME = re.compile(r"^(?:[A-Za-z_]\w*\.)+\w+: | \[while running.*")
_WORKER_ENDED: Final = re.compile(r"Worker subprocess exited with return code (-?\d+)")
"""What Beam says of a worker process, behind a shell or not, in a thread that nobody waits for."""
WORKER_DEATH: Final = signal.SIGURG
"""Brings it to the main thread, which waits for Beam; where nobody handles it, it is ignored."""
_VOICE_OF_WORKERS: Final = "apache_beam.runners.portability.local_job_service"
"""The logger that repeats what they log; in the end, that they have lost this process."""
_AGAIN_SECONDS: Final = 5.0
"""Until it is brought again, to a main thread that still waits."""
# The metadata store puts the statement that failed behind its reason, and what that was for before it.
_STATEMENT = re.compile(r"^.*Error when executing query: (.*?)\s+query: .*", re.DOTALL)
_PLACE = re.compile(
    "No space left on device|disk is full|Disk quota exceeded|Read-only file system|write a readonly database|"
    "unable to open database file"
)

START_AGAIN: Final = "make room or rights there and start again: what is done is kept"
"""What helps where a place can be written no longer."""


def one_line(error: object) -> str:
    """Return an error's message without its line breaks; the name of its class where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


class UserError(Exception):
    """Wrong input or configuration: the command line prints the message alone and exits with 2.

    The message is one line that says what is wrong, where, and what to do.
    """


class ComponentError(Exception):
    """A component failed; the message is one line that names it and the cause."""

    def __init__(self, component_id: str, cause: Exception) -> None:
        """Take the id of the component and what it raised."""
        lines = [line.strip() for line in _STATEMENT.sub(r"\1", str(cause)).splitlines() if line.strip()]
        problem = _BEAM_FRAME.sub("", lines[0]) if lines else type(cause).__name__
        advice = f"; {START_AGAIN}" if _PLACE.search(problem) else ""
        super().__init__(f"{component_id} failed: {problem}{advice}")
        self.component_id = component_id


class WorkerKilledError(Exception):
    """A worker process of Beam was killed; the message is one line."""

    def __init__(self, name: str) -> None:
        """Take the name of the signal."""
        super().__init__(
            f"a worker process of Beam was killed ({name}), perhaps for lack of memory: start again, with fewer "
            "beam.workers where that does not help"
        )


@contextmanager
def causes_raised(*kinds: type[Exception]) -> Iterator[None]:
    """Raise what was raised on a worker, which runners hand on in other guises: with the name of the step, as text.

    Args:
        kinds: Exceptions that take their message alone, which is one line. Others are raised as the runner gives them.

    Raises:
        UserError: Beam's job server does not answer.
    """
    try:
        yield
    except Exception as error:
        from grpc import FutureTimeoutError

        told = f"{type(error).__name__}: {error}"
        for kind in kinds:
            if match := re.search(rf"\b{kind.__name__}: (.*?)(?: \[while running .*)?$", told, re.MULTILINE):
                raise kind(match[1]) from error
        if str(error).startswith(KeyboardInterrupt.__name__):
            raise KeyboardInterrupt from error
        if isinstance(error, FutureTimeoutError):
            raise UserError("Beam's job server does not answer: start it, or name another beam.job_endpoint") from error
        raise


@contextmanager
def worker_deaths_raised() -> Iterator[None]:
    """Raise, in the main thread, that a worker process of Beam was killed: Beam would wait for it for ever.

    In other threads nothing is raised.

    Raises:
        WorkerKilledError: A worker process was killed, or has crashed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled in the main thread alone
        return
    from grpc import RpcError  # as late as Beam, which is loaded now

    before, main, left = threading.excepthook, threading.get_ident(), threading.Event()

    def hear(problem: threading.ExceptHookArgs) -> None:
        if names and isinstance(problem.exc_value, RpcError):
            return  # a thread still listens to a worker that is gone
        before(problem)
        if name := _killed_by(problem.exc_value):
            names.append(name)
            logging.getLogger(_VOICE_OF_WORKERS).setLevel(logging.CRITICAL + 1)
            threading.Thread(target=insist, daemon=True).start()

    def insist() -> None:
        # Once does not do: clearing up, Beam waits for workers that have not begun yet as well.
        while not left.is_set():
            signal.pthread_kill(main, WORKER_DEATH)
            left.wait(_AGAIN_SECONDS)

    def interrupt(*_: object) -> None:
        raise WorkerKilledError(names[0])

    names: list[str] = []
    threading.excepthook = hear
    handler = signal.signal(WORKER_DEATH, interrupt)
    try:
        yield
    finally:
        left.set()
        signal.signal(WORKER_DEATH, handler)
        if not names:  # else what is left of Beam goes on complaining that its workers are gone
            threading.excepthook = before


def _killed_by(error: BaseException | None) -> str | None:
    """Return the name of the signal that has ended a worker process, where one has."""
    ended = _WORKER_ENDED.fullmatch(str(error))
    code = int(ended[1]) if ended else 0
    number = -code if code < 0 else code - 128
    # Ctrl-C reaches this process as well, which ends as interrupted.
    return None if number == signal.SIGINT else {each.value: each.name for each in signal.Signals}.get(number)
