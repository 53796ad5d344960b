"""The Reporter: everything that was found out about a model in, one page out."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.reporter import executor
from components.reporter.evidence import RUN


class ReporterSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the Reporter."""

    INPUTS = {
        executor.EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.EXTERNAL_EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
        executor.STATISTICS: component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics, optional=True),
        executor.ANOMALIES: component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies, optional=True),
        executor.VALIDATION: component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies, optional=True),
        executor.EXTERNAL_VALIDATION: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleAnomalies, optional=True
        ),
        executor.MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model),
        executor.MODEL_RUN: component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
        executor.BASELINE_MODEL_RUN: component_spec.ChannelParameter(type=standard_artifacts.ModelRun, optional=True),
        executor.EVALUATION: component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        executor.BLESSING: component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing, optional=True),
        executor.INFRA_BLESSING: component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing, optional=True),
        executor.PUSHED_MODEL: component_spec.ChannelParameter(type=standard_artifacts.PushedModel, optional=True),
        executor.BASELINE_MODEL: component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {executor.REPORT: component_spec.ChannelParameter(type=simple_artifacts.File)}
    PARAMETERS = {
        executor.SETTINGS: component_spec.ExecutionParameter(type=str),
        executor.CODE_VERSION: component_spec.ExecutionParameter(type=str),
        executor.KIND: component_spec.ExecutionParameter(type=str),
    }


class Reporter(base_component.BaseComponent):
    """Writes the report on a model, a folder: the decision, what it rests on, and where it comes from.

    Its type is one of TFX's own: Kubeflow takes no type that is named by the path of a class further down.
    """

    SPEC_CLASS = ReporterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        model_run: types.BaseChannel,
        evaluation: types.BaseChannel,
        settings: str,
        code_version: str,
        kind: str = RUN,
        external_examples: types.BaseChannel | None = None,
        statistics: types.BaseChannel | None = None,
        anomalies: types.BaseChannel | None = None,
        validation: types.BaseChannel | None = None,
        external_validation: types.BaseChannel | None = None,
        baseline_model_run: types.BaseChannel | None = None,
        blessing: types.BaseChannel | None = None,
        infra_blessing: types.BaseChannel | None = None,
        pushed_model: types.BaseChannel | None = None,
        baseline_model: types.BaseChannel | None = None,
    ) -> None:
        """Wires the component.

        Args:
            examples: with augmented copies, as the Augmenter wrote them.
            model: what was trained.
            model_run: holds the history of its training.
            evaluation: what was measured on the test sets.
            settings: of the run, as JSON, by section: `pipeline` (its name), `model`, `train`, `augment` (the policy)
                and `evaluate`.
            code_version: identifies the code that made all this.
            kind: `run`, or `study` where two trainings, with copies and without, are compared instead of one being
                judged.
            external_examples: a split an external test set, named after it.
            statistics: of the examples before they were augmented.
            anomalies: of these statistics, with their drift, as the ExampleValidator writes them.
            validation: the report of the RecordValidator.
            external_validation: that on external test sets.
            baseline_model_run: of the other training of a study.
            blessing: whether the model keeps the rules.
            infra_blessing: whether its export can be served.
            pushed_model: whether it is served.
            baseline_model: the model blessed last; the channel may be empty.
        """
        spec = ReporterSpec(
            **{
                executor.EXAMPLES: examples,
                executor.EXTERNAL_EXAMPLES: external_examples,
                executor.STATISTICS: statistics,
                executor.ANOMALIES: anomalies,
                executor.VALIDATION: validation,
                executor.EXTERNAL_VALIDATION: external_validation,
                executor.MODEL: model,
                executor.MODEL_RUN: model_run,
                executor.BASELINE_MODEL_RUN: baseline_model_run,
                executor.EVALUATION: evaluation,
                executor.BLESSING: blessing,
                executor.INFRA_BLESSING: infra_blessing,
                executor.PUSHED_MODEL: pushed_model,
                executor.BASELINE_MODEL: baseline_model,
                executor.REPORT: channel_utils.as_channel([simple_artifacts.File()]),
                executor.SETTINGS: settings,
                executor.CODE_VERSION: code_version,
                executor.KIND: kind,
            }
        )
        super().__init__(spec=spec)
