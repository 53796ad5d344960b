"""Ordered, bounded work on threads, and how many there are."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.threads import OrderedPool, count_cpus

ROOT = Path(__file__).resolve().parents[2]


def test_results_come_in_the_order_of_the_calls() -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.002 * (item < 5))
        return -item

    with OrderedPool(4) as pool:
        assert list(pool.map(slow_at_first, range(200))) == [-item for item in range(200)]
        assert list(pool.map(pow, [2, 3], [5, 2])) == [32, 9]


@pytest.mark.parametrize(("threads", "limit", "most"), [(3, None, 6), (1, None, 2), (2, 7, 7), (4, 1, 1)])
def test_few_items_are_under_way_at_a_time(threads: int, limit: int | None, most: int) -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(10_000):
            taken.append(item)
            yield item

    with OrderedPool(threads, limit) as pool:
        for position, _ in enumerate(pool.map(str, items())):
            assert len(taken) - position <= most
            if position == 300:
                break
    assert len(taken) <= 301 + most


def test_what_is_submitted_comes_out_then_or_when_drained() -> None:
    with OrderedPool(2, 3) as pool:
        assert [pool.submit(str, item) for item in range(4)] == [[], [], ["0"], ["1"]]
        assert list(pool.drain()) == ["2", "3"]
        assert list(pool.drain()) == []


def test_an_error_cancels_what_is_behind_it() -> None:
    done = []
    others = threading.Event()

    def work(item: int) -> int:
        if item == 1:
            raise ZeroDivisionError
        if item > 1:
            others.wait(10)
        done.append(item)
        return item

    before = threading.active_count()
    with OrderedPool(2, 8) as pool:
        with pytest.raises(ZeroDivisionError):
            list(pool.map(work, range(8)))
        others.set()
        assert list(pool.map(str, [1])) == ["1"]  # what was cancelled does not come out of the next call
    assert set(done) <= {0, 2, 3}
    assert threading.active_count() == before


def test_leaving_the_context_cancels_what_no_thread_has_begun() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        time.sleep(0.01)
        done.append(item)

    with OrderedPool(1, 50) as pool:
        for item in range(20):
            pool.submit(work, item)
    assert len(done) < 20


SCRIPT = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from components.evaluator.measure import _Measure
from components.parallel import ParallelDoFn
from components.threads import count_cpus
from pipeline.ingest.shard_writer import count_threads

examine, measure = ParallelDoFn(), _Measure({}, "test", 0.01, "whole")
for function in (examine, measure):
    function.setup()
print([count_cpus(), examine.threads, measure._pool.threads, count_threads(), count_threads(from_store=True)])
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system knows no affinity")
def test_pools_on_one_cpu_have_one_thread() -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[1, 1, 1, 1, 1]"


def test_cpus() -> None:
    assert 1 <= count_cpus() <= (os.cpu_count() or 1)
