"""Work on all cores inside one Beam worker."""

import os
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import apache_beam as beam
import cv2
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

_AHEAD = 32
"""Elements a core that may be under way or wait to be emitted: enough that no core waits, and some tens of megabytes of
records."""


class ParallelDoFn(beam.DoFn):
    """One thread a core: OpenCV and NumPy release the GIL, and new processes would cost half a minute each.

    While the threads work, Beam reads the next elements and takes those that are done, in their order.
    """

    def setup(self) -> None:
        """Starts the threads; what they share is made before."""
        # One thread an element; OpenCV's own would fight over the cores.
        cv2.setNumThreads(1)
        self.threads = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self.threads)

    @abstractmethod
    def work(self, element: Any) -> Any:
        """What is done with an element, on one of the threads."""

    @abstractmethod
    def emit(self, result: Any) -> Iterator[Any]:
        """What becomes of it, on Beam's own thread, the only one on which counters count."""

    def start_bundle(self) -> None:
        """Called by Beam."""
        self._under_way: deque[Future[Any]] = deque()

    def process(self, element: Any) -> Iterator[Any]:
        """Called by Beam."""
        self._under_way.append(self._pool.submit(self.work, element))
        if len(self._under_way) > _AHEAD * self.threads:
            yield from self._next()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Called by Beam."""
        while self._under_way:
            yield from map(GlobalWindows.windowed_value, self._next())

    def teardown(self) -> None:
        """Called by Beam."""
        self._pool.shutdown(cancel_futures=True)

    def _next(self) -> Iterator[Any]:
        return self.emit(self._under_way.popleft().result())
