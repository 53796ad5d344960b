"""Runs the Augmenter on Beam."""

import logging
import os
from importlib import metadata

import apache_beam as beam
from tfx.utils import io_utils

from components import artifacts, base
from components.artifacts import COPIES, ORIGINALS
from components.augmenter.copies import LEFT_OUT, READ, REDRAWN, AddCopies
from components.augmenter.policy import Policy
from components.counters import count, read_counters, reconcile

_LOG = logging.getLogger("lungseg.augmenter")


class Executor(base.BeamExecutor[Policy]):
    """Reads each split, adds copies, writes it."""

    SETTINGS = Policy

    def run(self, inputs: base.Artifacts, outputs: base.Artifacts, settings: Policy) -> None:
        """Augment.

        Args:
            inputs: `examples`, of tf.train.Example records.
            outputs: `augmented_examples`, with the same splits, span, `spans` and version. Its custom properties hold
                the counts by split (`train_read`, `train_originals`, `train_copies`, `train_redrawn`,
                `train_left_out`), `policy`, `policy_hash` and `albumentations_version`.
            settings: The policy.

        Raises:
            AugmentError: A record breaks the contract, or is a copy already.
            RuntimeError: A split is empty, or records got lost on the way.
        """
        examples, augmented = inputs["examples"], outputs["augmented_examples"]
        artifacts.inherit(augmented, examples)
        splits = artifacts.splits_of(examples)
        with self._make_beam_pipeline() as pipeline:
            for split in splits:
                source = io_utils.all_files_pattern(artifacts.split_folder(examples, split))
                target = os.path.join(artifacts.split_folder(augmented, split), "data_tfrecord")
                _ = (
                    pipeline
                    | f"Read[{split}]" >> beam.io.ReadFromTFRecord(source)
                    | f"AddCopies[{split}]" >> AddCopies(settings, split)
                    | f"Count[{split}]" >> beam.Map(_count_written, split)
                    | f"Write[{split}]" >> beam.io.WriteToTFRecord(target)
                )
        for split in splits:
            counted = read_counters(pipeline.result, split)
            counts = {name: counted[name] for name in (READ, ORIGINALS, COPIES, REDRAWN, LEFT_OUT)}
            _reconcile(counts, split, settings.copies_of(split))
            _LOG.info(
                "%s: %d originals, %d copies (%d redrawn, %d left out)",
                split, counts[ORIGINALS], counts[COPIES], counts[REDRAWN], counts[LEFT_OUT],
            )  # fmt: skip
            for name, total in counts.items():
                augmented.set_int_custom_property(f"{split}_{name}", total)
        augmented.set_string_custom_property(artifacts.POLICY, settings.name)
        augmented.set_string_custom_property(artifacts.POLICY_HASH, settings.content_hash())
        augmented.set_string_custom_property(artifacts.ALBUMENTATIONS, metadata.version("albumentations"))


def _count_written(tagged: tuple[str, bytes], split: str) -> bytes:
    name, serialized = tagged
    return count(serialized, split, name)


def _reconcile(counts: dict[str, int], split: str, copies: int) -> None:
    reconcile(
        f"split '{split}'",
        counts[READ],
        {"originals written": counts[ORIGINALS]},
        if_empty="each of train, eval and test needs patients, so add more of them",
    )
    due, written, left_out = copies * counts[READ], counts[COPIES], counts[LEFT_OUT]
    if due != written + left_out:
        raise RuntimeError(f"split '{split}' lost copies: {due} due, {written} written, {left_out} left out")
