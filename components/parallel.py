"""Work on all CPUs inside one Beam worker."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Final

import apache_beam as beam
import cv2
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from components.threads import OrderedPool, count_cpus

_AHEAD: Final = 32
"""Elements a CPU that may be under way or wait to be emitted: enough that no CPU waits, and some tens of megabytes of
records."""
_MOST_AHEAD: Final = 256
"""The same of a worker of many CPUs, on which that would be gigabytes."""


class ParallelDoFn(beam.DoFn):
    """One thread a CPU: OpenCV and NumPy release the GIL, and new processes would cost half a minute each.

    While the threads work, Beam reads the next elements and takes those that are done, in their order.
    """

    def setup(self) -> None:
        """Start the threads; what they share is made before."""
        # One thread an element; OpenCV's own would fight over the CPUs.
        cv2.setNumThreads(1)
        self.threads = count_cpus()
        self._pool = OrderedPool(self.threads, min(_AHEAD * self.threads, max(_MOST_AHEAD, self.threads)))

    @abstractmethod
    def work(self, element: Any) -> Any:
        """Do with an element what is to be done, on one of the threads."""

    @abstractmethod
    def emit(self, result: Any) -> Iterator[Any]:
        """Yield what becomes of a result, on Beam's own thread, the only one on which counters count."""

    def start_bundle(self) -> None:
        """Drop what a bundle that failed has left."""
        self._pool.cancel()

    def process(self, element: Any) -> Iterator[Any]:
        """Hand an element to the threads, and emit those before it that are to make room."""
        for result in self._pool.submit(self.work, element):
            yield from self.emit(result)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Emit the rest."""
        for result in self._pool.drain():
            yield from map(GlobalWindows.windowed_value, self.emit(result))

    def teardown(self) -> None:
        """End the threads."""
        self._pool.close()
