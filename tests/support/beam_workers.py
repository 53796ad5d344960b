"""Worker processes of Beam that die, and what Beam does then."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

SAID = (
    "a worker process of Beam was killed (SIGKILL), perhaps for lack of memory: start again, with fewer beam.workers "
    "where that does not help"
)
"""Of one that was killed by SIGKILL."""


def end_one(code: int) -> None:
    """Do as Beam does when a worker process has ended: raise in a thread of its own."""

    def work() -> None:
        raise RuntimeError(f"Worker subprocess exited with return code {code}")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def lose_one(*_: Any, code: int = 137) -> None:
    """Do the same, and wait for it for ever."""
    end_one(code)
    threading.Event().wait(120)


def first_worker_of(group: int) -> int:
    """Wait for a worker process of Beam in a process group; return its id."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # one that has ended meanwhile
                arguments = (entry / "cmdline").read_text().split("\0")
                is_worker = arguments[1:3] == ["-m", "apache_beam.runners.worker.sdk_worker_main"]
                if is_worker and os.getpgid(int(entry.name)) == group:
                    return int(entry.name)
        time.sleep(0.05)
    raise AssertionError("no worker was started")
