"""The RecordValidator: Examples in, sound and refused ones and a report out."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts

from components.record_validator import executor
from components.record_validator.settings import RecordValidationSettings


class RecordValidatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the RecordValidator."""

    INPUTS = {
        executor.EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.REFERENCE_EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }
    OUTPUTS = {
        executor.VALIDATED_EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.QUARANTINED_EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.REPORT: component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
    }
    PARAMETERS = {
        executor.SETTINGS: component_spec.ExecutionParameter(type=str),
        executor.CODE_VERSION: component_spec.ExecutionParameter(type=str),
    }


class RecordValidator(base_beam_component.BaseBeamComponent):
    """Puts bad records and leaks between data sets into quarantine; DataGate judges whether they are too many."""

    SPEC_CLASS = RecordValidatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        settings: RecordValidationSettings,
        code_version: str,
        reference_examples: types.BaseChannel | None = None,
    ) -> None:
        """Wires the component.

        Args:
            examples: originals in the record's contract (see `schema`), split into train, eval and test.
            settings: what a sound record is.
            code_version: identifies the code that validates, so that the cache does not outlive it.
            reference_examples: sound originals, with which those of `examples` are compared as external test sets, each
                split being one, named after it.
        """
        spec = RecordValidatorSpec(
            **{
                executor.EXAMPLES: examples,
                executor.REFERENCE_EXAMPLES: reference_examples,
                executor.VALIDATED_EXAMPLES: channel_utils.as_channel([standard_artifacts.Examples()]),
                executor.QUARANTINED_EXAMPLES: channel_utils.as_channel([standard_artifacts.Examples()]),
                executor.REPORT: channel_utils.as_channel([standard_artifacts.ExampleAnomalies()]),
                executor.SETTINGS: settings.model_dump_json(),
                executor.CODE_VERSION: code_version,
            }
        )
        super().__init__(spec=spec)
