"""What is kept of each record for a while, on disk, so that no runner holds it in memory.

>>> files = summaries | WriteSpill(folder)
>>> files | beam.FlatMap(read_spill)
"""

import os
from array import array
from collections.abc import Iterator
from typing import IO, Any, Final, Generic, TypeVar

import apache_beam as beam
from apache_beam.coders import PickleCoder
from apache_beam.pvalue import PCollection

from components.artifacts import read_records

Element = TypeVar("Element")

_CODER: Final = PickleCoder()


class WriteSpill(beam.PTransform):
    """Writes elements of any kind into files of a folder; yields the names of the files, once all are there."""

    def __init__(self, folder: str) -> None:
        """Name the folder, which all workers reach."""
        super().__init__()
        self._prefix = os.path.join(folder, "spill")

    def expand(self, elements: PCollection) -> PCollection:
        """Write the elements."""
        return elements | beam.io.WriteToTFRecord(self._prefix, coder=_CODER)


def read_spill(file: str) -> Iterator[Any]:
    """Read the elements that `WriteSpill` wrote into a file."""
    return map(_CODER.decode, read_records([file]))


class SpillFile(Generic[Element]):
    """A file of this machine from which elements are read by number, in any order."""

    def __init__(self, file: IO[bytes]) -> None:
        """Start with an empty file, open for writing and reading."""
        self._file = file
        self._ends = array("q", [0])

    def append(self, element: Element) -> None:
        """Write an element behind those that are there; none may have been read yet."""
        self._ends.append(self._ends[-1] + self._file.write(_CODER.encode(element)))

    def read(self, number: int) -> Element:
        """Read the element that was appended as the `number`th, from 0 on."""
        start, end = self._ends[number : number + 2]
        self._file.seek(start)
        element: Element = _CODER.decode(self._file.read(end - start))
        return element
