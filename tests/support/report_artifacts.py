"""Artifacts as the components before the Reporter leave them.

>>> artifact(standard_artifacts.InfraBlessing, folder, probe_result)
>>> examples(folder, {"train": records}, suffix=".gz")
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tfx import types
from tfx.types import artifact_utils, standard_artifacts

from modules.evaluation.measures import MEASURES
from schema.record import Record, encode
from schema.reports.base import Report

Inputs = dict[str, list[types.Artifact]]
"""What an executor is given."""


def artifact(kind: type[types.Artifact], folder: Path, *reports: Report) -> types.Artifact:
    """Makes an artifact that holds reports."""
    folder.mkdir(parents=True, exist_ok=True)
    for report in reports:
        report.write(folder)
    made = kind()
    made.uri = str(folder)
    return made


def examples(folder: Path, splits: Mapping[str, Sequence[Record]], suffix: str = "") -> types.Artifact:
    """Makes an Examples artifact, a file a split, compressed with the suffix `.gz`."""
    made = artifact(standard_artifacts.Examples, folder)
    made.split_names = artifact_utils.encode_split_names(list(splits))
    for split, records in splits.items():
        (folder / f"Split-{split}").mkdir()
        path = folder / f"Split-{split}" / f"data_tfrecord-00000-of-00001{suffix}"
        with tf.io.TFRecordWriter(str(path), "GZIP" if suffix else "") as writer:
            for record in records:
                writer.write(encode(record))
    return made


def image_row(record: Record, set_: str = "test", dice: float = 0.9) -> dict[str, Any]:
    """Makes a row of `images.csv`; but for its Dice, everything that is measured is 0.5."""
    names = ("image_id", "original_id", "patient_id", "source", "finding", "view", "sex", "age", "augmentation")
    described = {name: getattr(record, name) for name in names}
    measured = dict.fromkeys(MEASURES, 0.5) | {"dice": dice}
    return {"set": set_, **described, "is_augmented": int(record.is_augmented), "lung_fraction": 0.2, **measured}
