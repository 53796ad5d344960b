"""What a webhook hears of a run on Kubeflow: from its first step, and from the one that starts when all have ended."""

import json
from pathlib import Path
from typing import Any

import pytest
from tfx.types import standard_artifacts
from webhook_server import WebhookServer

from components.data_gate.errors import DataError
from pipeline.config import load_config
from pipeline.errors import ComponentError, UserError
from pipeline.kubeflow import telling
from pipeline.kubeflow.telling import RunTold, telling_of
from pipeline.notify.notes import RunNotes
from schema.reports.blessing import BlessingDecision
from schema.reports.events import RunBlessed, RunFailed
from schema.reports.serving import ChangeReport, Origin

RUN_ID = "0d3be0ae-5a3f-4c1c-9d0b-0a8a4f0f6a53"
BLESSED = RunBlessed(pipeline="clinic", version="3")


def invocation(root: Path, url: str = "http://localhost:1", **more: Any) -> str:
    """As Kubeflow hands over the parameters of a step of a run that a webhook is told of."""
    values: dict[str, Any] = {"name": "clinic", "notify.url": url, "notify.tries": 1, **more.pop("settings", {})}
    config = load_config("demo", values, data=root, root=root)
    told = RunTold(pipeline=config.name, root=root, notify=config.notify).model_dump_json(exclude_none=True)
    return json.dumps({"inputs": {"parameterValues": {"run_id": RUN_ID, "told": told, **more}}})


def end(root: Path, url: str, state: str = "COMPLETE", **settings: Any) -> None:
    telling.main([invocation(root, url, status={"state": state, "error": {}}, settings=settings)])


def test_nobody_is_told_unless_it_is_compiled_in() -> None:
    assert telling_of("Trainer", json.dumps({"inputs": {"parameterValues": {"epochs": 3.0}}})) is None
    assert telling_of("Trainer", json.dumps({"inputs": {}})) is None


def test_a_run_from_its_start_to_its_end(tmp_path: Path) -> None:
    with WebhookServer() as server:
        for component in ("ChangeDetector", "ChangeDetector", "Trainer"):  # the first one is started again
            step = telling_of(component, invocation(tmp_path, server.url))
            assert step is not None
            step.begin()
            step.end({}, {"changes": [changes(tmp_path, "data")]})
        RunNotes(tmp_path, RUN_ID).leave("Pusher", BLESSED)
        end(tmp_path, server.url)
        end(tmp_path, server.url)  # its pod is replaced
    assert server.types == ["started", "blessed"]
    first, last = server.requests
    assert json.loads(last.body) == {"format_version": 1, "pipeline": "clinic", "version": "3"}
    assert first.headers["ce-subject"] == last.headers["ce-subject"] == f"clinic/{RUN_ID}"
    assert first.headers["ce-source"] == f"kubeflow:{tmp_path}"
    assert first.headers["ce-id"] != last.headers["ce-id"]


def test_what_is_told_again_bears_the_same_id(tmp_path: Path) -> None:
    """Where the mark could not be written, whoever hears it can tell."""
    RunNotes(tmp_path, RUN_ID).leave("Pusher", BLESSED)
    with WebhookServer() as server:
        end(tmp_path, server.url)
        (tmp_path / "notes" / RUN_ID / "ended").unlink()
        end(tmp_path, server.url)
    first, second = (request.headers["ce-id"] for request in server.requests)
    assert first == second


def changes(folder: Path, *found: Any) -> standard_artifacts.ExampleAnomalies:
    artifact = standard_artifacts.ExampleAnomalies()
    artifact.uri = str(folder / "changes")
    origin = Origin(data="d", settings="s", code="c")
    ChangeReport(origin=origin, spans=[1], version=3, changes=list(found)).write(artifact.uri)
    return artifact


