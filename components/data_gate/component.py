"""The DataGate: reports in, a verdict out, or a failure."""

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter

from components import base
from components.data_gate.executor import Executor
from components.data_gate.settings import GateSettings


class DataGateSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the DataGate."""

    INPUTS = {
        "validation": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "external_validation": ChannelParameter(type=standard_artifacts.ExampleAnomalies, optional=True),
    }
    OUTPUTS = {"verdict": ChannelParameter(type=standard_artifacts.ExampleAnomalies)}
    PARAMETERS = base.PARAMETERS


class DataGate(base.Component):
    """Fails the run where bad records, leaks or anomalies are over a limit.

    It stands by itself, since the artifacts of a component that fails are lost, and those of the validators tell why.

    ```python
    gate = DataGate(
        validation=record_validator.outputs["report"],
        anomalies=example_validator.outputs["anomalies"],
        settings=GateSettings(max_bad_share=0.02),
    )
    augmenter.add_upstream_node(gate)
    ```
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        validation: types.BaseChannel,
        anomalies: types.BaseChannel,
        settings: GateSettings,
        external_validation: types.BaseChannel | None = None,
    ) -> None:
        """Wire the component.

        Args:
            validation: The RecordValidator's report.
            anomalies: The ExampleValidator's.
            settings: The limits.
            external_validation: The RecordValidator's report on external test sets.
        """
        super().__init__(settings, validation=validation, anomalies=anomalies, external_validation=external_validation)
