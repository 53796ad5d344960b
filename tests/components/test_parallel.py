"""Beam functions that work on threads."""

import threading
from collections.abc import Iterator

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from components import parallel
from components.parallel import ParallelDoFn
from pipeline.beam.settings import BeamSettings


class Halves(ParallelDoFn):
    """Even numbers to their halves; odd ones end the bundle."""

    def work(self, element: int) -> int:
        if element % 2:
            raise ValueError(f"{element} is odd")
        return element // 2

    def emit(self, result: int) -> Iterator[int]:
        yield result


def test_all_elements_come_out() -> None:
    with beam.Pipeline(argv=BeamSettings().arguments()) as pipeline:
        halves = pipeline | beam.Create(range(0, 1000, 2)) | beam.ParDo(Halves())
        assert_that(halves, equal_to(list(range(500))))


@pytest.mark.parametrize(("cpus", "most"), [(1, 32), (2, 64), (8, 256), (64, 256), (500, 500)])
def test_elements_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch, cpus: int, most: int) -> None:
    monkeypatch.setattr(parallel, "count_cpus", lambda: cpus)
    function = Halves()
    function.setup()
    try:
        emitted = [len(list(function.process(0))) for _ in range(most + 10)]
        assert emitted == [0] * (most - 1) + [1] * 11
    finally:
        function.teardown()


def test_a_bundle_that_failed_leaves_nothing_to_the_next() -> None:
    before = threading.active_count()
    function = Halves()
    function.setup()
    function.start_bundle()
    for element in (2, 3, 4):
        list(function.process(element))
    with pytest.raises(ValueError, match=r"^3 is odd$"):
        list(function.finish_bundle())
    function.start_bundle()
    list(function.process(10))
    assert [windowed.value for windowed in function.finish_bundle()] == [5]
    function.teardown()
    assert threading.active_count() == before
