"""What the benchmarks share."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def seconds(run: Callable[[], object]) -> float:
    """Time that a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_megabytes() -> float:
    """Peak resident memory of this program; getrusage would count that of the process that started it as well."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def peak_of(script: str, *arguments: object) -> float:
    """Peak megabytes that a script, run in a fresh process, prints last."""
    command = [sys.executable, script, *map(str, arguments)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
