"""DoubtfulMasks: the evaluations of all folds of a study in, a list of masks that somebody should look at out."""

from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter
from tfx.types.experimental import simple_artifacts

from components import base
from components.doubtful_masks.executor import Executor
from components.doubtful_masks.settings import DoubtfulMasksSettings


class DoubtfulMasksSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of DoubtfulMasks."""

    INPUTS = {
        "evaluations": ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "models": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {"masks": ChannelParameter(type=simple_artifacts.File)}
    PARAMETERS = base.PARAMETERS


class DoubtfulMasks(base.Component):
    """Ranks the masks of all patients by how far models that were trained without them disagree.

    ```python
    doubtful = DoubtfulMasks(
        evaluations=[evaluator.outputs["evaluation"] for evaluator in evaluators],
        models=[trainer.outputs["model"] for trainer in trainers],
        examples=[augmenter.outputs["augmented_examples"] for augmenter in augmenters],
        settings=DoubtfulMasksSettings(pipeline="lungseg"),
    )
    ```
    """

    SPEC_CLASS = DoubtfulMasksSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        evaluations: Sequence[types.BaseChannel],
        models: Sequence[types.BaseChannel],
        examples: Sequence[types.BaseChannel],
        settings: DoubtfulMasksSettings,
    ) -> None:
        """Wire the component.

        Args:
            evaluations: Of all trainings of all folds, in any order.
            models: That were evaluated.
            examples: Of each fold, with the images that it tests.
            settings: Of the study.
        """
        super().__init__(settings, evaluations=evaluations, models=models, examples=examples)
