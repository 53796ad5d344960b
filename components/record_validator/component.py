"""The RecordValidator: Examples in, sound and refused ones and a report out."""

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter

from components import base
from components.record_validator.executor import Executor
from components.record_validator.settings import RecordValidationSettings


class RecordValidatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the RecordValidator."""

    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "reference_examples": ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }
    OUTPUTS = {
        "validated_examples": ChannelParameter(type=standard_artifacts.Examples),
        "quarantined_examples": ChannelParameter(type=standard_artifacts.Examples),
        "report": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
    }
    PARAMETERS = base.PARAMETERS


class RecordValidator(base.BeamComponent):
    """Puts bad records and leaks between data sets into quarantine; DataGate judges whether they are too many.

    ```python
    validator = RecordValidator(examples=example_gen.outputs["examples"], settings=RecordValidationSettings())
    external_validator = RecordValidator(
        examples=external_example_gen.outputs["examples"],
        reference_examples=validator.outputs["validated_examples"],
        settings=RecordValidationSettings(),
    ).with_id("ExternalRecordValidator")
    gate = DataGate(validation=validator.outputs["report"], ...)
    ```
    """

    SPEC_CLASS = RecordValidatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    PRESENTATION = frozenset({"components.record_validator.thumbnails"})

    def __init__(
        self,
        examples: types.BaseChannel,
        settings: RecordValidationSettings,
        reference_examples: types.BaseChannel | None = None,
    ) -> None:
        """Wire the component.

        Args:
            examples: Originals in the record's contract (see `schema`), split into train, eval and test.
            settings: What a sound record is.
            reference_examples: Sound originals, with which those of `examples` are compared as external test sets, each
                split being one, named after it.
        """
        super().__init__(settings, examples=examples, reference_examples=reference_examples)
