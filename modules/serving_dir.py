"""The serving folder: one numbered folder a pushed model, as TensorFlow Serving reads it."""

import os

import tensorflow as tf


def newest_version(serving_dir: str) -> int | None:
    """The highest number of a folder in `serving_dir` that holds a SavedModel, or None."""
    if not tf.io.gfile.isdir(serving_dir):
        return None
    names = [name.rstrip("/") for name in tf.io.gfile.listdir(serving_dir)]
    return max(
        (int(name) for name in names if name.isdecimal() and is_model(os.path.join(serving_dir, name))), default=None
    )


def is_model(folder: str) -> bool:
    """Whether the folder holds a SavedModel."""
    return bool(tf.io.gfile.exists(os.path.join(folder, "saved_model.pb")))
