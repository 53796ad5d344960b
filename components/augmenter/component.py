"""The Augmenter: Examples in, originals and augmented copies out."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts

from components.augmenter import executor
from components.augmenter.policy import Policy


class AugmenterSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the Augmenter."""

    INPUTS = {executor.EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {executor.AUGMENTED_EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples)}
    PARAMETERS = {
        executor.POLICY: component_spec.ExecutionParameter(type=str),
        executor.CODE_VERSION: component_spec.ExecutionParameter(type=str),
    }


class Augmenter(base_beam_component.BaseBeamComponent):
    """Adds augmented copies to every split that the policy names; all splits pass through."""

    SPEC_CLASS = AugmenterSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, examples: types.BaseChannel, policy: Policy, code_version: str) -> None:
        """Wires the component.

        Args:
            examples: in the record's contract (see `schema`).
            policy: what to do to them.
            code_version: identifies the code that does it, so that the cache does not outlive it.
        """
        spec = AugmenterSpec(
            **{
                executor.EXAMPLES: examples,
                executor.AUGMENTED_EXAMPLES: channel_utils.as_channel([standard_artifacts.Examples()]),
                executor.POLICY: policy.to_json(),
                executor.CODE_VERSION: code_version,
            }
        )
        super().__init__(spec=spec)
