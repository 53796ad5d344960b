"""The ExampleValidator: anomalies of the examples' statistics, and their drift since the serving model was trained."""

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter

from components import base
from components.example_validator.executor import Executor
from components.example_validator.settings import DriftSettings


class ExampleValidatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the ExampleValidator."""

    INPUTS = {
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {"anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies)}
    PARAMETERS = base.PARAMETERS


class ExampleValidator(base.Component):
    """Reports what is wrong with the statistics in its output `anomalies`; it never fails over them.

    TFX's own cannot look at earlier data.

    ```python
    validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        baseline_model=resolver.outputs["model"],
        settings=DriftSettings(severity="error"),
    )
    gate = DataGate(anomalies=validator.outputs["anomalies"], ...)
    ```
    """

    SPEC_CLASS = ExampleValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        settings: DriftSettings,
        baseline_model: types.BaseChannel | None = None,
    ) -> None:
        """Wire the component.

        Args:
            statistics: Of the examples, as StatisticsGen takes them.
            schema: With drift comparators for the features that are compared.
            settings: How grave drift is.
            baseline_model: The model that serves, with the statistics of its training data beside it; may turn out to
                be none.
        """
        super().__init__(settings, statistics=statistics, schema=schema, baseline_model=baseline_model)
