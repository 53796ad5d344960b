"""The DataGate: reports in, a verdict out, or a failure."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts

from components.data_gate import executor
from components.data_gate.settings import GateSettings


class DataGateSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the DataGate."""

    INPUTS = {
        executor.VALIDATION_REPORT: component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        executor.ANOMALIES: component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        executor.EXTERNAL_VALIDATION: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleAnomalies, optional=True
        ),
    }
    OUTPUTS = {executor.VERDICT: component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies)}
    PARAMETERS = {
        executor.SETTINGS: component_spec.ExecutionParameter(type=str),
        executor.CODE_VERSION: component_spec.ExecutionParameter(type=str),
    }


class DataGate(base_component.BaseComponent):
    """Fails the run where bad records, leaks or anomalies are over a limit.

    It stands by itself, since the artifacts of a component that fails are lost, and those of the validators tell why.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        validation: types.BaseChannel,
        anomalies: types.BaseChannel,
        settings: GateSettings,
        code_version: str,
        external_validation: types.BaseChannel | None = None,
    ) -> None:
        """Wires the component.

        Args:
            validation: the RecordValidator's report.
            anomalies: the ExampleValidator's.
            settings: the limits.
            code_version: identifies the code that judges, so that the cache does not outlive it.
            external_validation: the RecordValidator's report on external test sets.
        """
        spec = DataGateSpec(
            **{
                executor.VALIDATION_REPORT: validation,
                executor.ANOMALIES: anomalies,
                executor.EXTERNAL_VALIDATION: external_validation,
                executor.VERDICT: channel_utils.as_channel([standard_artifacts.ExampleAnomalies()]),
                executor.SETTINGS: settings.model_dump_json(),
                executor.CODE_VERSION: code_version,
            }
        )
        super().__init__(spec=spec)
