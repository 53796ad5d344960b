"""The command as a process: on worker processes of Beam's, and stopped in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

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


def test_interrupted_from_the_keyboard(tmp_path: Path, save: Callable[..., Path], mask: Pixels) -> None:
    first = save("set/images/0.png", np.random.default_rng(0).integers(0, 256, (1200, 1200), np.uint8))
    first_mask = save("set/masks/0.png", np.kron(mask, np.ones((30, 25), np.uint8)))
    for number in range(1, 600):
        os.link(first, first.with_name(f"{number}.png"))
        os.link(first_mask, first_mask.with_name(f"{number}.png"))
    output = tmp_path / "out"
    # Shells start what runs in the background deaf to the keyboard, and tests with it.
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *command("--input", tmp_path / "set", "--output", output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + SECONDS
    while not list(output.glob(".span-1.partial/records-*")):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert b"Traceback" not in errors
    assert list(output.iterdir()) == []
