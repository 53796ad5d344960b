"""Ordered, bounded work on threads."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_THREADS: Final = 16
# Now and then a thread waits for the GIL; one more keeps its core at work meanwhile. With four more an image takes 8 %
# more of a core's time, for their pixels push each other out of its cache: they pay only where files are waited for.
_SPARE_THREADS: Final = 1
_SPARE_THREADS_FOR_A_STORE: Final = 4


def count_threads(*, from_store: bool = False) -> int:
    """How many threads keep all cores at work, given whether the files they read come from a store."""
    spare = _SPARE_THREADS_FOR_A_STORE if from_store else _SPARE_THREADS
    return min((os.cpu_count() or 1) + spare, _MOST_THREADS)


@contextmanager
def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[Iterator[Result]]:
    """Yields the results in the order of the items; leaving the context stops the work.

    Suits functions that release the GIL. Two items a thread are under way at most, so that memory is bounded
    however many there are.

    Args:
        function: to call with each item.
        items: taken as they are needed.
        threads: how many; by default as many as keep all cores at work with files of this machine.
    """
    threads = threads or count_threads()
    pool = ThreadPoolExecutor(threads)

    def results() -> Iterator[Result]:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    try:
        yield results()
    finally:
        pool.shutdown(cancel_futures=True)
