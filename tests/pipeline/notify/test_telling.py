"""What a webhook is told of a run: CloudEvents, one at the start and one at the end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from webhook_server import Request, WebhookServer

from components.data_gate.errors import DataError
from pipeline.config import Config, load_config
from pipeline.errors import ComponentError, UserError, WorkerKilledError
from pipeline.notify.telling import decision, telling
from pipeline.notify.webhook import open_webhook
from schema.record import RecordError
from schema.reports.result import RunResult


def config_of(server: WebhookServer, root: Path = Path("/runs/a b")) -> Config:
    return load_config("demo", {"name": "clinic", "notify.url": server.url, "notify.tries": 1}, data=root, root=root)


def tell_of(server: WebhookServer, error: BaseException | None = None, result: RunResult | None = None) -> list[str]:
    """Run with this end; returns the warnings."""
    warnings: list[str] = []
    config = config_of(server)
    with suppress(BaseException), telling(config, open_webhook(config.notify), warnings.append) as tell:
        if result:
            tell(decision(result))
        if error:
            raise error
    return warnings


def failed(component: str, cause: Exception) -> ComponentError:
    error = ComponentError(component, cause)
    error.__cause__ = cause
    return error


def result(version: str | None, *failures: str) -> RunResult:
    return RunResult(
        status="not_blessed" if failures else "blessed", pushed_version=version, pipeline="clinic", data_span=1,
        data_spans=[1], policy="chest", failures=list(failures), rules=[], slices=[], components=[],
    )  # fmt: skip


def data(request: Request) -> Any:
    values = json.loads(request.body)
    assert (values.pop("format_version"), values.pop("pipeline")) == (1, "clinic")
    return values


def attributes(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix("ce-"): value for name, value in headers.items() if name.startswith("ce-")}


def test_attributes_are_those_of_cloud_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "node-1")
    with WebhookServer() as server:
        tell_of(server, result=result("3"))
    first, last = (attributes(request.headers) for request in server.requests)
    assert set(first) == {"specversion", "id", "source", "type", "subject", "time"}
    assert (first["specversion"], first["source"]) == ("1.0", "file://node-1/runs/a%20b")
    assert [first["type"], last["type"]] == ["lungseg.run.started", "lungseg.run.blessed"]
    assert re.fullmatch(r"clinic/[0-9a-f-]{36}", first["subject"])
    assert first["subject"] == last["subject"]
    assert first["id"] != last["id"]
    age = datetime.now(tz=timezone.utc) - datetime.fromisoformat(first["time"].replace("Z", "+00:00"))
    assert timedelta() <= age < timedelta(hours=1)
    assert {request.headers["content-type"] for request in server.requests} == {"application/json"}


def test_the_library_of_cloud_events_reads_them() -> None:
    http = pytest.importorskip("cloudevents.core.bindings.http", reason="cloudevents is missing: `make setup`")
    with WebhookServer() as server:
        tell_of(server, result=result(None, "dice_mean on overall: is 0.5, must be at least 0.9"))
    message = http.HTTPMessage(dict(server.requests[1].headers), server.requests[1].body)
    event = http.from_http_event(message)
    assert event.get_type() == "lungseg.run.not_blessed"
    assert event.get_time().utcoffset() == timedelta()
    assert event.get_datacontenttype() == "application/json"
    assert event.get_data()["failures"] == ["dice_mean on overall: is 0.5, must be at least 0.9"]


@pytest.mark.parametrize(
    ("end", "kind", "expected"),
    [
        (result("3"), "blessed", {"version": "3"}),
        (result(None, "a", "b"), "not_blessed", {"failures": ["a", "b"]}),
        (result("3").model_copy(update={"status": "unchanged"}), "unchanged", {"version": "3"}),
        (
            failed("DataGate", DataError("patient 'P1' is in two sets: mend it", "a leak")),
            "data_refused",
            {"case": "a leak"},
        ),
        (
            failed("Evaluator", RecordError("image of P1", "mask", "is empty")),
            "failed",
            {"component": "Evaluator", "cause": "RecordError"},
        ),
        (
            failed("Trainer", OSError(28, "No space left on device", "/data/P1.png")),
            "failed",
            {"component": "Trainer", "cause": "OSError: No space left on device"},
        ),
        (ValueError("P1"), "failed", {"component": None, "cause": "ValueError"}),
        (UserError("the folder is empty"), "failed", {"component": None, "cause": "the folder is empty"}),
        (
            failed("Transform", WorkerKilledError("SIGKILL")),
            "failed",
            {"component": "Transform", "cause": "WorkerKilledError"},
        ),
        (KeyboardInterrupt(), "interrupted", {"by": "Ctrl-C"}),
        (failed("Transform", RuntimeError("KeyboardInterrupt [while running 'a']")), "interrupted", {"by": "Ctrl-C"}),
    ],
)
def test_an_end(end: RunResult | BaseException, kind: str, expected: object) -> None:
    with WebhookServer() as server:
        if isinstance(end, RunResult):
            assert tell_of(server, result=end) == []
        else:
            assert tell_of(server, end) == []
    assert server.types == ["started", kind]
    assert [data(request) for request in server.requests] == [{}, expected]
    assert b"P1" not in server.requests[1].body


def test_what_serves_is_told_even_if_the_report_fails() -> None:
    with WebhookServer() as server:
        tell_of(server, failed("Reporter", ValueError("x")), result("3"))
    assert server.types == ["started", "blessed", "failed"]


def test_a_webhook_that_does_not_work_costs_a_line_for_each_event() -> None:
    with WebhookServer(500) as server:
        assert tell_of(server, result=result("3")) == [
            f"the webhook at 127.0.0.1 answered 500: it may not know of lungseg.run.{kind}"
            for kind in ("started", "blessed")
        ]


def test_nobody_is_told(tmp_path: Path) -> None:
    config = load_config("demo", {}, data=tmp_path, root=tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    with telling(config, open_webhook(config.notify), print) as tell:
        assert signal.getsignal(signal.SIGTERM) == handler
        tell(decision(result("3")))


def test_handlers_are_as_before() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with WebhookServer() as server:
        tell_of(server, ValueError())
    assert signal.getsignal(signal.SIGTERM) == handler


WAIT = """
import os, sys, threading, time
from pathlib import Path
from pipeline.config import load_config
from pipeline.errors import worker_deaths_raised
from pipeline.notify.telling import telling
from pipeline.notify.webhook import open_webhook
values = {"name": "clinic", "notify.url": sys.argv[1], "notify.seconds": 300}
config = load_config("demo", values, data=Path("a"), root=Path("b"))
def lose_a_worker():
    sys.stdin.readline()
    raise RuntimeError("Worker subprocess exited with return code 143")
