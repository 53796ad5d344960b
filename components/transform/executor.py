"""Runs Transform on Beam."""

from itertools import chain
from typing import Any, Final

import numpy as np
import tensorflow as tf
from tfx import types
from tfx.components.transform import executor
from tfx.types import artifact_utils, standard_component_specs

from components.artifacts import all_or_nothing, record_files, written_to

TRANSFORMED: Final = "transformed"


class Executor(executor.Executor):
    """TFX's, which does not count what it writes."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Transform, and count what was written.

        Args:
            input_dict: those of TFX's Transform; `examples` is one artifact of the Augmenter's.
            output_dict: those of TFX's Transform; custom properties of `transformed_examples` hold the counts by split
                (`train_transformed`).
            exec_properties: those of TFX's Transform.

        Raises:
            RuntimeError: records got lost on the way.
        """
        examples = artifact_utils.get_single_instance(input_dict[standard_component_specs.EXAMPLES_KEY])
        transformed = artifact_utils.get_single_instance(output_dict[standard_component_specs.TRANSFORMED_EXAMPLES_KEY])
        with all_or_nothing(*chain.from_iterable(output_dict.values())):
            super().Do(input_dict, output_dict, exec_properties)
            for split in artifact_utils.decode_split_names(transformed.split_names):
                total = _count(artifact_utils.get_split_uri([transformed], split))
                _reconcile(split, written_to(examples, split), total)
                transformed.set_int_custom_property(f"{split}_{TRANSFORMED}", total)


def _count(uri: str) -> int:
    """Count the records in the files of a split, without parsing any."""
    records = tf.data.TFRecordDataset(record_files(uri), "GZIP", num_parallel_reads=tf.data.AUTOTUNE)
    return int(records.reduce(np.int64(0), lambda total, _: total + 1))


def _reconcile(split: str, augmented: int, transformed: int) -> None:
    """Raise RuntimeError where not all that went in came out: runners have been seen to lose records silently."""
    if augmented != transformed:
        wrong = f"lost {augmented - transformed}" if transformed < augmented else f"doubled {transformed - augmented}"
        raise RuntimeError(
            f"split '{split}' {wrong} of the Augmenter's {augmented} records: {transformed} came out of Transform, "
            "of which nothing is kept, so run again"
        )
