"""The local runner: what it tells whom and when, what the cache gives, and how failures look."""

from dataclasses import dataclass, field
from pathlib import Path

import beam_workers
import pytest
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.runners.portability.prism_runner import PrismRunner
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from pipeline.errors import ComponentError, WorkerKilledError
from pipeline.root import METADATA_FILE
from pipeline.runners import BeamRunner, ComponentRun, LocalRunner, Runner


@component
def Make(  # noqa: N802
    examples: OutputArtifact[standard_artifacts.Examples], word: Parameter[str], unchanged: Parameter[int]
) -> None:
    examples.split_names = '["train"]'
    examples.set_int_custom_property("unchanged", unchanged)
    examples.set_string_custom_property("word", word)


@component
def Use(  # noqa: N802
    examples: InputArtifact[standard_artifacts.Examples],
    model: OutputArtifact[standard_artifacts.Model],
    problem: Parameter[str],
) -> None:
    if problem == "lost":
        beam_workers.lose_one()
    if problem:
        raise ValueError(problem)
    model.set_string_custom_property("word", examples.get_string_custom_property("word"))


@dataclass
class Listener:
    heard: list[str] = field(default_factory=list)

    def started(self, component_id: str) -> None:
        self.heard.append(f"{component_id} started")

    def ended(self, run: ComponentRun) -> None:
        self.heard.append(f"{run.id} ended, {'cached' if run.cached else 'ran'}")


def run(
    root: Path, word: str = "hello", problem: str = "", unchanged: int = 0, kind: type[Runner] = LocalRunner
) -> tuple[list[ComponentRun], Listener]:
    listener = Listener()
    runner = kind(root, listener)
    make = Make(word=word, unchanged=unchanged)
    use = Use(examples=make.outputs["examples"], problem=problem)
    pipeline = Pipeline(
        pipeline_name="tiny",
        pipeline_root=str(root / "artifacts"),
        components=[use, make],  # the order of the list is not that of the edges
        enable_cache=True,
        metadata_connection_config=runner.connection,
    )
    try:
        runner.run(pipeline)
    except ComponentError as error:
        error.add_note(", ".join(listener.heard))
        raise
    return runner.runs, listener


def artifacts(root: Path, type_name: str) -> list[metadata_store_pb2.Artifact]:
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(str(root / METADATA_FILE))) as handle:
        return list(handle.store.get_artifacts_by_type(type_name))


both_runners = pytest.mark.parametrize("kind", [LocalRunner, BeamRunner])


@both_runners
def test_twice_the_second_time_from_the_cache(tmp_path: Path, kind: type[Runner]) -> None:
    first, heard = run(tmp_path, kind=kind)
    assert heard.heard == ["Make started", "Make ended, ran", "Use started", "Use ended, ran"]
    second, heard = run(tmp_path, kind=kind)
    assert heard.heard == ["Make started", "Make ended, cached", "Use started", "Use ended, cached"]
    for runs in (first, second):
        make, use = runs
        assert (make.id, use.id) == ("Make", "Use")
        assert min(make.seconds, use.seconds) > 0
        (examples,) = make.outputs["examples"]
        (model,) = use.outputs["model"]
        assert isinstance(examples, standard_artifacts.Examples)
        assert examples.split_names == '["train"]'
        assert model.get_string_custom_property("word") == "hello"
        assert Path(model.uri).is_dir()
    assert [component_run.outputs["model"][0].uri for component_run in first[1:]] == [
        component_run.outputs["model"][0].uri for component_run in second[1:]
    ]
    # What came from the cache still tells how long it took to make.
    for made, of_cache in zip(first, second, strict=True):
        for key, (artifact,) in of_cache.outputs.items():
            assert artifact.get_float_custom_property("seconds") == pytest.approx(made.seconds, abs=1e-5), key
    # Another parameter upstream runs both anew.
    third, _ = run(tmp_path, word="bye", kind=kind)
    assert [component_run.cached for component_run in third] == [False, False]
    assert third[1].outputs["model"][0].get_string_custom_property("word") == "bye"


