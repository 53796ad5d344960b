"""What went wrong is told in one line, also on workers of Beam."""

import subprocess
import sys

import pytest
from grpc import FutureTimeoutError

from pipeline.errors import UserError, causes_raised


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


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (137, "lungseg: a worker process of Beam was killed (SIGKILL), perhaps for lack of memory: start again, "),
        (-9, "lungseg: a worker process of Beam was killed (SIGKILL), "),
        (1, "went on"),
    ],
)
def test_a_worker_of_beam_that_is_killed_ends_the_process(code: int, said: str) -> None:
    program = f"""
import threading
from rich.console import Console
from pipeline.errors import ending_with_workers

def work():
    raise RuntimeError("Worker subprocess exited with return code {code}")

with ending_with_workers(Console()):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(said)
    assert done.returncode == (0 if said == "went on" else 1)
