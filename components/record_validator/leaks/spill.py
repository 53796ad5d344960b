"""What is kept of each record for a while, on disk, so that no runner holds it in memory."""

import os
from array import array
from collections.abc import Iterator
from typing import IO, Any, Final

import apache_beam as beam
from apache_beam.coders import PickleCoder
from apache_beam.pvalue import PCollection

_CODER: Final = PickleCoder()


class Shelve(beam.PTransform):
    """Puts elements into files of a folder: from any elements to the files' names, once all are there."""

    def __init__(self, folder: str) -> None:
        """Takes the folder, which all workers reach."""
        super().__init__()
        self._prefix = os.path.join(folder, "shelf")

    def expand(self, elements: PCollection) -> PCollection:
        """Writes."""
        return elements | beam.io.WriteToTFRecord(self._prefix, coder=_CODER)


def fetch(file: str) -> Iterator[Any]:
    """What `Shelve` put into a file."""
    import tensorflow as tf

    yield from map(_CODER.decode, tf.data.TFRecordDataset(file).as_numpy_iterator())


class LocalShelf:
    """A file of this machine from which elements are taken by number, in any order."""

    def __init__(self, file: IO[bytes]) -> None:
        """Takes an empty file, open for writing and reading."""
        self._file = file
        self._ends = array("q", [0])

    def put(self, element: Any) -> None:
        """Adds an element."""
        self._ends.append(self._ends[-1] + self._file.write(_CODER.encode(element)))

    def take(self, number: int) -> Any:
        """The element that was put there as the `number`th, from 0 on."""
        start, end = self._ends[number : number + 2]
        self._file.seek(start)
        return _CODER.decode(self._file.read(end - start))
