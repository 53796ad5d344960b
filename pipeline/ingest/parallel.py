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
# Now and then all threads but one wait for the GIL; these keep every core at work meanwhile.
_SPARE_THREADS: Final = 4


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
        threads: how many; by default as many as keep all cores at work.
    """
    threads = threads or min((os.cpu_count() or 1) + _SPARE_THREADS, _MOST_THREADS)
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
