"""Which images, ids and patients more than one record may have: ten bytes for each go through the engine, in blocks.

They are told apart by 64 bits of a hash. Where two coincide, records are suspected for nothing, and cleared once they
are compared in full.
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
from components.record_validator.leaks.partitions import PATIENT, Place
from schema.reports.validation import Reason

PATIENTS: Final = "patients"

_PARTITIONS: Final = 64
"""Each is looked through by one worker, in some 80 MB where there are 100 million records."""

_ENTRY: Final = struct.Struct("<qH")
_ENTRIES: Final = np.dtype([("digest", "<i8"), ("place", "<u2")])

Digest = tuple[Reason, int]
"""A group, its key hashed."""
Partition = tuple[Reason, int]
"""The part of all digests that one worker looks through."""


def digest(group: Group) -> Digest:
    """Hashes the key of a group to 64 bits, signed, as Beam's coders want them."""
    reason, key = group
    return reason, int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little", signed=True)


class ToBlocks(beam.DoFn):
    """From digests with the number of the record's place to blocks of entries by partition."""

    def start_bundle(self) -> None:
        """Called by Beam."""
        self._blocks: defaultdict[Partition, bytearray] = defaultdict(bytearray)

    def process(self, element: tuple[Digest, int]) -> None:
        """Called by Beam."""
        (reason, hashed), place = element
        self._blocks[reason, hashed % _PARTITIONS] += _ENTRY.pack(hashed, place)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Called by Beam."""
        for partition, entries in self._blocks.items():
            yield GlobalWindows.windowed_value((partition, bytes(entries)))


def find_suspects(partition: tuple[Partition, Iterable[bytes]], places: Sequence[Place]) -> Iterator[Digest]:
    """Digests that several records have, of patients those that are in several places; counts patients by place.

    Args:
        partition: and its blocks.
        places: by number.
    """
    (reason, _), blocks = partition
    entries = np.frombuffer(b"".join(blocks), _ENTRIES)
    digests = entries["digest"]
    if reason == PATIENT:
        of_places = [np.unique(digests[entries["place"] == number]) for number in range(len(places))]
        for place, patients in zip(places, of_places, strict=True):
            count(None, str(place), PATIENTS, len(patients))
        digests = np.concatenate(of_places)
    digests, records = np.unique(digests, return_counts=True)
    for suspect in digests[records > 1].tolist():
        yield reason, suspect
