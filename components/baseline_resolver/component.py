"""The BaselineResolver: the model that serves, blessed last or put back since; nothing on the first run."""

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter

from components import base
from components.baseline_resolver.executor import Executor
from components.serving_folder import ServingFolderSettings


class BaselineResolverSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the BaselineResolver."""

    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"model": ChannelParameter(type=standard_artifacts.Model)}
    PARAMETERS = base.PARAMETERS


class BaselineResolver(base.Component):
    """Copies the current model of the serving folder into its output `model`; without one, the output is empty.

    It reads the serving folder instead of the metadata store, so that it finds the same on every runner. The same
    examples, candidate and baseline get the same model from the cache.

    ```python
    resolver = BaselineResolver(
        examples=record_validator.outputs["validated_examples"],
        settings=ServingFolderSettings(serving_dir="root/serving", candidate_key="5d41402a", baseline_key="none"),
    )
    evaluator = Evaluator(baseline_model=resolver.outputs["model"], ...)
    ```
    """

    SPEC_CLASS = BaselineResolverSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, examples: types.BaseChannel, settings: ServingFolderSettings) -> None:
        """Wire the component.

        Args:
            examples: What the candidate is made from and judged on.
            settings: The folder, and the keys of the cache.
        """
        super().__init__(settings, examples=examples)
