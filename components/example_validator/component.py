"""The ExampleValidator: anomalies of the examples' statistics, and their drift since the serving model was trained.

TFX's own cannot look at earlier data.
"""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts

from components.example_validator import executor
from components.example_validator.settings import ExampleValidatorSettings


class ExampleValidatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the ExampleValidator."""

    INPUTS = {
        executor.STATISTICS: component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        executor.SCHEMA: component_spec.ChannelParameter(type=standard_artifacts.Schema),
        executor.BASELINE_MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {executor.ANOMALIES: component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies)}
    PARAMETERS = {
        executor.SETTINGS: component_spec.ExecutionParameter(type=str),
        executor.CODE_VERSION: component_spec.ExecutionParameter(type=str),
    }


class ExampleValidator(base_component.BaseComponent):
    """Reports what is wrong with the statistics in its output `anomalies`; it never fails over them."""

    SPEC_CLASS = ExampleValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        settings: ExampleValidatorSettings,
        code_version: str,
        baseline_model: types.BaseChannel | None = None,
    ) -> None:
        """Wires the component.

        Args:
            statistics: of the examples, as StatisticsGen takes them.
            schema: with drift comparators for the features that are compared.
            settings: how grave drift is.
            code_version: identifies the code that validates, so that the cache does not outlive it.
            baseline_model: the model that serves, with the statistics of its training data beside it; may turn out to
                be none.
        """
        spec = ExampleValidatorSpec(
            **{
                executor.STATISTICS: statistics,
                executor.SCHEMA: schema,
                executor.BASELINE_MODEL: baseline_model,
                executor.ANOMALIES: channel_utils.as_channel([standard_artifacts.ExampleAnomalies()]),
                executor.SETTINGS: settings.model_dump_json(),
                executor.CODE_VERSION: code_version,
            }
        )
        super().__init__(spec=spec)
