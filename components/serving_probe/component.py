"""The ServingProbe: an exported model in, a blessing that it can be served out.

TFX's InfraValidator starts a model server in a container, which a laptop need not have; this needs TensorFlow alone.
"""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts

from components.serving_probe import executor


class ServingProbeSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the ServingProbe."""

    INPUTS = {
        executor.MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model),
        executor.EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {executor.INFRA_BLESSING: component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing)}
    PARAMETERS = {executor.SPLIT: component_spec.ExecutionParameter(type=str)}


class ServingProbe(base_component.BaseComponent):
    """Loads the exported model where this project is out of reach, asks it, and checks the answers."""

    SPEC_CLASS = ServingProbeSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, model: types.BaseChannel, examples: types.BaseChannel, split: str = "test") -> None:
        """Wires the component.

        Args:
            model: as the Trainer exports it.
            examples: in the record's contract (see `schema`); a few of them are sent to the model.
            split: from which they are taken.
        """
        spec = ServingProbeSpec(
            **{
                executor.MODEL: model,
                executor.EXAMPLES: examples,
                executor.INFRA_BLESSING: channel_utils.as_channel([standard_artifacts.InfraBlessing()]),
                executor.SPLIT: split,
            }
        )
        super().__init__(spec=spec)
