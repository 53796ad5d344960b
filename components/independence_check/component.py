"""The IndependenceCheck: fails the run where an external test set is not independent of the other data."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts

from components.independence_check import executor


class IndependenceCheckSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the IndependenceCheck."""

    INPUTS = {
        executor.EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.EXTERNAL_EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {executor.REPORT: component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies)}
    PARAMETERS = {executor.CODE_VERSION: component_spec.ExecutionParameter(type=str)}


class IndependenceCheck(base_beam_component.BaseBeamComponent):
    """Looks for images and patients of external test sets in the training data, the test split and each other."""

    SPEC_CLASS = IndependenceCheckSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, examples: types.BaseChannel, external_examples: types.BaseChannel, code_version: str) -> None:
        """Wires the component.

        Args:
            examples: originals in the record's contract (see `schema`), split into train, eval and test.
            external_examples: originals as well; each split is one external set, named after it.
            code_version: identifies the code that checks, so that the cache does not outlive it.
        """
        spec = IndependenceCheckSpec(
            **{
                executor.EXAMPLES: examples,
                executor.EXTERNAL_EXAMPLES: external_examples,
                executor.REPORT: channel_utils.as_channel([standard_artifacts.ExampleAnomalies()]),
                executor.CODE_VERSION: code_version,
            }
        )
        super().__init__(spec=spec)
