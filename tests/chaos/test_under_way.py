"""Faults while a run is under way: another one, a signal, a worker of Beam that dies."""

import json
import logging
import os
import re
import signal
from pathlib import Path

import beam_workers
import pytest
from watched import WatchedRun, check_ends_as, check_whole, finished
from webhook_server import WebhookServer

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
    with WebhookServer() as server:
        run = WatchedRun(data, root, *workers, "--set", f"notify.url={server.url}")
        assert run.wait_for("RecordValidator"), run.lines
        os.kill(beam_workers.first_worker_of(run.pid), signal.SIGKILL)
        code = run.end()
    _LOG.info("a worker killed: hit %s, %d: %s", run.at, code, run.last)
    assert "Traceback" not in "\n".join(run.lines)
    check_whole(root)
    assert code == 1
    assert run.last == f"lungseg: RecordValidator failed: {beam_workers.SAID}"
    assert server.types == ["started", "failed"]
    assert json.loads(server.requests[1].body)["component"] == "RecordValidator"
    code, output = finished(data, root, *workers)
    assert code == 0, output
    assert RunResult.read(root).status == "blessed"
    check_whole(root)
