"""Runs the Augmenter on Beam."""

import logging
import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.augmenter.augment import augment
from components.augmenter.policy import Policy, compose
from schema import record

EXAMPLES = "examples"
AUGMENTED_EXAMPLES = "augmented_examples"
POLICY = "policy"

_LOG = logging.getLogger("lungseg.augmenter")
_READ, _ORIGINALS, _COPIES = "read", "originals", "copies"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Reads each split, adds copies, writes it."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Augments.

        Args:
            input_dict: `examples`, one Examples artifact of tf.train.Example records.
            output_dict: `augmented_examples`, with the same splits, span and version; the counts by split
                become custom properties.
            exec_properties: `policy`, as JSON.

        Raises:
            RecordError: a record breaks the contract.
            RuntimeError: a split is empty, or records got lost on the way.
        """
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES])
        augmented = artifact_utils.get_single_instance(output_dict[AUGMENTED_EXAMPLES])
        policy = Policy.model_validate_json(exec_properties[POLICY])

        augmented.split_names = examples.split_names
        augmented.span = examples.span
        augmented.version = examples.version
        examples_utils.set_payload_format(augmented, example_gen_pb2.FORMAT_TF_EXAMPLE)

        splits = artifact_utils.decode_split_names(examples.split_names)
        with self._make_beam_pipeline() as pipeline:
            for split in splits:
                source = io_utils.all_files_pattern(artifact_utils.get_split_uri([examples], split))
                target = os.path.join(artifact_utils.get_split_uri([augmented], split), "data_tfrecord")
                _ = (
                    pipeline
                    | f"Read[{split}]" >> beam.io.ReadFromTFRecord(source)
                    | f"CountRead[{split}]"
                    >> beam.Map(lambda serialized, split=split: _count((_READ, serialized), split))
                    | f"Augment[{split}]" >> beam.ParDo(AddCopies(policy, split))
                    | f"CountWritten[{split}]" >> beam.Map(_count, split)
                    | f"Write[{split}]" >> beam.io.WriteToTFRecord(target)
                )
        for split in splits:
            counts = {name: _counted(pipeline.result, split, name) for name in (_READ, _ORIGINALS, _COPIES)}
            _reconcile(counts, split, policy.copies_of(split))
            _LOG.info("%s: %d originals, %d copies", split, counts[_ORIGINALS], counts[_COPIES])
            augmented.set_int_custom_property(f"{split}_{_ORIGINALS}", counts[_ORIGINALS])
            augmented.set_int_custom_property(f"{split}_{_COPIES}", counts[_COPIES])
        augmented.set_string_custom_property(POLICY, policy.name)


@beam.typehints.with_input_types(bytes)
@beam.typehints.with_output_types(tuple[str, bytes])
class AddCopies(beam.DoFn):
    """Passes each serialized record through byte for byte and adds its copies, told apart by a key."""

    def __init__(self, policy: Policy, split: str) -> None:
        """Takes the policy and the name of the split."""
        self._policy = policy
        self._split = split

    def setup(self) -> None:
        """Builds the transforms, once a worker."""
        self._transform = compose(self._policy)

    def process(self, serialized: bytes) -> Iterator[tuple[str, bytes]]:
        """Yields the original and its copies."""
        yield _ORIGINALS, serialized
        copies = self._policy.copies_of(self._split)
        if copies:
            original = record.decode(serialized)
            for copy in range(1, copies + 1):
                drawn = augment(original, self._transform, self._policy.seed, copy)
                yield _COPIES, record.encode(drawn)


def _count(tagged: tuple[str, bytes], split: str) -> bytes:
    name, serialized = tagged
    beam.metrics.Metrics.counter(split, name).inc()
    return serialized


def _counted(result: beam.runners.runner.PipelineResult, split: str, name: str) -> int:
    query = beam.metrics.MetricsFilter().with_namespace(split).with_name(name)
    return sum(int(counter.result) for counter in result.metrics().query(query)["counters"])


def _reconcile(counts: dict[str, int], split: str, copies: int) -> None:
    """What went in must have come out: runners have been seen to lose records without an error."""
    if counts[_READ] == 0:
        msg = f"split '{split}' has no records: each of train, eval and test needs patients, so add more of them"
        raise RuntimeError(msg)
    if counts[_ORIGINALS] != counts[_READ] or counts[_COPIES] != copies * counts[_READ]:
        written = f"{counts[_ORIGINALS]} originals and {counts[_COPIES]} copies"
        msg = f"split '{split}' lost records: {counts[_READ]} read, {written} written"
        raise RuntimeError(msg)
