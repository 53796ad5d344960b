"""The last step as the cluster starts it, after steps whose work is made up: what a webhook hears."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubeflow_cluster import Cluster, Done, StepError, processes
from webhook_server import WebhookServer

from pipeline.kubeflow.exit_handler import add_notifier
from pipeline.kubeflow.telling import RunTold
from pipeline.notify.notes import KILLED
from pipeline.notify.settings import NotifySettings

GOLDEN = Path(__file__).with_name("demo.yaml")

WORK = """
import json, os, pathlib, signal, sys
from types import SimpleNamespace
from components.data_gate.errors import DataError
from pipeline.errors import ComponentError
from pipeline.kubeflow.telling import telling_of
from schema.reports.serving import ChangeReport, Origin
component = sys.argv[1]
(invocation,) = [value for value in sys.argv if value.startswith('{"inputs"')]
outputs = json.loads(invocation)["outputs"]
folder = pathlib.Path(outputs["outputFile"]).parent
telling = telling_of(component, invocation)
telling.begin()
def fail(error, code):
    failure = ComponentError(component, error)
    failure.__cause__ = error
    telling.fail(failure)
    sys.exit(code)
changes = ["no_model"]
DO
ChangeReport(origin=Origin(data="", settings="", code=""), spans=[1], version=3, changes=changes).write(folder)
for artifacts in outputs["artifacts"].values():
    artifacts["artifacts"][0]["metadata"]["unchanged"] = int(not changes)
pathlib.Path(outputs["outputFile"]).write_text(json.dumps({"artifacts": outputs["artifacts"]}))
telling.end({}, {"changes": [SimpleNamespace(uri=folder)]})
"""


def run(folder: Path, server: WebhookServer, do: str) -> dict[str, Done]:
    """Runs the first two steps, ChangeDetector and ExampleGen, and the last one; the two do this."""
    spec: dict[str, Any] = next(yaml.safe_load_all(GOLDEN.read_text()))
    dag = spec["root"]["dag"]
    dag["tasks"] = {name: dag["tasks"][name] for name in ("ChangeDetector", "ExampleGen")}
    told = RunTold(pipeline="clinic", root=folder, notify=NotifySettings(url=server.url, tries=1))
    add_notifier(spec, told, "lungseg:1")
    return Cluster(folder, processes(folder, step=WORK.replace("DO", do))).run([spec], {})


def last(server: WebhookServer) -> Any:
    values = json.loads(server.requests[-1].body)
    assert (values.pop("format_version"), values.pop("pipeline")) == (1, "clinic")
    return values


def test_what_is_refused(tmp_path: Path) -> None:
    do = "if component == 'ExampleGen': fail(DataError('patient P1 is in two sets', 'a leak'), 3)"
    with WebhookServer() as server, pytest.raises(StepError, match="is not started again"):
        run(tmp_path, server, do)
    assert server.types == ["started", "data_refused"]
    assert last(server) == {"case": "a leak"}


def test_a_step_that_is_killed_each_time(tmp_path: Path) -> None:
    do = "if component == 'ExampleGen': os.kill(os.getpid(), signal.SIGKILL)"
    with WebhookServer() as server, pytest.raises(StepError):
        run(tmp_path, server, do)
    assert server.types == ["started", "failed"]
    assert last(server) == {"component": "ExampleGen", "cause": KILLED}


def test_a_step_that_is_started_again_is_not_told_of(tmp_path: Path) -> None:
    do = "first = not (folder / 'was').exists(); (folder / 'was').touch()\nif first: fail(ValueError('P1'), 1)"
    with WebhookServer() as server:
        done = run(tmp_path, server, do)
    assert set(done) == {"ChangeDetector", "ExampleGen", "Notifier"}
    assert all("attempt 1 of 3" in done[name].log for name in ("ChangeDetector", "ExampleGen"))
    assert server.types == ["started"], "once"
    assert done["Notifier"].log == (
        "lungseg: the run has ended well, but no step has noted with what: the webhook is told nothing\n"
    )


def test_a_run_that_finds_nothing_new(tmp_path: Path) -> None:
    with WebhookServer() as server:
        done = run(tmp_path, server, "changes = []")
    assert set(done) == {"ChangeDetector", "Notifier"}
    assert server.types == ["started", "unchanged"]
    assert last(server) == {"version": "3"}


def test_a_webhook_that_is_away_does_not_fail_the_run(tmp_path: Path) -> None:
    with WebhookServer(500) as server:
        done = run(tmp_path, server, "changes = []")
    assert server.types == ["started", "unchanged"]
    assert done["Notifier"].log == (
        "lungseg: the webhook at 127.0.0.1 answered 500: it may not know of lungseg.run.unchanged\n"
    )
