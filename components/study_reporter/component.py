"""The StudyReporter: what a study found out in, one page out."""

from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter
from tfx.types.experimental import simple_artifacts

from components import base
from components.study_reporter.executor import Executor
from components.study_reporter.settings import StudyReporterSettings


class StudyReporterSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the StudyReporter."""

    INPUTS = {
        "comparison": ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "evaluations": ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "models": ChannelParameter(type=standard_artifacts.Model),
        "model_runs": ChannelParameter(type=standard_artifacts.ModelRun),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "external_examples": ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }
    OUTPUTS = {"report": ChannelParameter(type=simple_artifacts.File)}
    PARAMETERS = base.PARAMETERS


class StudyReporter(base.Component):
    """Writes the report on a study, a page: differences with their intervals, curves, and where arms disagree.

    ```python
    reporter = StudyReporter(
        comparison=comparison.outputs["comparison"],
        evaluations=[evaluator.outputs["evaluation"] for evaluator in evaluators],
        models=[trainer.outputs["model"] for trainer in trainers],
        model_runs=[trainer.outputs["model_run"] for trainer in trainers],
        examples=[augmenter.outputs["augmented_examples"]],
        settings=StudyReporterSettings(pipeline="lungseg", policy=load_policy("chest")),
    )
    ```
    """

    SPEC_CLASS = StudyReporterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        comparison: types.BaseChannel,
        evaluations: Sequence[types.BaseChannel],
        models: Sequence[types.BaseChannel],
        model_runs: Sequence[types.BaseChannel],
        examples: Sequence[types.BaseChannel],
        settings: StudyReporterSettings,
        external_examples: types.BaseChannel | None = None,
    ) -> None:
        """Wire the component.

        Args:
            comparison: What the StudyComparison found.
            evaluations: Of all trainings, in any order.
            models: What was trained.
            model_runs: Hold the histories.
            examples: With the test images, as the Augmenter wrote them; of each fold, where there are folds.
            settings: Of the study.
            external_examples: A split an external test set, named after it.
        """
        super().__init__(
            settings,
            comparison=comparison,
            evaluations=evaluations,
            models=models,
            model_runs=model_runs,
            examples=examples,
            external_examples=external_examples,
        )
