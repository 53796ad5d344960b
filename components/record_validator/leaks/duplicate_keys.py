"""Which images, ids and patients more than one record may have: ten bytes for each go through the engine, in blocks.

Their keys are told apart by 64 bits of a hash. Where two coincide, records are suspected for nothing, and cleared once
they are compared in full.
"""

import hashlib
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from components.counters import count
from components.record_validator.leaks.groups import Group
from components.record_validator.records import PATIENT, Partition
from schema.reports.validation import Reason

PATIENTS: Final = "patients"
"""Counter in the namespace that a partition is as text."""

_BUCKETS: Final = 64
"""Each is looked through by one worker, in some 80 MB where there are 100 million records."""

_ENTRY: Final = struct.Struct("<qH")
_ENTRIES: Final = np.dtype([("hash", "<i8"), ("partition", "<u2")])

KeyHash = tuple[Reason, int]
"""A group, its key hashed."""
Bucket = tuple[Reason, int]
"""Which share of all hashes one worker looks through."""


def key_hash(group: Group) -> KeyHash:
    """Hash the key of a group to 64 bits, signed, as Beam's coders want them."""
    reason, key = group
    return reason, int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little", signed=True)


class BlockHashes(beam.DoFn):
    """Packs hashes, each with the number of its record's partition, into blocks of entries by bucket."""

    def start_bundle(self) -> None:
        """Start without any block."""
        self._blocks: defaultdict[Bucket, bytearray] = defaultdict(bytearray)

    def process(self, element: tuple[KeyHash, int]) -> None:
        """Add a hash to its block."""
        (reason, hashed), partition = element
        self._blocks[reason, hashed % _BUCKETS] += _ENTRY.pack(hashed, partition)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Yield the blocks."""
        for bucket, entries in self._blocks.items():
            yield GlobalWindows.windowed_value((bucket, bytes(entries)))


def find_duplicate_keys(bucket: tuple[Bucket, Iterable[bytes]], partitions: Sequence[Partition]) -> Iterator[KeyHash]:
    """Find hashes that several records have, of patients those that are in several partitions.

    Counts the patients of each partition.

    Args:
        bucket: A bucket and its blocks.
        partitions: All of them, by number.
    """
    (reason, _), blocks = bucket
    entries = np.frombuffer(b"".join(blocks), _ENTRIES)
    hashes = entries["hash"]
    if reason == PATIENT:
        of_partitions = [np.unique(hashes[entries["partition"] == number]) for number in range(len(partitions))]
        for partition, patients in zip(partitions, of_partitions, strict=True):
            count(None, str(partition), PATIENTS, len(patients))
        hashes = np.concatenate(of_partitions)
    hashes, records = np.unique(hashes, return_counts=True)
    for duplicate in hashes[records > 1].tolist():
        yield reason, duplicate
