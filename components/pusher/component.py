"""The Pusher: a model into the serving folder, where both blessings allow it.

TFX's own numbers versions by the clock, copies the model a second time, and pushes what is served already once more.
"""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts

from components.pusher import executor


class PusherSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the Pusher."""

    INPUTS = {
        executor.MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model),
        executor.BLESSING: component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        executor.INFRA_BLESSING: component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing),
        executor.STATISTICS: component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics, optional=True),
    }
    OUTPUTS = {executor.PUSHED_MODEL: component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}
    PARAMETERS = {
        executor.SERVING_DIR: component_spec.ExecutionParameter(type=str),
        executor.CANDIDATE: component_spec.ExecutionParameter(type=str),
        executor.RIVAL: component_spec.ExecutionParameter(type=str),
    }


class Pusher(base_component.BaseComponent):
    """Pushes a model that was blessed and passed the serving probe; its output `pushed_model` tells where to."""

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        serving_dir: str,
        candidate: str,
        rival: str,
        statistics: types.BaseChannel | None = None,
    ) -> None:
        """Wires the component.

        Args:
            model: as the Trainer exports it.
            blessing: whether it is good enough.
            infra_blessing: whether its export can be served.
            serving_dir: gets a numbered folder a model (see `modules.serving.serving_dir`).
            candidate: identifies what made and judged the model.
            rival: identifies what it was compared with (`modules.serving.serving_dir.rival_of`).
            statistics: of the examples before they were augmented; those of the training split are kept beside the
                model, for later data to be compared with.
        """
        spec = PusherSpec(
            **{
                executor.MODEL: model,
                executor.BLESSING: blessing,
                executor.INFRA_BLESSING: infra_blessing,
                executor.STATISTICS: statistics,
                executor.PUSHED_MODEL: channel_utils.as_channel([standard_artifacts.PushedModel()]),
                executor.SERVING_DIR: serving_dir,
                executor.CANDIDATE: candidate,
                executor.RIVAL: rival,
            }
        )
        super().__init__(spec=spec)