@pytest.mark.parametrize("kind", ["unchanged", "blessed", "not_blessed"])
def test_what_became_of_the_model(tmp_path: Path, kind: str) -> None:
    component = "ChangeDetector" if kind == "unchanged" else "Pusher"
    blessing, probe = standard_artifacts.ModelBlessing(), standard_artifacts.InfraBlessing()
    pushed = standard_artifacts.PushedModel()
    blessing.uri = str(tmp_path / "blessing")
    BlessingDecision(blessed=True, baseline=None, rules=[]).write(blessing.uri)
    probe.set_int_custom_property("blessed", int(kind == "blessed"))
    if kind == "blessed":
        pushed.set_string_custom_property("pushed_version", "3")
    outputs = {"changes": [changes(tmp_path)], "pushed_model": [pushed]}
    with WebhookServer() as server:
        step = telling_of(component, invocation(tmp_path, server.url))
        assert step is not None
        step.end({"blessing": [blessing], "infra_blessing": [probe]}, outputs)
        end(tmp_path, server.url)
    assert server.types == [kind]
    expected = {"failures": ["the exported model did not pass the serving probe; see the report"]}
    expected_data = expected if kind == "not_blessed" else {"version": "3"}
    assert json.loads(server.requests[0].body) == {"format_version": 1, "pipeline": "clinic", **expected_data}


def test_why_a_step_failed(tmp_path: Path) -> None:
    failure = ComponentError("DataGate", cause := DataError("patient 'P1' is in two sets: mend it", "a leak"))
    failure.__cause__ = cause
    with WebhookServer() as server:
        step = telling_of("DataGate", invocation(tmp_path, server.url))
        assert step is not None
        step.begin()
        step.fail(failure)
        end(tmp_path, server.url, "FAILED")
    assert server.types == ["data_refused"]
    assert json.loads(server.requests[0].body)["case"] == "a leak"
    assert b"P1" not in server.requests[0].body
    assert not [path for path in (tmp_path / "notes").rglob("*.json") if "P1" in path.read_text()]


def test_a_step_that_was_told_to_stop(tmp_path: Path) -> None:
    with WebhookServer() as server:
        step = telling_of("Trainer", invocation(tmp_path, server.url))
        assert step is not None
        step.begin()
        step.stop()
        end(tmp_path, server.url, "FAILED")
    assert server.types == ["interrupted"]


def test_the_state_may_be_text(tmp_path: Path) -> None:
    with WebhookServer() as server:
        telling.main([invocation(tmp_path, server.url, status='{"state": "FAILED"}')])
    (request,) = server.requests
    cause = "no step says why; Kubeflow's state of them is FAILED"
    assert json.loads(request.body) == {
        "format_version": 1, "pipeline": "clinic", "component": None, "cause": cause
    }  # fmt: skip


def test_a_run_that_ended_well_for_reasons_that_nobody_noted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with WebhookServer() as server:
        end(tmp_path, server.url, "SUCCEEDED")
    assert server.requests == []
    assert capfd.readouterr().err == (
        "lungseg: the run has ended well, but no step has noted with what: the webhook is told nothing\n"
    )


def test_a_webhook_that_is_away_fails_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    RunNotes(tmp_path, RUN_ID).leave("Reporter", RunFailed(pipeline="clinic", component="Reporter", cause="x"))
    with WebhookServer(500) as server:
        step = telling_of("ChangeDetector", invocation(tmp_path, server.url))
        assert step is not None
        step.begin()
        step.end({}, {"changes": [changes(tmp_path, "data")]})
        end(tmp_path, server.url, "FAILED")
    assert capfd.readouterr().err.splitlines() == [
        f"lungseg: the webhook at 127.0.0.1 answered 500: it may not know of lungseg.run.{kind}"
        for kind in ("started", "failed")
    ]


def test_a_secret_that_is_missing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The first step refuses it before anything is done; the last one fails nothing."""
    settings: dict[str, Any] = {"notify.headers": {"Authorization": {"env": "NO_SUCH_VARIABLE"}}}
    line = "notify.headers.Authorization: environment variable NO_SUCH_VARIABLE must hold one line of plain text"
    step = telling_of("ChangeDetector", invocation(tmp_path, settings=settings))
    assert step is not None
    with pytest.raises(UserError) as caught:
        step.begin()
    assert str(caught.value) == line
    end(tmp_path, "http://localhost:1", **settings)
    assert capfd.readouterr().err == f"lungseg: nobody was told what became of the run: {line}\n"


def test_notes_that_cannot_be_written_fail_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes").touch()
    with WebhookServer() as server:
        step = telling_of("ChangeDetector", invocation(tmp_path, server.url))
        assert step is not None
        step.begin()
    assert server.types == ["started"]
    line = f"lungseg: what the webhook is to be told cannot be noted under '{tmp_path}': "
    assert [said.startswith(line) for said in capfd.readouterr().err.splitlines()] == [True, True]
