"""Ordered, bounded work on threads."""

import os
import threading
import time

import pytest

from pipeline.ingest.parallel import count_threads, parallel_map


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.002 * (item < 5))
        return -item

    with parallel_map(slow_at_first, range(200)) as results:
        assert list(results) == [-item for item in range(200)]


def test_few_items_are_under_way_at_a_time() -> None:
    taken = []

    def items() -> object:
        for item in range(10_000):
            taken.append(item)
            yield item

    with parallel_map(str, items()) as results:  # type: ignore[arg-type]
        for position, _ in enumerate(results):
            assert len(taken) - position <= 2 * count_threads()
            if position == 300:
                break
    assert len(taken) < 400


@pytest.mark.parametrize(("cores", "here", "from_store"), [(2, 3, 6), (14, 15, 16), (64, 16, 16), (None, 2, 5)])
def test_threads(monkeypatch: pytest.MonkeyPatch, cores: int | None, here: int, from_store: int) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert (count_threads(), count_threads(from_store=True)) == (here, from_store)


def test_an_error_is_raised_and_ends_the_threads() -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), parallel_map(lambda item: 1 // item, [2, 1, 0, 1]) as results:
        list(results)
    assert threading.active_count() == before