with telling(config, open_webhook(config.notify), print), worker_deaths_raised():
    if sys.argv[2] == "workers":
        threading.Thread(target=lose_a_worker).start()
    if sys.argv[2] == "fork" and os.fork():
        os.wait()
    print("ready", os.getpid(), flush=True)
    time.sleep(600)
"""


def wait_and_end(server: WebhookServer, number: int, mode: str = "") -> int:
    """Start a process that tells and waits, and send it a signal; returns how it ended."""
    with subprocess.Popen([sys.executable, "-c", WAIT, server.url, mode], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while not (line := process.stdout.readline()).startswith("ready"):
            assert line
        os.kill(int(line.split()[1]), number)
        if mode == "fork":
            assert process.stdout.readline().startswith("ready"), "it goes on"
            process.kill()
        return process.wait(timeout=60)


@pytest.mark.parametrize(("number", "by"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")])
def test_a_signal_is_told_and_ends_the_process(number: signal.Signals, by: str) -> None:
    with WebhookServer() as server:
        assert wait_and_end(server, number) == -number
    assert server.types == ["started", "interrupted"]
    assert data(server.requests[1]) == {"by": by}


def test_a_process_of_its_own_that_is_ended_tells_nothing() -> None:
    """As Python's pools end their workers."""
    with WebhookServer() as server:
        wait_and_end(server, signal.SIGTERM, "fork")
    assert server.types == ["started"]


def test_workers_of_beam_that_are_told_to_stop_as_well_do_not_count() -> None:
    with (
        WebhookServer() as server,
        subprocess.Popen(
            [sys.executable, "-c", WAIT, server.url, "workers"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        server.delay = 1
        process.terminate()
        while len(server.requests) < 2:
            time.sleep(0.01)
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.wait(timeout=100) == -signal.SIGTERM
    assert server.types == ["started", "interrupted"]


def test_a_second_signal_does_not_wait_for_the_webhook() -> None:
    with (
        WebhookServer() as server,
        subprocess.Popen([sys.executable, "-c", WAIT, server.url, ""], stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        server.delay = 600
        process.terminate()
        while len(server.requests) < 2:
            time.sleep(0.01)
        process.terminate()
        assert process.wait(timeout=100) == -signal.SIGTERM
