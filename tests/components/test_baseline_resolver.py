"""The BaselineResolver: the current model of the serving folder, nothing on the first run, and what the cache keeps."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tfx import types
from tfx.dsl.component.experimental.annotations import OutputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import channel, component_spec, standard_artifacts

from components import base
from components.baseline_resolver import executor
from components.baseline_resolver.component import BaselineResolver
from components.code_version import code_version
from components.serving_folder import ServingFolderSettings
from modules.serving.saved_model import files_digest
from schema.reports.serving import ServingPointer

Resolve = Callable[[], list[types.Artifact]]


def push(serving: Path, name: str, content: str = "") -> None:
    (serving / name / "variables").mkdir(parents=True)
    (serving / name / "saved_model.pb").write_text(content or name)
    (serving / name / "variables" / "variables.index").write_text(f"variables of {name}")


def settings_of(serving: Path, candidate_key: str = "") -> ServingFolderSettings:
    return ServingFolderSettings(serving_dir=serving, candidate_key=candidate_key, baseline_key="none")


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    return tmp_path / "serving"


@pytest.fixture
def resolve(tmp_path: Path, serving: Path) -> Resolve:
    def do() -> list[types.Artifact]:
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / "model")
        (tmp_path / "model").mkdir()
        outputs: dict[str, list[types.Artifact]] = {"model": [model]}
        executor.Executor().Do({"examples": []}, outputs, {"settings": settings_of(serving).model_dump_json()})
        return outputs["model"]

    return do


@pytest.mark.parametrize("left", [(), ("tmp",), ("1",), ("tmp", "v2", "1.5", "-3")])
def test_no_model_yet(resolve: Resolve, tmp_path: Path, serving: Path, left: tuple[str, ...]) -> None:
    """Folders that are no number, or hold no model, count for nothing."""
    for name in left:
        push(serving, name)
    if left == ("1",):
        (serving / "1" / "saved_model.pb").unlink()
    assert resolve() == []
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["1700000000"], 1700000000),
        (["9", "10", "2"], 10),
        (["3", "temp-4", "x"], 3),
        (["007", "6"], 6),  # Pusher writes no such name
    ],
)
def test_the_newest_is_copied(resolve: Resolve, serving: Path, names: list[str], newest: int) -> None:
    for name in names:
        push(serving, name)
    (model,) = resolve()
    assert model.get_int_custom_property("version") == newest
    copied = Path(model.uri, "Format-Serving")
    assert (copied / "saved_model.pb").read_text().lstrip("0") == str(newest)
    assert (copied / "variables" / "variables.index").read_text().endswith(str(newest))
    assert {path.name for path in Path(model.uri).iterdir()} == {"Format-Serving"}


def test_a_version_that_was_put_back_is_the_baseline(resolve: Resolve, serving: Path) -> None:
    push(serving, "1")
    push(serving, "2")
    ServingPointer(version=1, digest="x", files={1: files_digest(serving / "1")}).write(serving)
    (model,) = resolve()
    assert model.get_int_custom_property("version") == 1
    assert Path(model.uri, "Format-Serving", "saved_model.pb").read_text() == "1"


def test_a_model_that_was_changed_since_its_push_is_no_baseline(
    resolve: Resolve, serving: Path, tmp_path: Path
) -> None:
    push(serving, "1")
    ServingPointer(version=1, digest="x", files={1: files_digest(serving / "1")}).write(serving)
    (serving / "1" / "variables" / "variables.index").write_text("others")
    with pytest.raises(ValueError, match=f"^'{serving}/1' is no longer the model that was put there: [^\n]+$"):
        resolve()
    assert list((tmp_path / "model").iterdir()) == []


def test_a_pointer_to_no_model_fails(resolve: Resolve, serving: Path) -> None:
    push(serving, "1")
    (serving / "current.json").write_text('{"version": 2, "digest": "x"}')
    expected = (
        f"'{serving}/current.json' names version 2, which is no model there: "
        "put one back with `lungseg promote --to VERSION`"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        resolve()


def test_the_serving_folder_stays_as_it_was(resolve: Resolve, serving: Path) -> None:
    push(serving, "4")
    resolve()
    assert sorted(path.relative_to(serving).as_posix() for path in serving.rglob("*")) == [
        "4",
        "4/saved_model.pb",
        "4/variables",
        "4/variables/variables.index",
    ]


def test_the_component_is_wired() -> None:
    examples = channel.OutputChannel(standard_artifacts.Examples, None, "examples")
    settings = settings_of(Path("/serving"), "c")
    resolver = BaselineResolver(examples=examples, settings=settings)
    assert resolver.id == "BaselineResolver"
    assert resolver.inputs == {"examples": examples}
    assert {key: output.type for key, output in resolver.outputs.items()} == {"model": standard_artifacts.Model}
    assert resolver.exec_properties == {
        "settings": base.write_settings(settings),
        "code_version": code_version("components.baseline_resolver.executor"),
    }


@component
def Data(examples: OutputArtifact[standard_artifacts.Examples]) -> None:  # noqa: N802
    """Stands for what the model is made from."""
    examples.split_names = "[]"


class JudgeExecutor(base_executor.BaseExecutor):
    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        versions = [model.get_int_custom_property("version") for model in input_dict.get("baseline", [])]
        with Path(exec_properties["seen"]).open("a") as file:
            file.write(f"{versions}\n")


class JudgeSpec(component_spec.ComponentSpec):
    INPUTS = {"baseline": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True)}  # noqa: RUF012
    OUTPUTS: ClassVar[dict[str, Any]] = {}
    PARAMETERS = {"seen": component_spec.ExecutionParameter(type=str)}  # noqa: RUF012


class Judge(base_component.BaseComponent):
    """Stands for the Evaluator: its baseline may be missing."""

    SPEC_CLASS = JudgeSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(JudgeExecutor)


def test_in_a_pipeline_the_same_candidate_keeps_its_baseline(tmp_path: Path, serving: Path) -> None:
    """First run: none. After a push, the same candidate still has none, another one has the model pushed."""

    def run(candidate: str) -> list[str]:
        data = Data()
        resolver = BaselineResolver(examples=data.outputs["examples"], settings=settings_of(serving, candidate))
        judge = Judge(JudgeSpec(baseline=resolver.outputs["model"], seen=str(tmp_path / "seen")))
        LocalDagRunner().run(
            Pipeline(
                pipeline_name="tiny",
                pipeline_root=str(tmp_path / "root"),
                components=[data, resolver, judge],
                enable_cache=True,
                metadata_connection_config=metadata.sqlite_metadata_connection_config(str(tmp_path / "mlmd.sqlite")),
            )
        )
        return (tmp_path / "seen").read_text().splitlines()

    assert run("a") == ["[]"]
    push(serving, "5")
    assert run("a")[1:] in ([], ["[]"])
    assert run("b")[-1] == "[5]"
