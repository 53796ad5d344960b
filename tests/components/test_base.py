"""What all components share: settings that travel as one model, outputs that are whole or empty, counts that add up."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from tfx import types
from pydantic import Field, ValidationError
from tfx.dsl.components.base import executor_spec
from tfx.types import channel, component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter

from components import base
from components.code_version import code_version
from components.counters import reconcile
from schema.settings import Settings


class Shape(Settings):
    sizes: tuple[int, ...] = (1, 2)
    named: dict[str, float | None] = Field(default={})


class WorkSettings(Settings):
    folder: Path = Path("/folder")
    share: Annotated[float, Field(gt=0)] = 0.1
    shape: Shape = Shape()


class WorkExecutor(base.Executor[WorkSettings]):
    """Notes what arrives, and writes a file into each output."""

    SETTINGS = WorkSettings
    seen: ClassVar[list[tuple[WorkSettings, types.Artifact | None]]] = []

    def run(self, inputs: base.Artifacts, outputs: base.Artifacts, settings: WorkSettings) -> None:
        self.seen.append((settings, inputs.get("model")))
        for artifact in outputs:
            Path(artifact.uri, "half").touch()
        if settings.share > 1:
            raise KeyboardInterrupt
        if inputs["examples"].get_int_custom_property("none"):
            outputs.discard("statistics")


class WorkSpec(component_spec.ComponentSpec):
    INPUTS = {  # noqa: RUF012
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {  # noqa: RUF012
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
    }
    PARAMETERS = base.PARAMETERS


class Work(base.Component):
    SPEC_CLASS = WorkSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(WorkExecutor)


EXAMPLES = channel.OutputChannel(standard_artifacts.Examples, None, "examples")
MODEL = channel.OutputChannel(standard_artifacts.Model, None, "model")
SETTINGS = WorkSettings(folder=Path("/a b/ü"), share=1e-300, shape=Shape(sizes=(), named={"x": None, "y": 0.1}))


@pytest.fixture
def outputs(tmp_path: Path) -> dict[str, list[types.Artifact]]:
    made = {key: [parameter.type()] for key, parameter in WorkSpec.OUTPUTS.items()}
    for key, (artifact,) in made.items():
        artifact.uri = str(tmp_path / key)
        Path(artifact.uri).mkdir()
    return made


def do(
    outputs: dict[str, list[types.Artifact]], properties: Mapping[str, Any], **inputs: list[types.Artifact]
) -> tuple[WorkSettings, types.Artifact | None]:
    WorkExecutor.seen.clear()
    WorkExecutor().Do({"examples": [standard_artifacts.Examples()], **inputs}, outputs, dict(properties))
    return WorkExecutor.seen[0]


def left(outputs: dict[str, list[types.Artifact]]) -> set[str]:
    return {path.name for (artifact,) in outputs.values() for path in Path(artifact.uri).iterdir()}


@pytest.mark.parametrize("settings", [WorkSettings(), SETTINGS], ids=["defaults", "others"])
def test_settings_arrive_as_they_were(outputs: dict[str, list[types.Artifact]], settings: WorkSettings) -> None:
    component = Work(settings, examples=EXAMPLES)
    assert set(component.exec_properties) == {"settings", "code_version"}
    arrived, _ = do(outputs, component.exec_properties)
    assert arrived == settings
    assert left(outputs) == {"half"}


def test_a_key_may_take_several_channels() -> None:
    several = [channel.OutputChannel(standard_artifacts.Examples, None, name) for name in ("first", "second")]
    (union,) = [Work(WorkSettings(), examples=several).inputs["examples"]]
    assert isinstance(union, channel.UnionChannel)
    assert list(union.channels) == several
    artifacts = base.Artifacts({"examples": [standard_artifacts.Examples(), standard_artifacts.Examples()]})
    assert len(artifacts.all("examples")) == 2
    assert artifacts.all("model") == []


def test_equal_settings_are_one_text_for_the_cache() -> None:
    first, other = (
        WorkSettings(shape=Shape(named=dict(named))) for named in ([("b", 1), ("a", 2)], [("a", 2), ("b", 1)])
    )
    assert first == other
    assert base.write_settings(first) == base.write_settings(other)


def test_settings_of_another_version_are_not_guessed_at(outputs: dict[str, list[types.Artifact]]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        do(outputs, {"settings": '{"shares": 0.1}'})
    assert left(outputs) == set()


def test_the_code_is_that_of_the_executor_and_what_it_imports() -> None:
    component = Work(SETTINGS, examples=EXAMPLES)
    assert component.exec_properties["code_version"] == code_version(WorkExecutor.__module__)


def test_after_a_failure_the_outputs_are_empty(outputs: dict[str, list[types.Artifact]]) -> None:
    with pytest.raises(KeyboardInterrupt):
        do(outputs, {"settings": WorkSettings(share=2).model_dump_json()})
    assert left(outputs) == set()
    assert all(Path(artifact.uri).is_dir() for (artifact,) in outputs.values()), "TFX removes the folders"


def test_an_optional_input_may_be_left_out() -> None:
    assert Work(SETTINGS, examples=EXAMPLES).inputs == {"examples": EXAMPLES}
    assert Work(SETTINGS, examples=EXAMPLES, model=None).inputs == {"examples": EXAMPLES}
    assert Work(SETTINGS, examples=EXAMPLES, model=MODEL).inputs == {"examples": EXAMPLES, "model": MODEL}
    with pytest.raises(ValueError, match="examples"):
        Work(SETTINGS, model=MODEL)


def test_an_optional_input_may_turn_out_to_be_none(outputs: dict[str, list[types.Artifact]]) -> None:
    properties = {"settings": SETTINGS.model_dump_json()}
    model = standard_artifacts.Model()
    assert do(outputs, properties)[1] is None
    assert do(outputs, properties, model=[])[1] is None
    assert do(outputs, properties, model=[model])[1] is model


def test_an_output_can_be_discarded(outputs: dict[str, list[types.Artifact]]) -> None:
    examples = standard_artifacts.Examples()
    examples.set_int_custom_property("none", 1)
    do(outputs, {"settings": SETTINGS.model_dump_json()}, examples=[examples])
    assert outputs["statistics"] == []
    assert len(outputs["anomalies"]) == 1


def test_an_input_that_must_be_there() -> None:
    inputs = base.Artifacts({"examples": [], "twice": [standard_artifacts.Model(), standard_artifacts.Model()]})
    for key in ("examples", "twice"):
        with pytest.raises(ValueError, match="expected list length of one"):
            inputs[key]


@pytest.mark.parametrize(
    ("read", "accounted"), [(5, {"kept": 5}), (5, {"kept": 3, "refused": 2}), (0, {"kept": 0}), (0, {})]
)
def test_counts_that_add_up(read: int, accounted: dict[str, int]) -> None:
    reconcile("split 'train'", read, accounted)


@pytest.mark.parametrize(
    ("read", "accounted", "message"),
    [
        (5, {"kept": 3, "refused": 1}, "split 'train' lost records: 5 read, 3 kept, 1 refused"),
        (5, {"kept": 6}, "split 'train' lost records: 5 read, 6 kept"),
        (0, {"kept": 1}, "split 'train' has no records: add some"),
        (0, {"kept": 0}, "split 'train' has no records: add some"),
    ],
)
def test_counts_that_do_not(read: int, accounted: dict[str, int], message: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        reconcile("split 'train'", read, accounted, if_empty="add some")
    assert str(caught.value) == message
