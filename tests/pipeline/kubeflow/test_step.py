"""One attempt at a step, blocker by blocker, with executors that are made up."""

import json
import os
import signal
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import standard_artifacts

from components.data_gate.errors import DataError
from pipeline.errors import UserError
from pipeline.kubeflow import step
from pipeline.notify.notes import RunNotes
from schema.reports.events import RunFailed, RunInterrupted

Json = dict[str, Any]
Call = Callable[..., tuple[Json, int]]

MODEL = {"artifactType": {"instanceSchema": "title: tfx.Model\ntype: object\n"}}
SPEC = {
    "artifacts": {"model": MODEL, "models.1": MODEL, "models.2": MODEL},
    "parameters": {"count": {"parameterType": "NUMBER_INTEGER"}},
}


class Recorder(base_executor.BaseExecutor):
    """Does what the test says."""

    do: Callable[..., None] = staticmethod(lambda *_: None)

    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> None:  # noqa: N802
        type(self).do(input_dict, output_dict, exec_properties)


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Runs a step that does `do`; returns what it has written and its exit code."""
    monkeypatch.setattr(step, "_LOCAL_COPIES", {"minio://": f"{tmp_path}/minio/"})
    monkeypatch.setattr("sys.argv", ["step"])
    ends: list[int] = []

    def end(code: int) -> None:
        ends.append(code)
        raise Ended

    monkeypatch.setattr(os, "_exit", end)

    def run(do: Callable[..., None], inputs: Json | None = None, component: str = "Step") -> tuple[Json, int]:
        monkeypatch.setattr(Recorder, "do", staticmethod(do))
        ends.clear()
        blessing = {"instanceSchema": "title: tfx.ModelBlessing\ntype: object\n"}
        logs = {"schemaTitle": "system.Artifact"}
        invocation = {
            "inputs": inputs or {},
            "outputs": {
                "artifacts": {
                    "blessing": {"artifacts": [{"name": "b", "uri": "minio://store/blessing", "type": blessing}]},
                    "executor-logs": {"artifacts": [{"name": "l", "uri": "minio://store/logs", "type": logs}]},
                },
                "outputFile": f"{tmp_path}/minio/store/output.json",
            },
        }
        previous = signal.getsignal(signal.SIGTERM)
        try:
            step.main([
                component,
                "--executor_class_path", f"{__name__}.Recorder",
                "--json_serialized_invocation_args", json.dumps(invocation),
                "--json_serialized_inputs_spec_args", json.dumps(SPEC),
                "--beam_plugins=tfx",
            ])  # fmt: skip
        except Ended:
            pass
        finally:
            signal.signal(signal.SIGTERM, previous)
        written = tmp_path / "minio/store/output.json"
        return json.loads(written.read_text()) if written.exists() else {}, ends[0] if ends else 0

    return run


def executor_input(**metadata_: Any) -> Json:
    """An input as Kubeflow hands it over: without a type."""
    model = {"name": "12", "uri": "minio://store/model", "type": {"instanceSchema": ""}, "metadata": metadata_}
    return {"parameterValues": {"count": 3.0}, "artifacts": {"model": {"artifacts": [model]}}}


def test_a_step(call: Call, tmp_path: Path) -> None:
    seen: list[Any] = []

    def do(inputs: Any, outputs: Any, properties: Any) -> None:
        seen.extend((inputs["model"][0], outputs["blessing"][0].uri, sorted(outputs), properties))
        outputs["blessing"][0].set_int_custom_property("blessed", 1)

    start = time.monotonic()
    written, code = call(do, executor_input(version=3.0))
    took = time.monotonic() - start
    model, uri, outputs, properties = seen
    assert code == 0
    assert isinstance(model, standard_artifacts.Model)
    assert model.uri == f"{tmp_path}/minio/store/model"
    assert model.get_int_custom_property("version") == 3
    assert uri == f"{tmp_path}/minio/store/blessing"
    assert outputs == ["blessing"], "the logs are no output of the component"
    assert properties == {"count": 3}
    (blessing,) = written["artifacts"]["blessing"]["artifacts"]
    assert blessing["uri"] == "minio://store/blessing"
    assert blessing["metadata"]["blessed"] == 1
    assert 0 <= blessing["metadata"]["seconds"] <= took


def test_what_a_condition_looks_at_is_no_input(call: Call) -> None:
    given = executor_input()
    given["artifacts"]["_Detector.changes"] = given["artifacts"]["model"]
    seen: list[list[str]] = []
    assert call(lambda inputs, *_: seen.append(list(inputs)), given)[1] == 0
    assert seen == [["model"]]


def test_no_artifact_is_handed_on(call: Call) -> None:
    written, code = call(lambda _, outputs, __: outputs["blessing"].clear())
    assert code == 0
    (blessing,) = written["artifacts"]["blessing"]["artifacts"]
    assert blessing["metadata"] == {"absent": 1}
    seen: list[types.Artifact] = []
    call(lambda inputs, *_: seen.extend(inputs["model"]), executor_input(absent=1.0))
    assert seen == []


def test_artifacts_of_one_name_are_joined(call: Call, tmp_path: Path) -> None:
    def handed(name: str, **metadata_: Any) -> Json:
        uri = f"minio://store/{name}"
        return {"artifacts": [{"name": name, "uri": uri, "type": {"instanceSchema": ""}, "metadata": metadata_}]}

    seen: list[Any] = []
    given = {"artifacts": {"models.2": handed("b", seed=8.0), "models.1": handed("a", seed=7.0), "model": handed("c")}}
    _, code = call(lambda inputs, *_: seen.append(inputs), given)
    assert code == 0
    (inputs,) = seen
    assert {key: len(artifacts) for key, artifacts in inputs.items()} == {"model": 1, "models": 2}
    assert [model.uri for model in inputs["models"]] == [f"{tmp_path}/minio/store/{name}" for name in "ab"]
    assert [model.get_int_custom_property("seed") for model in inputs["models"]] == [7, 8]
    assert all(isinstance(model, standard_artifacts.Model) for model in inputs["models"])


@pytest.mark.parametrize("place", ["blessing", ".temp"])
def test_what_a_killed_attempt_left_is_gone(call: Call, tmp_path: Path, place: str) -> None:
    left = tmp_path / "minio/store" / place / "half"
    left.parent.mkdir(parents=True)
    left.touch()
    call(lambda *_: None)
    assert left.parent.is_dir()
    assert not left.exists()


def test_metadata_as_the_store_gives_them_back(call: Call) -> None:
    seen: list[types.Artifact] = []
    given = {"blessed": 1.0, "splits": {"list": ["train", "eval"]}, "shares": {"struct": {"train": 0.8}}, "name": "x"}
    _, code = call(lambda inputs, *_: seen.extend(inputs["model"]), executor_input(**given))
    assert code == 0
    (model,) = seen
    assert model.get_int_custom_property("blessed") == 1
    assert model.get_string_custom_property("name") == "x"


def test_an_output_that_kubeflow_cannot_hand_on(call: Call, capfd: pytest.CaptureFixture[str]) -> None:
    def move(_: Any, outputs: Any, __: Any) -> None:
        outputs["blessing"][0].uri = "/lungseg/blessing"

    assert call(move) == ({}, 1)
    assert capfd.readouterr().err.splitlines()[-1] == (
        "lungseg: Step failed: its output 'blessing' is at '/lungseg/blessing', which Kubeflow cannot hand on: "
        "leave its uri as given"
    )


def test_a_failure_names_component_and_cause(call: Call, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("the data are upside down\n  turn them round")

    written, code = call(fail, component="Trainer")
    assert (written, code) == ({}, 1)
    errors = capfd.readouterr().err
    assert errors.splitlines()[-1] == "lungseg: Trainer failed: the data are upside down"
    assert "Traceback" in errors


@pytest.mark.parametrize(("error", "expected"), [
    (UserError("the span is none"), 2),
    (DataError("too many leaks"), 3),
    (ValueError("anything else"), 1),
])  # fmt: skip
def test_the_exit_code_tells_whether_it_would_fail_again(call: Call, error: Exception, expected: int) -> None:
    def fail(*_: Any) -> None:
        raise error

    assert call(fail) == ({}, expected)


def test_being_told_to_stop(call: Call, capfd: pytest.CaptureFixture[str]) -> None:
    written, code = call(lambda *_: os.kill(os.getpid(), signal.SIGTERM), component="Trainer")
    assert (written, code) == ({}, 143)
    assert capfd.readouterr().err.splitlines()[-1] == "lungseg: Trainer failed: it was told to stop (SIGTERM)"


def test_what_is_left_to_be_told(call: Call, tmp_path: Path) -> None:
    told = {"pipeline": "clinic", "root": str(tmp_path), "notify": {"url": "http://localhost:1"}}
    given = {"parameterValues": {"count": 3.0, "run_id": "run-1", "told": json.dumps(told)}}
    notes = RunNotes(tmp_path, "run-1")
    seen: list[Any] = []

    def work(_: Any, __: Any, properties: Any) -> None:
        seen.append(properties)
        assert [note.event for note in notes.read()] == [None], "it is at work"

    def fail(*_: Any) -> None:
        raise ValueError("image of P1")

    def stop(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    ends = {}
    for do in (work, fail, stop, work):
        code = call(do, given, component="Trainer")[1]
        ends[do.__name__, code] = [note.event for note in notes.read()]
    assert ends == {
        ("work", 0): [],
        ("fail", 1): [RunFailed(pipeline="clinic", component="Trainer", cause="ValueError")],
        ("stop", 143): [RunInterrupted(pipeline="clinic", by="SIGTERM")],
    }
    assert seen == [{"count": 3}] * 2, "the component knows nothing of it"


def test_the_schema_is_that_of_the_package(call: Call) -> None:
    seen: list[Any] = []
    inputs = {"parameterValues": {"schema_file": "schema.pbtxt"}}
    for component in ("ImportSchemaGen", "ImportSchemaGen-fold-2"):
        call(lambda *arguments: seen.append(arguments[2]["schema_file"]), inputs, component=component)
        assert Path(seen.pop()).is_file()


@pytest.mark.parametrize(("uri", "path"), [
    ("minio://mlpipeline/v2/a", "/minio/mlpipeline/v2/a"),
    ("s3://bucket/a", "/s3/bucket/a"),
    ("gs://bucket/a", "/gcs/bucket/a"),
    ("/lungseg/serving/1", "/lungseg/serving/1"),
])  # fmt: skip
def test_where_the_launcher_has_its_copies(uri: str, path: str) -> None:
    assert step.local_path(uri) == path


def test_tfx_is_the_one_that_this_was_written_for() -> None:
    step.check_tfx(metadata.version("tfx"))
    with pytest.raises(
        UserError, match=r"^TFX 1\.22\.0 is installed, but .* was written for 1\.21\.0: install that, or"
    ):
        step.check_tfx("1.22.0")
