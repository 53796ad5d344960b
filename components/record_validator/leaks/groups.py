"""Records that are the same image, have one id, or show one patient: which of them stay, and which leaks that shows.

What is kept of a group grows with the number of partitions, not with that of its records.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam

from components.record_validator.leaks.leak import Leak
from components.record_validator.records import PATIENT, Partition, RecordRef
from schema.reports.validation import Reason

Group = tuple[Reason, str]
"""What its records have in common: the reason that it would be, and the key."""


class Occurrence(NamedTuple):
    """Records of a group in one partition."""

    first: RecordRef
    """By name."""
    records: int
    """How many there are."""


Occurrences = dict[Partition, Occurrence]


class GatherOccurrences(beam.CombineFn):
    """Combines the occurrences of a group into one for each partition."""

    def create_accumulator(self) -> Occurrences:
        """Start without any."""
        return {}

    def add_input(self, gathered: Occurrences, occurrence: Occurrence) -> Occurrences:
        """Add records of one partition."""
        partition = occurrence.first.partition
        known = gathered.get(partition)
        if known:
            occurrence = Occurrence(min(known.first, occurrence.first), known.records + occurrence.records)
        return {**gathered, partition: occurrence}

    def merge_accumulators(self, accumulators: Iterable[Occurrences]) -> Occurrences:
        """Add up what several workers have gathered."""
        merged = self.create_accumulator()
        for gathered in accumulators:
            for occurrence in gathered.values():
                merged = self.add_input(merged, occurrence)
        return merged

    def extract_output(self, gathered: Occurrences) -> Occurrences:
        """Return the occurrences by partition."""
        return gathered


class Resolution(NamedTuple):
    """Which records of a group must go.

    Attributes:
        stays: The one record that stays in the partition that keeps the group; None where all of that partition stay.
        loses: Partitions that lose all records of the group, each with the first record in the one that keeps it.
    """

    stays: RecordRef | None
    loses: dict[Partition, RecordRef]

    def objection_to(self, ref: RecordRef) -> str:
        """Tell for which record a record of the group must go; empty where it stays."""
        if ref.partition in self.loses:
            kept = self.loses[ref.partition]
            return f"'{kept.image_id}' in {kept.partition}"
        return f"'{self.stays.image_id}' in {ref.partition} as well" if self.stays and ref != self.stays else ""


def resolve(group: tuple[Group, Occurrences]) -> Iterator[tuple[Group, Resolution]]:
    """Resolve a group, if any of its records must go."""
    (reason, key), gathered = group
    keepers: list[Partition] = []
    loses = {}
    for partition in sorted(gathered, key=lambda partition: partition.precedence):
        keeper = next((keeper for keeper in keepers if partition.conflicts_with(keeper, reason)), None)
        if keeper:
            loses[partition] = gathered[keeper].first
        else:
            keepers.append(partition)
    kept = gathered[keepers[0]] if reason != PATIENT else None
    if loses or (kept and kept.records > 1):
        yield (reason, key), Resolution(kept.first if kept else None, loses)


def leaks_of(group: tuple[Group, Occurrences]) -> Iterator[Leak]:
    """List a leak for each two partitions of a group that must not share it, of which one keeps it."""
    (reason, _), gathered = group
    for _, resolution in resolve(group):
        for loser in resolution.loses:
            for keeper in gathered:
                if keeper not in resolution.loses and loser.conflicts_with(keeper, reason):
                    yield Leak.between(reason, gathered[keeper].first, gathered[loser].first)
