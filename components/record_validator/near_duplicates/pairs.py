"""Pairs of records whose images are nearly the same: candidates are found by their signatures, then compared."""

import tempfile
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np

from components.counters import count
from components.parallel import ParallelDoFn
from components.record_validator.near_duplicates.candidates import find_candidates
from components.record_validator.near_duplicates.similarity import similarity, unpack_descriptors
from components.record_validator.records import Finding, Partition, RecordSummary
from components.record_validator.spill import SpillFile

NEAR_DUPLICATES: Final = "near_duplicates"
LEFT_OUT: Final = "left_out"
"""Counter, in the namespace `NEAR_DUPLICATES`, of comparisons that were not made, since too many images look alike."""


class NearDuplicatePair(NamedTuple):
    """Two records of one image: one stays, one goes."""

    kept: RecordSummary
    dropped: RecordSummary
    similarity: float

    @property
    def is_leak(self) -> bool:
        """Whether the records are in two partitions."""
        return self.kept.ref.partition != self.dropped.ref.partition

    def to_finding(self) -> Finding:
        """Return why the second record must go."""
        kept = self.kept.ref
        detail = f"looks like '{kept.image_id}' in {kept.partition} (likeness {self.similarity:.2f})"
        return Finding.of(self.dropped.ref, "near_duplicate", detail, leaked=self.is_leak)


def candidate_pairs(
    summaries: Iterable[RecordSummary], removable: Collection[Partition]
) -> Iterator[tuple[RecordSummary, RecordSummary]]:
    """Find pairs that may be one image, that which stays first.

    Images of one patient in one partition, such as slices of a volume, may be as alike as they like. The summaries are
    kept in a file of this machine. Counts the comparisons that were left out.

    Args:
        summaries: Of records that have not to go already.
        removable: Partitions whose records may have to go.
    """
    with tempfile.TemporaryFile() as file:
        spill, order, descriptors = SpillFile[RecordSummary](file), [], bytearray()
        for summary in summaries:
            order.append(_sort_key(summary))
            descriptors += summary.signature.descriptor
            spill.append(summary)
        ordered = np.array(sorted(range(len(order)), key=order.__getitem__), np.int32)
        del order
        candidates = find_candidates(unpack_descriptors(descriptors)[ordered])
        count(None, NEAR_DUPLICATES, LEFT_OUT, candidates.left_out)
        for first, second in candidates.pairs:
            kept, dropped = spill.read(ordered[first]), spill.read(ordered[second])
            if dropped.ref.partition in removable and _patient(kept) != _patient(dropped):
                yield kept, dropped


def _sort_key(summary: RecordSummary) -> str:
    """Sort by precedence and name; a short text, as there is one for each record."""
    ref = summary.ref
    return "\0".join(map(str, (*ref.partition.precedence, ref.image_id, ref.sha256[:16], ref.key)))


def _patient(summary: RecordSummary) -> tuple[Partition, str, str]:
    return summary.ref.partition, summary.ref.source, summary.ref.patient_id


class ComparePairs(ParallelDoFn):
    """Compares candidates: yields the pairs that are one image."""

    def __init__(self, threshold: float) -> None:
        """Name the similarity from which two images are one."""
        self._threshold = threshold

    def work(self, element: tuple[RecordSummary, RecordSummary]) -> NearDuplicatePair:
        """Compare two records."""
        kept, dropped = element
        return NearDuplicatePair(kept, dropped, similarity(kept.signature.thumbnail, dropped.signature.thumbnail))

    def emit(self, result: NearDuplicatePair) -> Iterator[NearDuplicatePair]:
        """Pass on a pair of one image."""
        if result.similarity >= self._threshold:
            yield result
