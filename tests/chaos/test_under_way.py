"""Faults while a run is under way: another one, a signal, a worker of Beam that dies."""

import logging
import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from watched import WatchedRun, check_ends_as, check_whole, finished

from pipeline.root import LOG_FILE
from schema.reports.result import RunResult

pytestmark = pytest.mark.chaos

_LOG = logging.getLogger(__name__)


def test_two_runs_at_once_and_one_that_is_told_to_stop(data: Path, undisturbed: RunResult, tmp_path: Path) -> None:
    root = tmp_path / "root"
    first = WatchedRun(data, root)
    assert first.wait_for("RecordValidator"), first.lines
    config = (root / "config.yaml").read_bytes()
    code, output = finished(data, root, "--set", "train.seed=5")
    assert code == 2
    assert output == (
        f"lungseg: a run, a study or `lungseg gc` is under way under '{root}': start again when it has ended, or name "
        "another --root"
    )
    assert (root / "config.yaml").read_bytes() == config

    assert first.wait_for("Transform")
    first.send(signal.SIGTERM)
    assert first.end() == -signal.SIGTERM
    assert "Traceback" not in "\n".join(first.lines)
    check_whole(root)
    check_ends_as(undisturbed, data, root)
    log = (root / LOG_FILE).read_text(errors="replace")
    starts = re.findall(r"^==== .*, process (\d+)$", log, re.MULTILINE)
    assert len(starts) == 2
    assert starts[0] == str(first.pid)


def test_a_worker_of_beam_that_dies(data: Path, tmp_path: Path) -> None:
    """Workers write records in an order of their own, so that the figures are not those of one process."""
    root = tmp_path / "root"
    workers = ("--set", "beam.mode=multi_processing", "--set", "beam.workers=2")
    run = WatchedRun(data, root, *workers)
    assert run.wait_for("RecordValidator"), run.lines
    victim = first_worker_of(run.pid)
    os.kill(victim, signal.SIGKILL)
    code = run.end()
    _LOG.info("a worker killed: hit %s, %d: %s", run.at, code, run.last)
    assert "Traceback" not in "\n".join(run.lines)
    check_whole(root)
    assert code == 1
    assert run.last.startswith("lungseg: a worker process of Beam was killed (SIGKILL), ")
    code, output = finished(data, root, *workers)
    assert code == 0, output
    assert RunResult.read(root).status == "blessed"
    check_whole(root)


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
