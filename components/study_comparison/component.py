"""The StudyComparison: the evaluations of all trainings in, the differences between the arms out."""

from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter

from components import base
from components.study_comparison.executor import Executor
from components.study_comparison.settings import StudyComparisonSettings


class StudyComparisonSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the StudyComparison."""

    INPUTS = {"evaluations": ChannelParameter(type=standard_artifacts.ModelEvaluation)}
    OUTPUTS = {"comparison": ChannelParameter(type=standard_artifacts.ModelEvaluation)}
    PARAMETERS = base.PARAMETERS


class StudyComparison(base.Component):
    """Compares arms image by image, with intervals over patients and seeds that hold for all arms at once.

    ```python
    comparison = StudyComparison(
        evaluations=[evaluator.outputs["evaluation"] for evaluator in evaluators],
        settings=StudyComparisonSettings(
            arms=(Arm(name="originals only", settings={"train.copies": False}), Arm(name="with copies", settings={})),
            seeds=(7, 8, 9),
        ),
    )
    ```
    """

    SPEC_CLASS = StudyComparisonSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, evaluations: Sequence[types.BaseChannel], settings: StudyComparisonSettings) -> None:
        """Wire the component.

        Args:
            evaluations: One of each training, without a baseline, in any order.
            settings: Arms, seeds and folds.
        """
        super().__init__(settings, evaluations=evaluations)
