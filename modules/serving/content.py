"""What a SavedModel computes, which makes two of them equal.

Neither the files nor TensorFlow's fingerprints are alike in two exports of one model: variables and functions are
numbered and ordered by chance.
"""

import hashlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from modules.serving.saved_model import MODEL_FILE, STATISTICS_FILE, hash_parts

_FINGERPRINT: Final = "fingerprint.pb"
_VARIABLES: Final = "variables"
_CHECKPOINT_GRAPH: Final = "_CHECKPOINTABLE_OBJECT_GRAPH"
_RANDOM_NAMES: Final = ("shared_name", "debug_name")
"""Attributes of nodes that hold names which no two exports have in common."""


def digest(model_dir: Path) -> str:
    """Identify what a SavedModel computes: the same for two exports of one model, in hexadecimal.

    This takes, in sorted order, the values of the variables, the nodes of the graph and of its functions with their
    constants but without names, and the remaining files but statistics.

    Raises:
        ValueError: The model is damaged.
    """
    try:
        parts = sorted([*_values(model_dir), *_nodes(model_dir), *_further_files(model_dir)])
    except (tf.errors.OpError, OSError, ValueError) as error:
        raise ValueError(f"the model in '{model_dir}' cannot be read: {str(error).splitlines()[0]}") from error
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _values(model_dir: Path) -> Iterator[bytes]:
    checkpoint = tf.compat.v1.train.NewCheckpointReader(str(model_dir / _VARIABLES / _VARIABLES))
    for name in checkpoint.get_variable_to_shape_map():
        if name != _CHECKPOINT_GRAPH:
            yield hash_parts(tf.make_tensor_proto(checkpoint.get_tensor(name)).SerializeToString(deterministic=True))


def _nodes(model_dir: Path) -> Iterator[bytes]:
    for meta_graph in _parse((model_dir / MODEL_FILE).read_bytes()).meta_graphs:
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
                yield hash_parts(node.op.encode(), *attributes)


def _describes_objects(node: Any) -> bool:
    """Tell whether this is the text in which saving puts down Python's objects, numbered by chance: a single string."""
    if node.op != "Const":
        return False
    value = node.attr["value"].tensor
    return value.dtype == tf.string.as_datatype_enum and not value.tensor_shape.dim


def _parse(serialized: bytes) -> saved_model_pb2.SavedModel:
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(serialized)
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        raise ValueError(f"{MODEL_FILE} is damaged") from error
    return model


def _further_files(model_dir: Path) -> Iterator[bytes]:
    for path in model_dir.rglob("*"):
        name = path.relative_to(model_dir).as_posix()
        if not path.is_file() or name.startswith(f"{_VARIABLES}/"):
            continue
        if name not in (MODEL_FILE, _FINGERPRINT, STATISTICS_FILE):
            yield hash_parts(name.encode(), path.read_bytes())
