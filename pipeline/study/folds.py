"""Turns the split of the data round, so that each patient is tested once, by models that never saw it."""

from collections.abc import Collection

import tensorflow as tf
from tensorflow.core.example import example_pb2, feature_pb2

from components.artifacts import read_records
from components.example_gen.spans import choose
from components.example_gen.split import ends_of, split_of_feature
from pipeline.config import Config, DataSettings
from pipeline.data_graph import split_by_patient
from pipeline.errors import UserError
from schema import features


def config_of_fold(config: Config, fold: int, folds: int) -> Config:
    """Return a configuration that tests one part of the patients.

    The buckets that the configuration has for training and validation are repeated for each fold. One fold's worth of
    them is tested on; of the rest, training and validation have the shares that they have in the configuration.

    Args:
        config: Of the study.
        fold: From 1 to `folds`.
        folds: 2 or more.
    """
    data = config.data
    part = data.train_buckets + data.eval_buckets
    split = {
        "train_buckets": data.train_buckets * (folds - 1),
        "eval_buckets": data.eval_buckets * (folds - 1),
        "test_buckets": part,
        "rotation": part * (fold - 1),
    }
    return config.model_copy(update={"data": data.model_copy(update=split)})


def check_folds(config: Config, folds: int) -> None:
    """Make sure that each fold has patients to train, to validate and to test on.

    Raises:
        UserError: One has not; names the largest number of folds that would do.
    """
    patients = _read_patients(config.data)
    if _fills(config, folds, patients):
        return
    possible = next((fewer for fewer in range(folds - 1, 1, -1) if _fills(config, fewer, patients)), None)
    remedy = f"the most that works is --folds {possible}" if possible else "leave out --folds, or add patients"
    raise UserError(
        f"--folds {folds}: {len(patients)} patients leave a fold without any to train, validate or test on; {remedy}"
    )


def _read_patients(data: DataSettings) -> Collection[feature_pb2.Feature]:
    """Read whose images the records are that ExampleGen will read."""
    spans = choose(str(data.root), data.span, data.spans)
    files = (file for span in spans for file in sorted(tf.io.gfile.glob(span.pattern)))
    of_records = (example_pb2.Example.FromString(record).features.feature for record in read_records(files))
    found = (feature[features.PATIENT_ID] for feature in of_records if features.PATIENT_ID in feature)
    return {feature.SerializeToString(deterministic=True): feature for feature in found}.values()


def _fills(config: Config, folds: int, patients: Collection[feature_pb2.Feature]) -> bool:
    """Tell whether no split of any fold is empty."""
    for fold in range(1, folds + 1):
        data = config_of_fold(config, fold, folds).data
        ends = ends_of(split_by_patient(data).split_config)
        if len({split_of_feature(patient, ends, data.rotation) for patient in patients}) < len(ends):
            return False
    return True
