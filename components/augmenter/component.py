"""The Augmenter: Examples in, originals and augmented copies out."""

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter

from components import base
from components.augmenter.executor import Executor
from components.augmenter.policy import Policy


class AugmenterSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the Augmenter."""

    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"augmented_examples": ChannelParameter(type=standard_artifacts.Examples)}
    PARAMETERS = base.PARAMETERS


class Augmenter(base.BeamComponent):
    """Adds augmented copies to every split that a policy names; all records pass through.

    ```python
    augmenter = Augmenter(examples=example_gen.outputs["examples"], policy=load_policy("chest"))
    transform = Transform(examples=augmenter.outputs["augmented_examples"], ...)
    ```
    """

    SPEC_CLASS = AugmenterSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, examples: types.BaseChannel, policy: Policy) -> None:
        """Wire the component.

        Args:
            examples: Records that keep the contract (see `schema`).
            policy: What to do to them.
        """
        super().__init__(policy, examples=examples)
