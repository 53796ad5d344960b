"""The Pusher: a model into the serving folder, where both blessings allow it."""

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter

from components import base
from components.pusher.executor import Executor
from components.serving_folder import ServingFolderSettings


class PusherSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the Pusher."""

    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing),
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics, optional=True),
        "changes": ChannelParameter(type=standard_artifacts.ExampleAnomalies, optional=True),
    }
    OUTPUTS = {"pushed_model": ChannelParameter(type=standard_artifacts.PushedModel)}
    PARAMETERS = base.PARAMETERS


class Pusher(base.Component):
    """Pushes a model that was blessed and passed the serving probe; its output `pushed_model` tells where to.

    TFX's own numbers versions by the clock, copies the model a second time, and pushes what is served already once
    more.

    ```python
    pusher = Pusher(
        model=trainer.outputs["model"],
        blessing=evaluator.outputs["blessing"],
        infra_blessing=probe.outputs["infra_blessing"],
        settings=ServingFolderSettings(serving_dir="root/serving", candidate_key="5d41402a", baseline_key="none"),
    )
    ```
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        settings: ServingFolderSettings,
        statistics: types.BaseChannel | None = None,
        changes: types.BaseChannel | None = None,
    ) -> None:
        """Wire the component.

        Args:
            model: As the Trainer exports it.
            blessing: Whether it is good enough.
            infra_blessing: Whether its export can be served.
            settings: Where to push it to, and what is kept beside it.
            statistics: Of the examples before they were augmented; those of the training split are kept beside the
                model, for later data to be compared with.
            changes: Of the ChangeDetector, which tells what the model was made of; a later run that finds the same ends
                early.
        """
        super().__init__(
            settings,
            model=model,
            blessing=blessing,
            infra_blessing=infra_blessing,
            statistics=statistics,
            changes=changes,
        )
