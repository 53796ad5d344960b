"""Records that are the same image, have one id, or show one patient: which of them stay, and which leaks that shows.

What is kept of a group grows with the number of places, not with that of its records.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam

from components.record_validator.leaks.partitions import PATIENT, Leak, Member, Place
from schema.reports.validation import REASONS, Reason

Group = tuple[Reason, str]
"""What its records have in common: the reason that it would be, and the key."""


class Presence(NamedTuple):
    """A group in one place: the first of its records, and how many there are."""

    first: Member
    records: int


class Gather(beam.CombineFn):
    """Where the records of a group are."""

    def create_accumulator(self) -> dict[Place, Presence]:
        """Nowhere yet."""
        return {}

    def add_input(self, gathered: dict[Place, Presence], one: tuple[Place, Presence]) -> dict[Place, Presence]:
        """Adds records of one place."""
        place, presence = one
        known = gathered.get(place)
        if known:
            presence = Presence(min(known.first, presence.first), known.records + presence.records)
        return {**gathered, place: presence}

    def merge_accumulators(self, accumulators: Iterable[dict[Place, Presence]]) -> dict[Place, Presence]:
        """Adds up."""
        merged = self.create_accumulator()
        for gathered in accumulators:
            for one in gathered.items():
                merged = self.add_input(merged, one)
        return merged

    def extract_output(self, gathered: dict[Place, Presence]) -> dict[Place, Presence]:
        """All places."""
        return gathered


class Rule(NamedTuple):
    """Which records of a group must go.

    Attributes:
        stays: the one record that stays in the place that keeps the group; None where all of that place's stay.
        gives_way: places that lose all records of the group, each with the place that keeps it and its first record.
    """

    stays: Member | None
    gives_way: dict[Place, tuple[Place, Member]]

    def objects_to(self, place: Place, member: Member) -> str:
        """For which record a record of the group must go; empty where it stays."""
        if place in self.gives_way:
            keeper, first = self.gives_way[place]
            return f"'{first.image_id}' in {keeper}"
        return f"'{self.stays.image_id}' in {place} as well" if self.stays and member != self.stays else ""


def rule_of(group: tuple[Group, dict[Place, Presence]]) -> Iterator[tuple[Group, Rule]]:
    """The rule of a group of which something must go."""
    (reason, key), gathered = group
    kept: list[Place] = []
    gives_way = {}
    for place in sorted(gathered, key=lambda one: one.precedence):
        keeper = next((one for one in kept if place.conflicts_with(one, reason)), None)
        if keeper:
            gives_way[place] = (keeper, gathered[keeper].first)
        else:
            kept.append(place)
    stays = gathered[kept[0]] if reason != PATIENT else None
    if gives_way or (stays and stays.records > 1):
        yield (reason, key), Rule(stays.first if stays else None, gives_way)


def leaks_of(group: tuple[Group, dict[Place, Presence]]) -> Iterator[Leak]:
    """A leak for each two places of a group that must not share it, of which one stays."""
    (reason, _), gathered = group
    for _, rule in rule_of(group):
        for dropped in rule.gives_way:
            for kept in gathered:
                if kept not in rule.gives_way and dropped.conflicts_with(kept, reason):
                    yield leak(reason, (kept, gathered[kept].first), (dropped, gathered[dropped].first))


def leak(reason: Reason, kept: tuple[Place, Member], dropped: tuple[Place, Member]) -> Leak:
    """The leak between two records."""
    both_tested = kept[0].is_tested and dropped[0].is_tested
    return Leak(both_tested, REASONS.index(reason), *kept, *dropped, reason)
