"""A SavedModel as files: which there are, and what makes two of them equal."""

import hashlib
import os
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

MODEL_FILE: Final = "saved_model.pb"
"""By which a folder is known to be a SavedModel."""
STATISTICS_FILE: Final = os.path.join("assets.extra", "statistics", "FeatureStats.pb")
"""Statistics of the data that a pushed model was trained on; no part of the model."""

_FINGERPRINT: Final = "fingerprint.pb"
_VARIABLES: Final = "variables"
_CHECKPOINT_GRAPH: Final = "_CHECKPOINTABLE_OBJECT_GRAPH"
_RANDOM_NAMES: Final = ("shared_name", "debug_name")
"""Attributes of nodes that hold names which no two exports have in common."""


def digest(model_dir: str) -> str:
    """Identifies what a SavedModel computes: the same for two exports of one model, in hexadecimal.

    Neither the files nor TensorFlow's fingerprints are alike in two exports of one model: variables and functions are
    numbered and ordered by chance. So this takes, in sorted order, the values of the variables, the nodes of
    the graph and of its functions with their constants but without names, and the remaining files but statistics.

    Raises:
        ValueError: the model is damaged.
    """
    try:
        parts = sorted([*_values(model_dir), *_nodes(model_dir), *_further_files(model_dir)])
    except (tf.errors.OpError, ValueError) as error:
        msg = f"the model in '{model_dir}' cannot be read: {str(error).splitlines()[0]}"
        raise ValueError(msg) from error
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _values(model_dir: str) -> Iterator[bytes]:
    checkpoint = tf.compat.v1.train.NewCheckpointReader(os.path.join(model_dir, _VARIABLES, _VARIABLES))
    for name in checkpoint.get_variable_to_shape_map():
        if name != _CHECKPOINT_GRAPH:
            yield _hash(tf.make_tensor_proto(checkpoint.get_tensor(name)).SerializeToString(deterministic=True))


def _nodes(model_dir: str) -> Iterator[bytes]:
    for meta_graph in _parse(read_bytes(os.path.join(model_dir, MODEL_FILE))).meta_graphs:
        graph = meta_graph.graph_def
        # The normalisation's constants are nodes of the graph itself, which its functions capture.
        for node in chain(graph.node, *(function.node_def for function in graph.library.function)):
            if not _describes_objects(node):
                attributes = [
                    name.encode() + value.SerializeToString(deterministic=True)
                    for name, value in sorted(node.attr.items())
                    if not name.startswith("_")
                    and name not in _RANDOM_NAMES
                    and not (value.HasField("func") or value.list.func)
                ]
                yield _hash(node.op.encode(), *attributes)


def _describes_objects(node: Any) -> bool:
    """Whether this is the text in which saving puts down Python's objects, numbered by chance: a single string."""
    if node.op != "Const":
        return False
    value = node.attr["value"].tensor
    return value.dtype == tf.string.as_datatype_enum and not value.tensor_shape.dim


def _parse(serialized: bytes) -> saved_model_pb2.SavedModel:
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(serialized)
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        msg = f"{MODEL_FILE} is damaged"
        raise ValueError(msg) from error
    return model


def _further_files(model_dir: str) -> Iterator[bytes]:
    for path in files_below(model_dir):
        if path not in (MODEL_FILE, _FINGERPRINT, STATISTICS_FILE) and not path.startswith(f"{_VARIABLES}/"):
            yield _hash(path.encode(), read_bytes(os.path.join(model_dir, path)))


def _hash(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def files_below(folder: str) -> list[str]:
    """Paths of all files below a folder, relative to it."""
    return [
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _, names in tf.io.gfile.walk(folder)
        for name in names
    ]


def read_bytes(path: str) -> bytes:
    """The whole file."""
    with tf.io.gfile.GFile(path, "rb") as file:
        return bytes(file.read())
