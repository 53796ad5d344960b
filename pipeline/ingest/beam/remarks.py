"""Sums up what there is to remark on an input: how many files or rows each remark is about, and one for example."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import apache_beam as beam
from apache_beam.typehints.decorators import no_annotations

from pipeline.ingest.pairing import Remark
from pipeline.ingest.table import file_name

Observation: TypeAlias = tuple[str, tuple[int, str]]
"""What is remarked, of how many, and the first of them by name."""

UNMATCHED: Final = "rows without an image"
UNDESCRIBED: Final = "images without a row"
PASSED_OVER: Final = "passed over in "
"""Followed by the name of the files' role."""

DEEPER: Final = "in folders below "
DANGLING: Final = "links that lead to nothing in "
"""Both followed by the folder."""


class SumUpRemarks(beam.PTransform):
    """Observations to remarks, one of a kind.

    Args:
        images: Name of the role of the images.
        metadata: Path of the metadata file, if there is one.
        extensions: Of the files of each role, by its name.
    """

    def __init__(self, images: str, metadata: str | None, extensions: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self._images, self._table, self._extensions = images, file_name(metadata or ""), extensions

    @no_annotations  # Beam knows no such types
    def expand(self, observations: beam.PCollection) -> beam.PCollection:
        """Count each kind."""
        return (
            observations
            | "Count observations" >> beam.CombinePerKey(_add)
            | "Word" >> beam.Map(word, self._images, self._table, self._extensions)
        )


def observe(kind: str, example: str) -> Observation:
    """Return the observation of one file or row."""
    # Beam codes text as UTF-8, which names need not be.
    return kind, (1, example.encode("utf-8", "backslashreplace").decode())


def word(observed: Observation, images: str, table: str, extensions: Mapping[str, Sequence[str]]) -> Remark:
    """Put a remark into words."""
    kind, (count, example) = observed
    if kind == UNMATCHED:
        return Remark(f"{_count(count, 'row')} of {table} without an image in {images}/, such as {example}")
    if kind == UNDESCRIBED:
        return Remark(f"{_count(count, 'image')} without a row in {table}, such as {example}")
    if kind.startswith(DEEPER):
        folder = kind.removeprefix(DEEPER)
        deeper = _count(count, "file")
        return Remark(
            f"{deeper} not read in folders below {folder}/, such as {example}: files must lie in {folder}/ itself"
        )
    if kind.startswith(DANGLING):
        folder = kind.removeprefix(DANGLING)
        lead = "leads" if count == 1 else "lead"
        return Remark(
            f"{_count(count, 'link')} in {folder}/ that {lead} to no file, such as {example}: fetch what they link to, "
            "with `git annex get` or the like"
        )
    role = kind.removeprefix(PASSED_OVER)
    endings = ", ".join(extensions[role])
    passed = _count(count, "file")
    return Remark(f"{passed} passed over, such as {example}: names must end in one of {endings}")


def _add(tallies: Iterable[tuple[int, str]]) -> tuple[int, str]:
    counts, examples = zip(*tallies, strict=True)
    return sum(counts), min(examples)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
