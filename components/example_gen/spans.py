"""Spans: numbered folders of records, a delivery each, and which of them are read.

>>> [one.span for one in choose("data", newest=5, number=3)]  # of span-1, span-2, span-4, span-5 and span-6
[2, 4, 5]
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

RECORDS: Final = "span-{SPAN}/records-*"
"""Pattern of record files below the data root."""

_NUMBER = re.compile(r"(?:^|/)span-(0|[1-9][0-9]*)/records-[^/]*$")


class Span(NamedTuple):
    """The record files of one span."""

    span: int
    """Its number."""
    pattern: str
    """Of the paths of its files."""


def choose(data_root: str, newest: int | None = None, number: int | None = None) -> list[Span]:
    """Choose the last spans that there are, of those numbered up to `newest`; gaps in the numbering do not count.

    Args:
        data_root: Folder with `span-N/`.
        newest: The highest number to take; None: whatever there is.
        number: How many to take at most, 1 or more; None: all.

    Returns:
        Up to `number` spans, their numbers rising.
    """
    eligible = [span for span in existing(data_root) if newest is None or span <= newest]
    chosen = eligible if number is None else eligible[-number:]
    return [Span(span, str(Path(data_root, RECORDS.format(SPAN=span)))) for span in chosen]


def existing(data_root: str) -> list[int]:
    """List the numbers of all spans that hold records, rising."""
    files = Path(data_root).glob(RECORDS.format(SPAN="*"))
    return sorted({int(match[1]) for file in files if (match := _NUMBER.search(str(file)))})


def check_there(data_root: str, newest: int | None) -> None:
    """Raise ValueError where there is no span, or not the one that is named; TFX would not say what it looked for.

    Args:
        data_root: Folder with `span-N/`.
        newest: The span that is named; None: any.
    """
    spans = existing(data_root)
    if newest is None and not spans:
        raise ValueError(f"'{data_root}' holds no span-N/records-*: write them there with `lungseg ingest`")
    if newest is not None and newest not in spans:
        there_are = f"there are {enumerate_spans(spans)}; name one of these, or" if spans else "there are none;"
        raise ValueError(f"'{data_root}' has no span {newest}: {there_are} write it first")


def number_in(pattern: str) -> int:
    """Return the number in a pattern in which TFX's driver has put the newest span, such as `span-5/records-*`.

    Raises:
        ValueError: it holds none.
    """
    match = _NUMBER.search(pattern)
    if not match:
        raise ValueError(
            f"pattern '{pattern}' names no span: ExampleGen's driver must run first and put a number into it"
        )
    return int(match[1])


def enumerate_spans(spans: list[int]) -> str:
    """Write numbers as text, such as `3, 4, 5`."""
    return ", ".join(map(str, spans))
