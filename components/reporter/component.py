"""The Reporter: everything that was found out about a model in, one page out."""

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter
from tfx.types.experimental import simple_artifacts

from components import base
from components.reporter.executor import Executor
from components.reporter.settings import ReporterSettings


class ReporterSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the Reporter."""

    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "external_examples": ChannelParameter(type=standard_artifacts.Examples, optional=True),
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics, optional=True),
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies, optional=True),
        "validation": ChannelParameter(type=standard_artifacts.ExampleAnomalies, optional=True),
        "external_validation": ChannelParameter(type=standard_artifacts.ExampleAnomalies, optional=True),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_run": ChannelParameter(type=standard_artifacts.ModelRun),
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing, optional=True),
        "infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing, optional=True),
        "pushed_model": ChannelParameter(type=standard_artifacts.PushedModel, optional=True),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    # One of TFX's own types: Kubeflow takes none that is named by the path of a class further down.
    OUTPUTS = {"report": ChannelParameter(type=simple_artifacts.File)}
    PARAMETERS = base.PARAMETERS


class Reporter(base.Component):
    """Writes the report on a model, a folder: the decision, what it rests on, and where it comes from.

    ```python
    reporter = Reporter(
        examples=augmenter.outputs["augmented_examples"],
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        blessing=evaluator.outputs["blessing"],
        settings=ReporterSettings(
            pipeline="lungseg",
            transform=TransformSettings(),
            model=ModelSettings(),
            train=TrainSettings(),
            evaluate=EvaluateSettings(),
            policy=load_policy("chest"),
        ),
    )
    ```
    """

    SPEC_CLASS = ReporterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        model_run: types.BaseChannel,
        evaluation: types.BaseChannel,
        settings: ReporterSettings,
        external_examples: types.BaseChannel | None = None,
        statistics: types.BaseChannel | None = None,
        anomalies: types.BaseChannel | None = None,
        validation: types.BaseChannel | None = None,
        external_validation: types.BaseChannel | None = None,
        blessing: types.BaseChannel | None = None,
        infra_blessing: types.BaseChannel | None = None,
        pushed_model: types.BaseChannel | None = None,
        baseline_model: types.BaseChannel | None = None,
    ) -> None:
        """Wire the component.

        Args:
            examples: With augmented copies, as the Augmenter wrote them.
            model: What was trained.
            model_run: Holds the history of its training.
            evaluation: What was measured on the test sets.
            settings: Of the run.
            external_examples: A split an external test set, named after it.
            statistics: Of the examples before they were augmented.
            anomalies: Of these statistics, with their drift, as the ExampleValidator writes them.
            validation: The report of the RecordValidator.
            external_validation: That on external test sets.
            blessing: Whether the model keeps the rules.
            infra_blessing: Whether its export can be served.
            pushed_model: Whether it is served.
            baseline_model: The model blessed last; the channel may be empty.
        """
        super().__init__(
            settings,
            examples=examples,
            external_examples=external_examples,
            statistics=statistics,
            anomalies=anomalies,
            validation=validation,
            external_validation=external_validation,
            model=model,
            model_run=model_run,
            evaluation=evaluation,
            blessing=blessing,
            infra_blessing=infra_blessing,
            pushed_model=pushed_model,
            baseline_model=baseline_model,
        )
