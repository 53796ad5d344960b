"""The BaselineResolver: the current model, which is the one blessed last or put back since; nothing on the first run.

It reads the serving folder instead of the metadata store, so that it finds the same on every runner.
"""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts

from components.baseline_resolver import executor


class BaselineResolverSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the BaselineResolver."""

    INPUTS = {executor.EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {executor.MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model)}
    PARAMETERS = {
        executor.SERVING_DIR: component_spec.ExecutionParameter(type=str),
        executor.CANDIDATE: component_spec.ExecutionParameter(type=str),
        executor.RIVAL: component_spec.ExecutionParameter(type=str),
    }


class BaselineResolver(base_component.BaseComponent):
    """Copies the current model of the serving folder into its output `model`; without one, the output is empty."""

    SPEC_CLASS = BaselineResolverSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, examples: types.BaseChannel, serving_dir: str, candidate: str, rival: str) -> None:
        """Wires the component.

        Args:
            examples: what the candidate is made from and judged on.
            serving_dir: where Pusher puts blessed models, a numbered folder each.
            candidate: identifies everything else that makes and judges the candidate.
            rival: identifies what it has to stand comparison with (`serving_dir.rival_of`). The same examples,
                candidate and rival get the same baseline from the cache.
        """
        spec = BaselineResolverSpec(
            **{
                executor.EXAMPLES: examples,
                executor.MODEL: channel_utils.as_channel([standard_artifacts.Model()]),
                executor.SERVING_DIR: serving_dir,
                executor.CANDIDATE: candidate,
                executor.RIVAL: rival,
            }
        )
        super().__init__(spec=spec)
