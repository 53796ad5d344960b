"""Examples artifacts that components make of others."""

from typing import Final

from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.utils import io_utils

from components.example_gen.spans import SPANS

SPAN: Final = "span"


def inherit(made: types.Artifact, examples: types.Artifact) -> None:
    """Gives an Examples artifact the splits, span, spans and version of the one that it is made of."""
    made.split_names = examples.split_names
    # ExampleGen's driver writes the span beside the type's own property, which stays 0.
    span = examples.get_int_custom_property(SPAN) or examples.span
    made.span = span
    made.set_int_custom_property(SPAN, span)
    if examples.has_custom_property(SPANS):
        made.set_string_custom_property(SPANS, examples.get_string_custom_property(SPANS))
    made.version = examples.version
    examples_utils.set_payload_format(made, example_gen_pb2.FORMAT_TF_EXAMPLE)


def record_files(uri: str) -> list[str]:
    """The record files of a split's folder, sorted; a Beam worker that died may have left a folder beside them."""
    return [file for file in sorted(fileio.glob(io_utils.all_files_pattern(uri))) if not fileio.isdir(file)]
