"""What artifacts tell beside their files: custom properties, and the folders of splits.

>>> inherit(augmented, examples)
>>> spans_of(augmented)
[3, 4, 5]
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tfx import types
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

SECONDS: Final = "seconds"
"""Custom property: how long the component that made the artifact took, as the runner measured it."""
SPAN: Final = "span"
SPANS: Final = "spans"
"""Custom property of Examples: the numbers of the spans that they are from, rising, such as `3,4,5`."""
ORIGINALS: Final = "originals"
COPIES: Final = "copies"
POLICY: Final = "policy"
POLICY_HASH: Final = "policy_hash"
ALBUMENTATIONS: Final = "albumentations_version"
"""Custom properties of augmented Examples; the numbers of originals and copies bear the split before them."""


def inherit(made: types.Artifact, examples: types.Artifact) -> None:
    """Give an Examples artifact the splits, span, spans and version of the one that it is made of."""
    made.split_names = examples.split_names
    # ExampleGen's driver writes the span beside the type's own property, which stays 0.
    span = examples.get_int_custom_property(SPAN) or examples.span
    made.span = span
    made.set_int_custom_property(SPAN, span)
    if examples.has_custom_property(SPANS):
        made.set_string_custom_property(SPANS, examples.get_string_custom_property(SPANS))
    made.version = examples.version
    examples_utils.set_payload_format(made, example_gen_pb2.FORMAT_TF_EXAMPLE)


def spans_of(examples: types.Artifact) -> list[int]:
    """Return the numbers of the spans that Examples are from, rising; TFX's own ExampleGen tells of one alone."""
    if examples.has_custom_property(SPANS):
        return [int(span) for span in examples.get_string_custom_property(SPANS).split(",")]
    # ExampleGen's driver writes the span beside the type's own property, which stays 0.
    return [examples.get_int_custom_property(SPAN) or examples.span]


def splits_of(artifact: types.Artifact) -> list[str]:
    """Return the names of an artifact's splits, in their order."""
    return list(artifact_utils.decode_split_names(artifact.split_names))


def split_folder(artifact: types.Artifact, split: str) -> str:
    """Return the folder of a split.

    Raises:
        ValueError: There is no such split.
    """
    return str(artifact_utils.get_split_uri([artifact], split))


def record_files(folder: str) -> list[str]:
    """Return the record files of a split's folder, sorted.

    A Beam worker that died may have left a folder beside them.
    """
    return sorted(str(path) for path in Path(folder).glob("*") if not path.is_dir())


def read_records(files: Iterable[str]) -> Iterator[bytes]:
    """Read serialized records one by one; files are compressed where their name ends in `.gz`."""
    import tensorflow as tf

    for file in files:
        yield from tf.data.TFRecordDataset(file, "GZIP" if file.endswith(".gz") else "").as_numpy_iterator()


def written_to(augmented: types.Artifact, split: str) -> int:
    """Return how many records the Augmenter wrote to a split, as its artifact says; 0 where it has not made it."""
    return sum(augmented.get_int_custom_property(f"{split}_{name}") for name in (ORIGINALS, COPIES))


@contextmanager
def all_or_nothing(*artifacts: types.Artifact) -> Iterator[None]:
    """Empty the folders of artifacts where the block fails, so that half of one is never taken for the whole.

    The folders themselves stay: TFX removes them, and where it finds none its own error hides the component's.
    """
    try:
        yield
    except BaseException:
        for artifact in artifacts:
            shutil.rmtree(artifact.uri, ignore_errors=True)
            Path(artifact.uri).mkdir(parents=True, exist_ok=True)
        raise
