"""Adds copies to serialized records on all cores of a Beam worker."""

from collections.abc import Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING

import apache_beam as beam

from components.artifacts import COPIES, ORIGINALS
from components.augmenter.augment import Draw, draw_copy
from components.augmenter.policy import Policy, compose
from components.counters import count
from components.parallel import ParallelDoFn
from schema import record

if TYPE_CHECKING:
    import albumentations

READ, REDRAWN, LEFT_OUT = "read", "redrawn", "left_out"


class AugmentError(ValueError):
    """A record that cannot be augmented; the message names the split, the record and the field."""


class AddCopies(beam.PTransform):
    """Serialized originals in; originals, byte for byte, and copies out, as pairs of `ORIGINALS` or `COPIES` and bytes.

    Counts what it reads, draws again and leaves out in Beam counters in the split's namespace.
    """

    def __init__(self, policy: Policy, split: str) -> None:
        """Take the policy and the name of the split."""
        super().__init__()
        self._policy = policy
        self._split = split

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        """Count the originals, and add their copies."""
        return records | beam.Map(count, self._split, READ) | beam.ParDo(_AddCopies(self._policy, self._split))


@dataclass(frozen=True)
class _Augmented:
    original: bytes
    copies: list[bytes]
    redrawn: int
    left_out: int


@beam.typehints.with_input_types(bytes)
@beam.typehints.with_output_types(tuple[str, bytes])
class _AddCopies(ParallelDoFn):
    def __init__(self, policy: Policy, split: str) -> None:
        self._policy = policy
        self._split = split

    def setup(self) -> None:
        super().setup()
        # One for each thread, and made before they run: while one is made, any warning anywhere is an error.
        self._transforms: SimpleQueue[albumentations.Compose] = SimpleQueue()
        for _ in range(self.threads):
            self._transforms.put(compose(self._policy))

    def work(self, element: bytes) -> _Augmented:
        try:
            original = record.decode(element)
            if original.is_augmented and not self._policy.allow_copies_of_copies:
                raise ValueError(
                    f"record '{original.image_id}' is a copy already: augment originals, "
                    f"or write `allow_copies_of_copies: true` into policy '{self._policy.name}'"
                )
            draws = self._draw(original)
            copies = [record.encode(draw.copy) for draw in draws if draw.copy]
        except ValueError as error:
            raise AugmentError(f"split '{self._split}': {error}") from error
        return _Augmented(element, copies, sum(draw.redrawn for draw in draws), len(draws) - len(copies))

    def emit(self, result: _Augmented) -> Iterator[tuple[str, bytes]]:
        count(None, self._split, REDRAWN, result.redrawn)
        count(None, self._split, LEFT_OUT, result.left_out)
        yield ORIGINALS, result.original
        for copy in result.copies:
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