@both_runners
def test_nothing_runs_after_what_found_nothing_changed(tmp_path: Path, kind: type[Runner]) -> None:
    runs, heard = run(tmp_path, unchanged=1, kind=kind)
    assert [component_run.id for component_run in runs] == ["Make"]
    assert heard.heard == ["Make started", "Make ended, ran"]
    again, _ = run(tmp_path, unchanged=1, kind=kind)
    assert [(component_run.id, component_run.cached) for component_run in again] == [("Make", True)]


@both_runners
def test_a_failing_component(tmp_path: Path, kind: type[Runner]) -> None:
    problem = "the data are upside down\n  turn them round"
    with pytest.raises(ComponentError) as caught:
        run(tmp_path, problem=problem, kind=kind)
    assert str(caught.value) == "Use failed: the data are upside down"
    assert isinstance(caught.value.__cause__, ValueError)
    # Use started and never ended.
    assert caught.value.__notes__ == ["Make started, Make ended, ran, Use started"]
    live = metadata_store_pb2.Artifact.LIVE
    assert [artifact.state for artifact in artifacts(tmp_path, "Examples")] == [live]
    assert live not in [artifact.state for artifact in artifacts(tmp_path, "Model")]
    # After the cause is gone, what had succeeded is not done again.
    runs, _ = run(tmp_path, kind=kind)
    assert [component_run.cached for component_run in runs] == [True, False]
    assert [artifact.state for artifact in artifacts(tmp_path, "Model")].count(live) == 1


@both_runners
def test_a_component_that_has_lost_a_worker_process_fails(tmp_path: Path, kind: type[Runner]) -> None:
    with pytest.raises(ComponentError) as caught:
        run(tmp_path, problem="lost", kind=kind)
    assert str(caught.value) == f"Use failed: {beam_workers.SAID}"
    assert type(caught.value.__cause__) is WorkerKilledError
    assert metadata_store_pb2.Artifact.LIVE not in [artifact.state for artifact in artifacts(tmp_path, "Model")]


def test_one_runner_goes_on_where_the_other_ended(tmp_path: Path) -> None:
    run(tmp_path, kind=BeamRunner)
    runs, _ = run(tmp_path, kind=LocalRunner)
    assert [component_run.cached for component_run in runs] == [True, True]


@both_runners
def test_prism_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Runner]) -> None:
    """The graph of BeamDagRunner is a Beam pipeline without options."""
    asked: list[object] = []
    monkeypatch.setattr(PrismRunner, "run_pipeline", lambda *arguments: asked.append(arguments))
    default = StandardOptions.DEFAULT_RUNNER
    run(tmp_path, kind=kind)
    assert not asked
    assert default == StandardOptions.DEFAULT_RUNNER, "it is nobody else's"


def test_metadata_lie_under_the_root(tmp_path: Path) -> None:
    runner = LocalRunner(tmp_path, Listener())
    assert runner.connection.sqlite.filename_uri == str(tmp_path / "metadata.sqlite")


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (ValueError("bad mask"), "bad mask"),
        (RuntimeError("bad mask [while running 'Augment[train]']"), "bad mask"),
        (RuntimeError("bad mask [while running 'Augment[train]-ptransform-42']\n\nTraceback ..."), "bad mask"),
        (RuntimeError("first line\nsecond line"), "first line"),
        (RuntimeError("\n\n   indented   \nrest"), "indented"),
        (RuntimeError("mask [0, 255] is bad"), "mask [0, 255] is bad"),
        (
            RuntimeError(
                'Cannot create node for type_id: 12 name: "lungseg.Trainer"Error when executing query: '
                "attempt to write a readonly database query:  INSERT INTO `Context`( `type_id`) VALUES(12);"
            ),
            "attempt to write a readonly database; make room or rights there and start again: what is done is kept",
        ),
        (RuntimeError(""), "RuntimeError"),
        (RuntimeError("  \n "), "RuntimeError"),
        (KeyError(), "KeyError"),
        (
            OSError(28, "No space left on device", "/x"),
            "[Errno 28] No space left on device: '/x'; make room or rights there and start again: what is done is kept",
        ),
        (
            RuntimeError(
                "Error when executing query: database or disk is full query:  UPDATE `Execution`\n SET `x` = 1"
            ),
            "database or disk is full; make room or rights there and start again: what is done is kept",
        ),
    ],
)
def test_the_message_is_one_line(cause: Exception, message: str) -> None:
    assert str(ComponentError("Trainer", cause)) == f"Trainer failed: {message}"
