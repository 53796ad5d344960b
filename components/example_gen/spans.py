"""Spans: numbered folders of records, a delivery each, and which of them are read.

>>> [one.span for one in choose("data", newest=5, number=3)]  # of span-1, span-2, span-4, span-5 and span-6
[2, 4, 5]
"""

import os
import re
from typing import Final, NamedTuple

from tfx import types
from tfx.dsl.io import fileio

RECORDS: Final = "span-{SPAN}/records-*"
"""Pattern of record files below the data root."""

SPANS: Final = "spans"
"""Custom property of Examples: the numbers of the spans that they are from, rising, such as `3,4,5`."""

_NUMBER = re.compile(r"(?:^|/)span-(0|[1-9][0-9]*)/records-[^/]*$")


class Span(NamedTuple):
    """The record files of one span."""

    span: int
    """Its number."""
    pattern: str
    """Of the paths of its files."""


def choose(data_root: str, newest: int, number: int) -> list[Span]:
    """The last spans that there are, of those numbered up to `newest`; gaps in the numbering do not count.

    Args:
        data_root: folder with `span-N/`.
        newest: the highest number to take.
        number: how many to take at most, 1 or more.

    Returns:
        Up to `number` spans, their numbers rising.
    """
    found = [span for span in existing(data_root) if span <= newest]
    return [Span(span, os.path.join(data_root, RECORDS.format(SPAN=span))) for span in found[-number:]]


def existing(data_root: str) -> list[int]:
    """The numbers of all spans that hold records, rising."""
    files = fileio.glob(os.path.join(data_root, RECORDS.format(SPAN="*")))
    return sorted({int(match[1]) for file in files if (match := _NUMBER.search(str(file)))})


def number_in(pattern: str) -> int:
    """The number in a pattern in which TFX's driver has put the newest span, such as `span-5/records-*`.

    Raises:
        ValueError: it holds none.
    """
    match = _NUMBER.search(pattern)
    if not match:
        msg = f"pattern '{pattern}' names no span: ExampleGen's driver must run first and put a number into it"
        raise ValueError(msg)
    return int(match[1])


def spans_of(examples: types.Artifact) -> list[int]:
    """The numbers of the spans that Examples are from, rising; TFX's own ExampleGen tells of one alone."""
    if examples.has_custom_property(SPANS):
        return [int(one) for one in examples.get_string_custom_property(SPANS).split(",")]
    # ExampleGen's driver writes the span beside the type's own property, which stays 0.
    return [examples.get_int_custom_property("span") or examples.span]


def enumerate_spans(spans: list[int]) -> str:
    """The numbers as text, such as `3, 4, 5`."""
    return ", ".join(map(str, spans))
