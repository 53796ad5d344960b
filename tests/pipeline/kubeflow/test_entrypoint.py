"""What starts a step: again where it failed, and not where that cannot help."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.kubeflow import entrypoint

Run = Callable[[str, int], int]


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    """A file with a line for each start of the step."""
    return tmp_path / "starts"


@pytest.fixture
def run(starts: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a step that executes `do`, in which `start` counts from 1, without pauses; returns the exit code."""
    monkeypatch.setattr(entrypoint, "_FIRST_PAUSE", 0.0)

    def call(do: str, retries: int) -> int:
        monkeypatch.setattr(entrypoint, "_STEP", ("-c", program(starts, do)))
        return entrypoint.Attempts(retries, ["Trainer", "--flag={}"]).run()

    return call


def program(starts: Path, do: str) -> str:
    return (
        "import os, signal, sys, time\n"
        "assert sys.argv[1:] == ['Trainer', '--flag={}']\n"
        f"with open({str(starts)!r}, 'a+') as file:\n"
        "    print('start', file=file)\n"
        "    file.seek(0)\n"
        f"    start = len(file.readlines())\n{do}"
    )


def count(starts: Path) -> int:
    return len(starts.read_text().splitlines())


def test_a_step_that_ends_well_runs_once(run: Run, starts: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("", 2) == 0
    assert count(starts) == 1
    assert capfd.readouterr() == ("", "")


def test_a_step_that_fails_is_started_again(run: Run, starts: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kill = "if start == 1: sys.exit(1)\nif start == 2: os.kill(os.getpid(), signal.SIGKILL)"
    assert run(kill, 3) == 0
    assert count(starts) == 3
    assert capfd.readouterr().err.splitlines() == [
        "lungseg: Trainer attempt 1 of 4 failed (code 1): starts again in 0 seconds",
        "lungseg: Trainer attempt 2 of 4 was killed (SIGKILL): starts again in 0 seconds",
    ]


def test_what_an_attempt_has_started_ends_with_it(run: Run, tmp_path: Path) -> None:
    work = f"import time\nwhile True:\n    time.sleep(0.02)\n    open({str(tmp_path / 'alive')!r}, 'w').close()"
    do = (
        f"import subprocess; subprocess.Popen([sys.executable, '-c', {work!r}])\n"
        f"while not os.path.exists({str(tmp_path / 'alive')!r}): time.sleep(0.02)\n"
        "sys.exit(1)"
    )
    assert run(do, 0) == 1
    (tmp_path / "alive").unlink(missing_ok=True)
    time.sleep(0.3)
    assert not (tmp_path / "alive").exists()


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize(("end", "code"), [("sys.exit(7)", 7), ("os.kill(os.getpid(), signal.SIGSEGV)", 139)])
def test_a_step_that_fails_each_time_ends_with_its_code(
    run: Run, starts: Path, retries: int, end: str, code: int
) -> None:
    assert run(end, retries) == code
    assert count(starts) == retries + 1


@pytest.mark.parametrize(("code", "why"), [(2, "what it was given is wrong"), (3, "its data are over a limit")])
def test_what_would_fail_again_is_not_started_again(
    run: Run, starts: Path, capfd: pytest.CaptureFixture[str], code: int, why: str
) -> None:
    assert run(f"sys.exit({code})", 2) == code
    assert count(starts) == 1
    assert capfd.readouterr().err == f"lungseg: Trainer is not started again: {why} (code {code})\n"


def test_a_step_that_was_told_to_stop_alone_is_not_started_again(run: Run, starts: Path) -> None:
    assert run("os.kill(os.getpid(), signal.SIGTERM)", 2) == 143
    assert count(starts) == 1


def test_pauses_grow_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def sleep(_: object, seconds: float) -> bool:
        pauses.append(seconds)
        return True

    monkeypatch.setattr(entrypoint.Attempts, "_sleep", sleep)
    monkeypatch.setattr(entrypoint.Attempts, "_run_once", lambda _: 1)
    assert entrypoint.Attempts(7, ["Trainer"]).run() == 1
    assert pauses == [10, 20, 40, 80, 160, 300, 300]


@pytest.mark.parametrize(
    ("do", "code"),
    [
        # A training keeps its checkpoint first.
        ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); ready(); time.sleep(60)", 5),
        ("ready(); time.sleep(60)", 143),
        # In the pause before the next attempt.
        ("ready(); sys.exit(1)", 143),
    ],
)
def test_being_told_to_stop(starts: Path, tmp_path: Path, do: str, code: int) -> None:
    ready = tmp_path / "ready"
    step = program(starts, f"def ready(): open({str(ready)!r}, 'w').close()\n{do}")
    parent = (
        f"import sys; from pipeline.kubeflow import entrypoint; entrypoint._STEP = ('-c', {step!r}); "
        "sys.exit(entrypoint.main(sys.argv[1:]))"
    )
    with subprocess.Popen([sys.executable, "-c", parent, "--retries=2", "Trainer", "--flag={}"]) as process:
        while not ready.exists():
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == code
    assert count(starts) == 1


def test_what_it_starts_is_the_step_itself() -> None:
    command = [sys.executable, "-m", "pipeline.kubeflow.entrypoint", "--retries=2", "Trainer"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "step.py: error: the following arguments are required: --executor_class_path" in done.stderr
    assert done.stderr.endswith("lungseg: Trainer is not started again: what it was given is wrong (code 2)\n")


def test_it_imports_little() -> None:
    listed = "import sys; import pipeline.kubeflow.entrypoint; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    assert {"tfx", "tensorflow", "numpy", "pydantic"}.isdisjoint(done.stdout.split())
