"""What all of this project's components and executors share.

A component names its inputs and outputs in a TFX spec, an executor does its work in one method:

    class DataGateSpec(component_spec.ComponentSpec):
        INPUTS = {"validation": ChannelParameter(type=standard_artifacts.ExampleAnomalies)}
        OUTPUTS = {"verdict": ChannelParameter(type=standard_artifacts.ExampleAnomalies)}
        PARAMETERS = base.PARAMETERS

    class DataGate(base.Component):
        SPEC_CLASS = DataGateSpec
        EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

        def __init__(self, validation: BaseChannel, settings: GateSettings) -> None:
            super().__init__(settings, validation=validation)

    class Executor(base.Executor[GateSettings]):
        SETTINGS = GateSettings

        def run(self, inputs: Artifacts, outputs: Artifacts, settings: GateSettings) -> None:
            ...

Settings travel as one model: `Component` writes it into the execution's properties, `Executor` reads it back.
"""

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, TypeVar

from tfx import types
from tfx.dsl.components.base import base_beam_component, base_beam_executor, base_component, base_executor
from tfx.types import artifact_utils, channel_utils
from tfx.types.component_spec import ExecutionParameter

from components.artifacts import all_or_nothing
from components.code_version import code_version
from schema.settings import Settings

SettingsT = TypeVar("SettingsT", bound=Settings)

SETTINGS: Final = "settings"
CODE_VERSION: Final = "code_version"
PARAMETERS: Final = {SETTINGS: ExecutionParameter(type=str), CODE_VERSION: ExecutionParameter(type=str)}
"""Of every component: its settings as JSON, and what identifies its code, so that the cache does not outlive it."""


def write_settings(settings: Settings) -> str:
    """Write settings as `Component` puts them into the properties of an execution: equal ones give one text."""
    return json.dumps(settings.model_dump(mode="json"), sort_keys=True)


def read_settings(kind: type[SettingsT], properties: Mapping[str, Any]) -> SettingsT:
    """Read the settings that `Component` wrote into the properties of an execution."""
    return kind.model_validate_json(properties[SETTINGS])


class Component(base_component.BaseComponent):
    """A component whose parameters are its settings and the version of its code, and whose outputs are new."""

    PRESENTATION: ClassVar[frozenset[str]] = frozenset()
    """Modules of the executor that only draw what others look at: a change of theirs makes nothing anew."""

    def __init__(self, settings: Settings, **inputs: types.BaseChannel | Sequence[types.BaseChannel] | None) -> None:
        """Wire the component.

        Args:
            settings: What its executor gets.
            **inputs: Channels by the keys of the spec, of some keys several; None for an optional one that is not
                there. TFX promises no order of the artifacts that come of several.
        """
        channels = {
            key: channel_utils.union(given) if isinstance(given, Sequence) else given for key, given in inputs.items()
        }
        outputs = {
            key: channel_utils.as_channel([parameter.type()]) for key, parameter in self.SPEC_CLASS.OUTPUTS.items()
        }
        executor = self.EXECUTOR_SPEC.executor_class.__module__
        properties = {
            SETTINGS: write_settings(settings),
            CODE_VERSION: code_version(executor, without=self.PRESENTATION),
        }
        super().__init__(spec=self.SPEC_CLASS(**channels, **outputs, **properties))


class BeamComponent(Component, base_beam_component.BaseBeamComponent):
    """A component whose executor runs Beam pipelines."""


class Artifacts:
    """The artifacts of an execution by key."""

    def __init__(self, by_key: dict[str, list[types.Artifact]]) -> None:
        """Wrap what TFX hands to an executor."""
        self._by_key = by_key

    def __getitem__(self, key: str) -> types.Artifact:
        """Return the artifact of a key, of which there must be one."""
        return artifact_utils.get_single_instance(self._by_key[key])

    def all(self, key: str) -> list[types.Artifact]:
        """Return the artifacts of a key that takes several; none where an optional input is not there."""
        return self._by_key.get(key, [])

    def __iter__(self) -> Iterator[types.Artifact]:
        """Iterate over all artifacts."""
        return (artifact for artifacts in self._by_key.values() for artifact in artifacts)

    def get(self, key: str) -> types.Artifact | None:
        """Return the artifact of a key; None where an optional input is not there."""
        return self[key] if self._by_key.get(key) else None

    def discard(self, key: str) -> None:
        """Hand on no artifact under a key."""
        self._by_key[key].clear()


class _Executing(Generic[SettingsT]):
    """The `Do` of all executors."""

    SETTINGS: ClassVar[type[Settings]]
    """The model of the settings."""

    def Do(  # noqa: N802  # TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Call `run` with the settings; where it fails, the outputs are left empty."""
        outputs = Artifacts(output_dict)
        with all_or_nothing(*outputs):
            settings: Any = read_settings(self.SETTINGS, exec_properties)
            self.run(Artifacts(input_dict), outputs, settings)

    @abstractmethod
    def run(self, inputs: Artifacts, outputs: Artifacts, settings: SettingsT) -> None:
        """Do the work of the component."""


class Executor(_Executing[SettingsT], base_executor.BaseExecutor):
    """An executor of one process."""


class BeamExecutor(_Executing[SettingsT], base_beam_executor.BaseBeamExecutor):
    """An executor that runs Beam pipelines."""
