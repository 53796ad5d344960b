"""The serving folder: one numbered folder a pushed model, as TensorFlow Serving reads it."""

import os

import tensorflow as tf


def newest_version(serving_dir: str) -> int | None:
    """The highest number of a folder in `serving_dir` that holds a SavedModel, or None; `007` is no number."""
    if not tf.io.gfile.isdir(serving_dir):
        return None
    names = [name.rstrip("/") for name in tf.io.gfile.listdir(serving_dir)]
    versions = [int(name) for name in names if name.isdecimal() and str(int(name)) == name]
    return max((one for one in versions if is_model(os.path.join(serving_dir, str(one)))), default=None)


def is_model(folder: str) -> bool:
    """Whether the folder holds a SavedModel."""
    return bool(tf.io.gfile.exists(os.path.join(folder, "saved_model.pb")))
