"""Runs ExampleGen on Beam."""

import logging
import os
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
from tfx import types
from tensorflow.core.example import example_pb2
from tfx.components.example_gen.import_example_gen import executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import proto_utils

from components.artifacts import SPANS, all_or_nothing
from components.counters import count, read_counters
from components.example_gen.read import IDENTIFIED, READ, REPLACED, TOTAL, ReadSpans, namespace_of
from components.example_gen.settings import ExampleGenSettings
from components.example_gen.spans import Span, check_there, choose, number_in
from components.example_gen.split import ends_of, split_of

EXAMPLES = "examples"
INPUT_BASE = "input_base"
INPUT_CONFIG = "input_config"
OUTPUT_CONFIG = "output_config"
CUSTOM_CONFIG = "custom_config"

_WRITTEN: Final = "written"

_LOG = logging.getLogger("lungseg.example_gen")


class Executor(executor.Executor):
    """Reads the span that the driver found, and those before it, as one, and splits them."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Import records.

        Args:
            input_dict: Nothing.
            output_dict: `examples`, of tf.train.Example records. Its custom properties hold `spans`, the numbers of
                those that were read, such as `3,4,5`, and how many records were `read` from them and `replaced` by
                those of later spans.
            exec_properties: Those of TFX's ImportExampleGen, with the number of the newest span in the pattern of
                `input_config`; its `custom_config` holds `ExampleGenSettings`.

        Raises:
            RuntimeError: Records got lost on the way.
            ValueError: The pattern names no span, or of several spans, one has a record without id or source, or two
                have an id in common that is of two sources.
        """
        examples = artifact_utils.get_single_instance(output_dict[EXAMPLES])
        with all_or_nothing(examples):
            self._examples = examples
            self._spans = spans_to_read(exec_properties)
            self._settings = ExampleGenSettings.from_json(exec_properties[CUSTOM_CONFIG])
            if len(self._spans) < (wanted := self._settings.spans):
                _LOG.warning("%d spans wanted, %d there up to the newest one", wanted, len(self._spans))
            super().Do(input_dict, output_dict, exec_properties)
            self._describe(examples)

    def GenerateExamplesByBeam(
        self, pipeline: beam.Pipeline, exec_properties: dict[str, Any]
    ) -> dict[str, beam.PCollection]:
        """Read the spans, write the splits, and leave none to TFX, which knows neither several spans nor turned splits.

        It would shuffle all records besides: in memory, and for nothing, since the Trainer orders its examples itself.
        Nor does it pay to compress PNGs once more.
        """
        self._pipeline = pipeline
        output = example_gen_pb2.Output()
        proto_utils.json_to_proto(exec_properties[OUTPUT_CONFIG], output)
        config = output.split_config
        ends, rotation = ends_of(config), self._settings.rotation
        of_splits = (
            pipeline
            | ReadSpans(self._spans)
            | "Split" >> beam.Partition(split_of, len(ends), ends, config.partition_feature_name, rotation)
        )
        for split, of_split in zip(config.splits, of_splits, strict=True):
            target = os.path.join(artifact_utils.get_split_uri([self._examples], split.name), "data_tfrecord")
            _ = (
                of_split
                | f"Serialize[{split.name}]" >> beam.Map(_serialize)
                | f"Write[{split.name}]" >> beam.io.WriteToTFRecord(target)
            )
        return {}

    def _describe(self, examples: types.Artifact) -> None:
        counts = {span.span: read_counters(self._pipeline.result, namespace_of(span.span)) for span in self._spans}
        read, replaced = (sum(of_span[name] for of_span in counts.values()) for name in (READ, REPLACED))
        written = read_counters(self._pipeline.result, _WRITTEN)[_WRITTEN]
        identified = read_counters(self._pipeline.result, TOTAL)[IDENTIFIED] if len(self._spans) > 1 else read
        _reconcile(read, identified, written, replaced)
        for span, of_span in counts.items():
            _LOG.info("span %d: %d records, %d replaced by later spans", span, of_span[READ], of_span[REPLACED])
        examples.set_string_custom_property(SPANS, ",".join(str(span.span) for span in self._spans))
        examples.set_int_custom_property(READ, read)
        examples.set_int_custom_property(REPLACED, replaced)


class ExternalExecutor(executor.Executor):
    """Reads all spans of each external set as one; TFX's would hand over an image as often as there are spans of it."""

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:
        """Return what makes serialized records of a set's pattern, such as `north/span-*/records-*`."""
        return _read_set


@beam.ptransform_fn
def _read_set(pipeline: beam.Pipeline, exec_properties: dict[str, Any], pattern: str) -> beam.PCollection:
    folder = str(Path(exec_properties[INPUT_BASE], pattern).parent.parent)
    check_there(folder, None)
    return pipeline | ReadSpans(choose(folder)) | "Serialize" >> beam.Map(_serialize)


def _serialize(example: example_pb2.Example) -> bytes:
    """Serialize the features in one order: TFX's differs from process to process, and with it a record's bytes."""
    count(None, _WRITTEN, _WRITTEN)
    return bytes(example.SerializeToString(deterministic=True))


def spans_to_read(exec_properties: dict[str, Any]) -> list[Span]:
    """Return the spans that a resolved execution reads, their numbers rising.

    Raises:
        ValueError: The pattern names no span.
    """
    read_from = example_gen_pb2.Input()
    proto_utils.json_to_proto(exec_properties[INPUT_CONFIG], read_from)
    newest = number_in(read_from.splits[0].pattern)
    return choose(
        exec_properties[INPUT_BASE], newest, ExampleGenSettings.from_json(exec_properties[CUSTOM_CONFIG]).spans
    )


def _reconcile(read: int, identified: int, written: int, replaced: int) -> None:
    """Raise RuntimeError where not all that went in came out: runners have been seen to lose records silently."""
    if not read == identified == written + replaced:
        raise RuntimeError(
            f"records got lost: {read} read, {identified} identified, {written} written, {replaced} replaced"
        )
