"""Runs the Augmenter on Beam."""

import logging
import os
from importlib import metadata
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.augmenter.copies import COPIES, LEFT_OUT, ORIGINALS, READ, REDRAWN, AddCopies
from components.augmenter.policy import Policy
from components.counters import count, read_counters
from components.example_artifacts import inherit
from components.outputs import all_or_nothing

EXAMPLES = "examples"
AUGMENTED_EXAMPLES = "augmented_examples"
POLICY = "policy"
CODE_VERSION = "code_version"

_LOG = logging.getLogger("lungseg.augmenter")


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
            output_dict: `augmented_examples`, with the same splits, span, `spans` and version. Its custom properties
                hold the counts by split (`train_read`, `train_originals`, `train_copies`, `train_redrawn`,
                `train_left_out`), `policy`, `policy_hash` and `albumentations_version`.
            exec_properties: `policy`, as JSON, and `code_version`, which is not read.

        Raises:
            AugmentError: a record breaks the contract, or is a copy already.
            RuntimeError: a split is empty, or records got lost on the way.
        """
        augmented = artifact_utils.get_single_instance(output_dict[AUGMENTED_EXAMPLES])
        with all_or_nothing(augmented):
            self._augment(artifact_utils.get_single_instance(input_dict[EXAMPLES]), augmented, exec_properties[POLICY])

    def _augment(self, examples: types.Artifact, augmented: types.Artifact, policy_json: str) -> None:
        policy = Policy.model_validate_json(policy_json)
        inherit(augmented, examples)
        splits = artifact_utils.decode_split_names(examples.split_names)
        with self._make_beam_pipeline() as pipeline:
            for split in splits:
                source = io_utils.all_files_pattern(artifact_utils.get_split_uri([examples], split))
                target = os.path.join(artifact_utils.get_split_uri([augmented], split), "data_tfrecord")
                _ = (
                    pipeline
                    | f"Read[{split}]" >> beam.io.ReadFromTFRecord(source)
                    | f"AddCopies[{split}]" >> AddCopies(policy, split)
                    | f"Count[{split}]" >> beam.Map(_count_written, split)
                    | f"Write[{split}]" >> beam.io.WriteToTFRecord(target)
                )
        for split in splits:
            counted = read_counters(pipeline.result, split)
            counts = {name: counted[name] for name in (READ, ORIGINALS, COPIES, REDRAWN, LEFT_OUT)}
            _reconcile(counts, split, policy.copies_of(split))
            _LOG.info(
                "%s: %d originals, %d copies (%d redrawn, %d left out)",
                split, counts[ORIGINALS], counts[COPIES], counts[REDRAWN], counts[LEFT_OUT],
            )  # fmt: skip
            for name, total in counts.items():
                augmented.set_int_custom_property(f"{split}_{name}", total)
        augmented.set_string_custom_property(POLICY, policy.name)
        augmented.set_string_custom_property("policy_hash", policy.content_hash())
        augmented.set_string_custom_property("albumentations_version", metadata.version("albumentations"))


def written_to(augmented: types.Artifact, split: str) -> int:
    """How many records the Augmenter wrote to a split, as its artifact says; 0 where it has not made the artifact."""
    return sum(augmented.get_int_custom_property(f"{split}_{name}") for name in (ORIGINALS, COPIES))


def _count_written(tagged: tuple[str, bytes], split: str) -> bytes:
    name, serialized = tagged
    return count(serialized, split, name)


def _reconcile(counts: dict[str, int], split: str, copies: int) -> None:
    """What went in must have come out: runners have been seen to lose records without an error."""
    read = counts[READ]
    if read == 0:
        msg = f"split '{split}' has no records: each of train, eval and test needs patients, so add more of them"
        raise RuntimeError(msg)
    if counts[ORIGINALS] != read or counts[COPIES] + counts[LEFT_OUT] != copies * read:
        written = f"{counts[ORIGINALS]} originals and {counts[COPIES]} of {copies * read} copies"
        msg = f"split '{split}' lost records: {read} read, {written} written, {counts[LEFT_OUT]} left out"
        raise RuntimeError(msg)
