"""Adds copies to serialized records on all cores of a Beam worker."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING

import apache_beam as beam
import cv2
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from components.augmenter.augment import Draw, draw_copy
from components.augmenter.policy import Policy, compose
from components.counters import count
from schema import record

if TYPE_CHECKING:
    import albumentations

READ, ORIGINALS, COPIES, REDRAWN, LEFT_OUT = "read", "originals", "copies", "redrawn", "left_out"

_AHEAD = 32
"""Records a core that may be under way or wait to be written: enough that no core waits, and some tens of megabytes."""


class AugmentError(ValueError):
    """A record that cannot be augmented; the message names the split, the record and the field."""


class AddCopies(beam.PTransform):
    """Serialized originals in; originals, byte for byte, and copies out, as pairs of `ORIGINALS` or `COPIES` and bytes.

    Counts what it reads, draws again and leaves out in Beam counters in the split's namespace.
    """

    def __init__(self, policy: Policy, split: str) -> None:
        """Takes the policy and the name of the split."""
        super().__init__()
        self._policy = policy
        self._split = split

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        """Counts and augments."""
        return records | beam.Map(count, self._split, READ) | beam.ParDo(_AddCopies(self._policy, self._split))


@dataclass(frozen=True)
class _Augmented:
    original: bytes
    copies: list[bytes]
    redrawn: int
    left_out: int


@beam.typehints.with_input_types(bytes)
@beam.typehints.with_output_types(tuple[str, bytes])
class _AddCopies(beam.DoFn):
    """One thread a core: OpenCV and NumPy release the GIL, and new processes would cost half a minute each.

    While the threads augment, Beam reads the next records and writes those that are done, in their order.
    """

    def __init__(self, policy: Policy, split: str) -> None:
        self._policy = policy
        self._split = split

    def setup(self) -> None:
        # One thread a record; OpenCV's own would fight over the cores.
        cv2.setNumThreads(1)
        cores = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(cores)
        self._ahead = _AHEAD * cores
        # One for each thread, and made before they run: while one is made, any warning anywhere is an error.
        self._transforms: SimpleQueue[albumentations.Compose] = SimpleQueue()
        for _ in range(cores):
            self._transforms.put(compose(self._policy))

    def start_bundle(self) -> None:
        self._under_way: deque[Future[_Augmented]] = deque()

    def process(self, serialized: bytes) -> Iterator[tuple[str, bytes]]:
        self._under_way.append(self._pool.submit(self._augment, serialized))
        if len(self._under_way) > self._ahead:
            yield from self._next()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        while self._under_way:
            yield from map(GlobalWindows.windowed_value, self._next())

    def teardown(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _next(self) -> Iterator[tuple[str, bytes]]:
        augmented = self._under_way.popleft().result()
        count(None, self._split, REDRAWN, augmented.redrawn)
        count(None, self._split, LEFT_OUT, augmented.left_out)
        yield ORIGINALS, augmented.original
        for copy in augmented.copies:
            yield COPIES, copy

    def _draw(self, original: record.Record) -> list[Draw]:
        transform = self._transforms.get()
        try:
            return [
                draw_copy(original, transform, self._policy, copy)
                for copy in range(1, self._policy.copies_of(self._split) + 1)
            ]
        finally:
            self._transforms.put(transform)

    def _augment(self, serialized: bytes) -> _Augmented:
        try:
            original = record.decode(serialized)
            if original.is_augmented and not self._policy.allow_copies_of_copies:
                msg = (
                    f"record '{original.image_id}' is a copy already: augment originals, "
                    f"or write `allow_copies_of_copies: true` into policy '{self._policy.name}'"
                )
                raise ValueError(msg)
            draws = self._draw(original)
            copies = [record.encode(draw.copy) for draw in draws if draw.copy]
        except ValueError as error:
            msg = f"split '{self._split}': {error}"
            raise AugmentError(msg) from error
        return _Augmented(serialized, copies, sum(draw.redrawn for draw in draws), len(draws) - len(copies))
