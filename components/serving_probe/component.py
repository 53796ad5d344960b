"""The ServingProbe: an exported model in, a blessing that it can be served out."""

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter

from components import base
from components.serving_probe.executor import Executor
from components.serving_probe.settings import ProbeSettings


class ServingProbeSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the ServingProbe."""

    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {"infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing)}
    PARAMETERS = base.PARAMETERS


class ServingProbe(base.Component):
    """Loads the exported model where this project is out of reach, asks it, and checks the answers.

    TFX's InfraValidator starts a model server in a container, which a laptop need not have; this needs TensorFlow
    alone.

    ```python
    probe = ServingProbe(model=trainer.outputs["model"], examples=augmenter.outputs["augmented_examples"])
    pusher = Pusher(infra_blessing=probe.outputs["infra_blessing"], ...)
    ```
    """

    SPEC_CLASS = ServingProbeSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self, model: types.BaseChannel, examples: types.BaseChannel, settings: ProbeSettings | None = None
    ) -> None:
        """Wire the component.

        Args:
            model: As the Trainer exports it.
            examples: Records that keep the contract (see `schema`); a few of them are sent to the model.
            settings: Which of them; by default those of the test split.
        """
        super().__init__(settings or ProbeSettings(), model=model, examples=examples)
