"""Threads on the CPUs that this process may use, with bounded work ahead and results in order.

>>> with OrderedPool(count_cpus()) as pool:
...     sizes = list(pool.map(len, ["a", "bc"]))
>>> sizes
[1, 2]

They suit functions that release the GIL, as those of OpenCV, NumPy and the image decoders do.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

_AHEAD: Final = 2  # calls a thread that are under way or done, so that no thread waits for the one that takes results


def count_cpus() -> int:
    """Return how many CPUs this process may use, given its affinity and the limit of its container (cgroup)."""
    from joblib import cpu_count  # takes half a second to import

    return int(cpu_count())


class OrderedPool:
    """Threads that work on calls as they are submitted, and whose results are taken in the order of the calls.

    An error is raised where its result would be, and cancels the calls behind it. Leaving the context does so, too.

    Attributes:
        threads: how many there are.

    Args:
        threads: how many there are.
        limit: of the calls whose results have not been taken, so that memory is bounded; by default two a thread.
    """

    def __init__(self, threads: int, limit: int | None = None) -> None:
        self.threads: Final = threads
        self._limit = limit or _AHEAD * threads
        self._executor = ThreadPoolExecutor(threads)
        self._pending: deque[Future[Any]] = deque()

    def __enter__(self) -> "OrderedPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, function: Callable[..., Result], *arguments: Any) -> list[Result]:
        """Submit a call; at the limit, wait for the oldest one and return its result, else nothing."""
        self._pending.append(self._executor.submit(function, *arguments))
        return [self._take()] if len(self._pending) >= self._limit else []

    def drain(self) -> Iterator[Any]:
        """Yield the results of all calls that have been submitted."""
        while self._pending:
            yield self._take()

    def map(self, function: Callable[..., Result], *iterables: Iterable[Any]) -> Iterator[Result]:
        """Yield the results of a function for the items of iterables of one length, which are taken as needed."""
        try:
            for arguments in zip(*iterables, strict=True):
                yield from self.submit(function, *arguments)
            yield from self.drain()
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Drop all calls: those that no thread has begun are never made, and no result is taken of the others."""
        while self._pending:
            self._pending.popleft().cancel()

    def close(self) -> None:
        """Cancel all calls and end the threads."""
        self.cancel()
        self._executor.shutdown()

    def _take(self) -> Any:
        try:
            return self._pending.popleft().result()
        except BaseException:
            self.cancel()
            raise
