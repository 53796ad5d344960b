"""What went wrong is told in one line, also on workers of Beam."""

import logging
import signal
import threading
import time
from collections.abc import Iterator

import beam_workers
import pytest
from grpc import FutureTimeoutError, RpcError

from pipeline import errors
from pipeline.errors import UserError, WorkerKilledError, causes_raised, worker_deaths_raised

WORKERS = logging.getLogger("apache_beam.runners.portability.local_job_service")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """After a death, what Beam leaves behind is silenced until the process ends."""
    hook, level = threading.excepthook, WORKERS.level
    yield
    threading.excepthook = hook
    WORKERS.setLevel(level)


def raised(error: Exception) -> None:
    with causes_raised(UserError, LookupError):
        raise error


@pytest.mark.parametrize(
    "told",
    [
        "LookupError: 'a' is gone [while running 'Read']",
        "Error received from SDK harness: Traceback (most recent call last):\n  raise LookupError\n"
        "schema.errors.LookupError: 'a' is gone\n\nDuring handling\nRuntimeError: another one",
    ],
)
def test_what_a_worker_raised(told: str) -> None:
    with pytest.raises(LookupError) as caught:
        raised(RuntimeError(told))
    assert caught.value.args == ("'a' is gone",)


def test_what_else_is_raised_stays() -> None:
    with pytest.raises(ZeroDivisionError, match=r"^by 0$"):
        raised(ZeroDivisionError("by 0"))


def test_ctrl_c_on_a_worker() -> None:
    with pytest.raises(KeyboardInterrupt):
        raised(RuntimeError("KeyboardInterrupt [while running 'Read']"))


def test_no_job_server() -> None:
    with pytest.raises(UserError, match=r"^Beam's job server does not answer: "):
        raised(FutureTimeoutError())


@pytest.mark.parametrize(("code", "name"), [(137, "SIGKILL"), (-9, "SIGKILL"), (139, "SIGSEGV"), (-15, "SIGTERM")])
def test_a_worker_of_beam_that_is_killed_ends_the_wait_for_it(code: int, name: str) -> None:
    with pytest.raises(WorkerKilledError) as caught, worker_deaths_raised():
        beam_workers.lose_one(code=code)
    assert str(caught.value) == beam_workers.SAID.replace("SIGKILL", name)


@pytest.mark.parametrize("code", [1, 3, 255, 130, -2])
def test_a_worker_of_beam_that_ends_otherwise_does_not(code: int) -> None:
    """As at the end of a job, or by Ctrl-C, of which this process hears by itself."""
    with worker_deaths_raised():
        beam_workers.end_one(code)
        time.sleep(0.1)


def test_what_waits_for_workers_while_it_clears_up_is_ended_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_again() -> None:
        try:
            beam_workers.lose_one()
        finally:
            threading.Event().wait(120)

    monkeypatch.setattr(errors, "_AGAIN_SECONDS", 0.5)
    with pytest.raises(WorkerKilledError), worker_deaths_raised():
        wait_again()


def test_nothing_of_it_stays() -> None:
    hook, handler = threading.excepthook, signal.getsignal(signal.SIGURG)
    with worker_deaths_raised():
        pass
    assert (threading.excepthook, signal.getsignal(signal.SIGURG)) == (hook, handler)


def test_after_a_death_the_other_workers_threads_complain_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda problem: heard.append(str(problem.exc_value)))
    handler = signal.getsignal(signal.SIGURG)
    with pytest.raises(WorkerKilledError), worker_deaths_raised():
        beam_workers.lose_one()
    assert signal.getsignal(signal.SIGURG) == handler
    heard.clear()

    def fail(error: Exception) -> None:
        raise error

    for error in (RpcError("the connection is gone"), ValueError("something else")):
        thread = threading.Thread(target=fail, args=(error,))
        thread.start()
        thread.join()
    assert heard == ["something else"]
    assert not WORKERS.isEnabledFor(logging.CRITICAL)


def test_signals_are_for_the_main_thread_alone() -> None:
    done = []

    def work() -> None:
        with worker_deaths_raised():
            done.append(threading.current_thread())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [thread]
