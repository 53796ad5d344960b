"""The Evaluator: a model and test sets in, slices with intervals and a blessing out."""

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter

from components import base
from components.evaluator.executor import Executor
from components.evaluator.settings import EvaluatorSettings


class EvaluatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the Evaluator."""

    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
        "external_examples": ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }
    OUTPUTS = {
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
    }
    PARAMETERS = base.PARAMETERS


class Evaluator(base.BeamComponent):
    """Measures a model on every image of the test split and of external sets, and applies the rules.

    TFX's own Evaluator compares means of two models; this one compares them image by image, and draws patients.

    ```python
    evaluator = Evaluator(
        examples=augmenter.outputs["augmented_examples"],
        model=trainer.outputs["model"],
        baseline_model=resolver.outputs["model"],
        settings=EvaluatorSettings(),
    )
    pusher = Pusher(model=trainer.outputs["model"], blessing=evaluator.outputs["blessing"], ...)
    ```
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        settings: EvaluatorSettings,
        baseline_model: types.BaseChannel | None = None,
        external_examples: types.BaseChannel | None = None,
    ) -> None:
        """Wire the component.

        Args:
            examples: With a split `test`, originals and copies.
            model: The candidate.
            settings: Slices and rules.
            baseline_model: To compare with; may turn out to be none.
            external_examples: Each split is a test set of another source.
        """
        super().__init__(
            settings,
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            external_examples=external_examples,
        )
