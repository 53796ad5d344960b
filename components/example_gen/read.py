"""Reads several spans as one data set, in which no image is there twice because two spans hold it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsDict, PBegin, PCollection
from tensorflow.core.example import example_pb2

from components.counters import count
from components.example_gen.spans import Span
from schema import features

READ: Final = "read"
REPLACED: Final = "replaced"
IDENTIFIED: Final = "identified"


class _Presence(NamedTuple):
    """Where records of one name are: the first and the last span, and the first and the last source, by name."""

    oldest: int
    newest: int
    first_source: tuple[str, int]
    """With a span that has it."""
    last_source: tuple[str, int]
    records: int


class ReadSpans(beam.PTransform):
    """Reads the records of spans; of an image that is in several, that of the newest.

    The same image is one with equal `image_id` and `source`. That the newest counts lets a later span correct masks, or
    any other feature, without touching what was delivered before; to refuse such images instead would force users to
    write the older span anew, and earlier runs could not be repeated then. Equal ids of two sources are refused: these
    are two images, but all components behind tell images apart by `image_id` alone. An image that is twice in one span
    is left alone: that is a mistake, which the Evaluator reports.

    Which images are in several spans is found in a pass of its own over the files, which keeps names and numbers alone,
    so that no record is held back to wait for another. A single span is read once.

    Counts under `namespace_of(span)` the records `read` and `replaced`, and of several spans, under `TOTAL`, those
    `identified`.
    """

    def __init__(self, spans: list[Span]) -> None:
        """Take the spans to read."""
        super().__init__()
        self._spans = spans

    def expand(self, begin: PBegin) -> PCollection:
        """Read: from the start of a pipeline to tf.train.Example records in no order."""
        newest = [AsDict(self._find_replaced(begin))] if len(self._spans) > 1 else []
        return [
            begin
            | f"Read[{span}]" >> beam.io.ReadFromTFRecord(pattern)
            | f"Parse[{span}]" >> beam.Map(_parse)
            | f"Keep[{span}]" >> beam.FlatMap(_keep_newest, span, *newest)
            for span, pattern in self._spans
        ] | beam.Flatten()

    def _find_replaced(self, begin: PBegin) -> PCollection:
        """Find the last span of every image that is in several."""
        return (
            [
                begin
                | f"Scan[{span}]" >> beam.io.ReadFromTFRecord(pattern)
                | f"Identify[{span}]" >> beam.Map(_identify, span)
                for span, pattern in self._spans
            ]
            | "Join" >> beam.Flatten()
            | "Gather" >> beam.CombinePerKey(_gather)
            | "Compare" >> beam.FlatMap(_replaced)
        )


TOTAL: Final = "spans"
"""Namespace of what is counted over all spans."""


def namespace_of(span: int) -> str:
    """Name the namespace of the counters of a span."""
    return f"span {span}"


def _parse(serialized: bytes) -> example_pb2.Example:
    return example_pb2.Example.FromString(serialized)


def _keep_newest(
    example: example_pb2.Example, span: int, newest: Mapping[str, int] | None = None
) -> Iterator[example_pb2.Example]:
    count(None, namespace_of(span), READ)
    if newest and newest.get(_text(example, features.IMAGE_ID, span), span) > span:
        count(None, namespace_of(span), REPLACED)
    else:
        yield example


def _identify(serialized: bytes, span: int) -> tuple[str, _Presence]:
    example = _parse(serialized)
    source = _text(example, features.SOURCE, span), span
    return _text(example, features.IMAGE_ID, span), _Presence(span, span, source, source, records=1)


def _text(example: example_pb2.Example, name: str, span: int) -> str:
    values = example.features.feature[name].bytes_list.value if name in example.features.feature else []
    if len(values) != 1:
        raise ValueError(f"span {span} holds a record without '{name}': write the span again with `lungseg ingest`")
    return str(values[0], "utf-8", "backslashreplace")


def _gather(presences: Iterable[_Presence]) -> _Presence:
    oldest, newest, first, last, records = zip(*presences, strict=True)
    return _Presence(min(oldest), max(newest), min(first), max(last), sum(records))


def _replaced(image: tuple[str, _Presence]) -> Iterator[tuple[str, int]]:
    image_id, presence = image
    count(None, TOTAL, IDENTIFIED, presence.records)
    if presence.oldest == presence.newest:
        return
    (first_source, first_span), (last_source, last_span) = presence.first_source, presence.last_source
    if first_source != last_source:
        both = f"of source '{first_source}' in span {first_span} and of source '{last_source}' in span {last_span}"
        raise ValueError(f"image '{image_id}' is {both}: give one of them another name and ingest its span again")
    yield image_id, presence.newest
