"""The command as a process: on worker processes of Beam's, and stopped in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import beam_workers
import numpy as np
import pytest

from schema.record import Pixels

pytestmark = pytest.mark.slow

SECONDS = 300


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "pipeline", "ingest", "--layout", "folder", *map(str, arguments)]


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_worker_processes_write_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    (folder / "images" / "c.png").write_bytes(b"")
    for mode, workers in (("in_memory", 1), ("multi_processing", 2)):
        where = ("--set", f"beam.mode={mode}", "--set", f"beam.workers={workers}")
        options = ("--input", folder, "--output", tmp_path / mode, "--size", 32, "--max-rejected", 0.1, *where)
        done = subprocess.run(command(*options), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert tree(tmp_path / "in_memory") == tree(tmp_path / "multi_processing")


@pytest.fixture
def many(tmp_path: Path, save: Callable[..., Path], mask: Pixels) -> Path:
    """Enough images that an ingest can be stopped in the middle."""
    first = save("set/images/0.png", np.random.default_rng(0).integers(0, 256, (1200, 1200), np.uint8))
    first_mask = save("set/masks/0.png", np.kron(mask, np.ones((30, 25), np.uint8)))
    for number in range(1, 600):
        os.link(first, first.with_name(f"{number}.png"))
        os.link(first_mask, first_mask.with_name(f"{number}.png"))
    return tmp_path / "set"


def wait_for_records(output: Path) -> None:
    until = time.monotonic() + SECONDS
    while not list(output.glob(".span-1.partial/records-*")):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_interrupted_from_the_keyboard(many: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    # Shells start what runs in the background deaf to the keyboard, and tests with it.
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *command("--input", many, "--output", output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for_records(output)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert b"Traceback" not in errors
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("early", [True, False])
def test_a_worker_process_that_is_killed(many: Path, tmp_path: Path, early: bool) -> None:
    """Early, when others have not begun yet."""
    output = tmp_path / "out"
    workers = ("--set", "beam.mode=multi_processing", "--set", "beam.workers=2")
    process = subprocess.Popen(
        command("--input", many, "--output", output, *workers),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    victim = beam_workers.first_worker_of(process.pid)
    if not early:
        wait_for_records(output)
    os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (1, f"lungseg: ingest failed: {beam_workers.SAID}\n")
    assert list(output.iterdir()) == []
