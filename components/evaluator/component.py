"""The Evaluator: a model and test sets in, slices with intervals and a blessing out."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts

from components.evaluator import executor
from modules.settings import EvaluateSettings


class EvaluatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the Evaluator."""

    INPUTS = {
        executor.EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model),
        executor.BASELINE_MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        executor.EXTERNAL_EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }
    OUTPUTS = {
        executor.EVALUATION: component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        executor.BLESSING: component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }
    PARAMETERS = {
        executor.SETTINGS: component_spec.ExecutionParameter(type=str),
        executor.BASELINE_NAME: component_spec.ExecutionParameter(type=str),
        executor.CODE_VERSION: component_spec.ExecutionParameter(type=str),
    }


class Evaluator(base_beam_component.BaseBeamComponent):
    """Measures a model on every image of the test split and of external sets, and applies the rules.

    TFX's own Evaluator compares means of two models; this one compares them image by image, and draws patients.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        settings: EvaluateSettings,
        code_version: str,
        baseline_model: types.BaseChannel | None = None,
        baseline_name: str = "",
        external_examples: types.BaseChannel | None = None,
    ) -> None:
        """Wires the component.

        Args:
            examples: with a split `test`, originals and copies.
            model: the candidate.
            settings: slices and rules.
            code_version: identifies the code that measures, so that the cache does not outlive it.
            baseline_model: to compare with; may turn out to be none.
            baseline_name: what it is, in words; by default the version that the artifact tells.
            external_examples: each split is a test set of another source.
        """
        spec = EvaluatorSpec(
            **{
                executor.EXAMPLES: examples,
                executor.MODEL: model,
                executor.BASELINE_MODEL: baseline_model,
                executor.EXTERNAL_EXAMPLES: external_examples,
                executor.EVALUATION: channel_utils.as_channel([standard_artifacts.ModelEvaluation()]),
                executor.BLESSING: channel_utils.as_channel([standard_artifacts.ModelBlessing()]),
                executor.SETTINGS: settings.model_dump_json(),
                executor.BASELINE_NAME: baseline_name,
                executor.CODE_VERSION: code_version,
            }
        )
        super().__init__(spec=spec)
