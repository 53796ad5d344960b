"""Compares sound records with each other on Beam: the same image, id or patient where it must not be."""

import json
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsDict, AsSingleton, PCollection

from components.counters import count
from components.parallel import ParallelDoFn
from components.record_validator.leaks.duplicate_keys import Digest, ToBlocks, digest, find_suspects
from components.record_validator.leaks.groups import Gather, Group, Presence, Rule, leak, leaks_of, rule_of
from components.record_validator.leaks.partitions import NAMED, PATIENT, Leak, Member, Place
from components.record_validator.leaks.spill import LocalShelf, Shelve, fetch
from components.record_validator.near_duplicates.candidates import find_candidates
from components.record_validator.near_duplicates.similarity import Sketch, likeness, unpack
from components.record_validator.settings import RecordValidationSettings
from schema.reports.validation import REASONS, Reason

LEAKS, LEFT_OUT = "leaks", "left_out"
KEPT, COMPARED = "kept", "compared"


class Facts(NamedTuple):
    """What is kept of a sound record to compare it with others, about two kB."""

    place: Place
    member: Member
    pixels: str
    """Hash of the image."""
    size: str
    """Of the image, such as `512 x 512`."""
    sketch: Sketch


class Finding(NamedTuple):
    """Why a record must go; sorts the first reason first."""

    rank: int
    detail: str
    leaked: bool
    member: Member

    @property
    def reason(self) -> Reason:
        """In a word."""
        return REASONS[self.rank]


def find(reason: Reason, detail: str, member: Member, *, leaked: bool = False) -> tuple[str, Finding]:
    """A finding under the place of its record."""
    return member.at, Finding(REASONS.index(reason), detail, leaked, member)


def is_finding(judged: Facts | tuple[str, Finding], _: int) -> int:
    """1 for findings, 0 for facts, as `beam.Partition` takes it."""
    return int(not isinstance(judged, Facts))


def compare(
    facts: PCollection,
    folder: str,
    settings: RecordValidationSettings,
    places: Sequence[Place],
    judged: Collection[Place],
) -> tuple[PCollection, PCollection]:
    """From facts to findings, by place of the record, and the first leaks, as one list.

    Exact duplicates, ids and patients are found by grouping, the facts of all but suspects being left on disk. Of what
    survives, near duplicates are looked for among sketches in one worker, which keeps all facts on its own disk. Counts
    leaks, comparisons left out, and facts kept and compared in the namespace `LEAKS`, patients in that of each place.

    Args:
        facts: of all records.
        folder: for temporary files, which all workers reach.
        settings: what counts.
        places: of all records.
        judged: places whose records may have to go; those of others are there to compare with.
    """
    suspects = (
        facts
        | beam.FlatMap(_digests, {place: number for number, place in enumerate(places)})
        | beam.ParDo(ToBlocks())
        | beam.GroupByKey()
        | beam.FlatMap(find_suspects, places)
        | beam.Filter(_is_watched, settings.ignore)
        | beam.combiners.ToSet()
    )
    files = facts | Shelve(folder)
    suspected = (
        files | "Spread" >> beam.Reshuffle() | beam.FlatMap(fetch) | beam.FlatMap(_groups_of, AsSingleton(suspects))
    )
    groups = suspected | beam.CombinePerKey(Gather())
    rules = groups | beam.FlatMap(rule_of)
    shared = suspected | beam.FlatMap(_judge, AsDict(rules))
    if "near_duplicate" in settings.ignore:
        alike = facts.pipeline | beam.Create([])
    else:
        # Were it `shared` itself, which is flattened below, Beam's job server for Flink would refuse the graph.
        gone = AsSingleton(shared | beam.Keys() | "Gone" >> beam.combiners.ToSet())
        pairs = files | beam.combiners.ToList() | beam.FlatMap(_pairs_of_files, gone, judged)
        alike = pairs | beam.ParDo(_Liken(settings.near_duplicate))
    leaks = (
        (groups | beam.FlatMap(leaks_of), alike | beam.FlatMap(_leaks_of_pair))
        | "Leaks" >> beam.Flatten()
        | beam.Filter(_is_judged, judged)
        | "Pair" >> beam.Map(_of_records)
        | "Once" >> beam.CombinePerKey(min)
        | "Distinct" >> beam.Values()
        | beam.Map(count, LEAKS, LEAKS)
        | beam.combiners.Top.Smallest(NAMED)
    )
    return (shared, alike | beam.Map(_finding_of_pair)) | "Found" >> beam.Flatten(), leaks


def _digests(facts: Facts, numbers: Mapping[Place, int]) -> Iterator[tuple[Digest, int]]:
    count(None, LEAKS, KEPT)
    for group in _keys(facts):
        yield digest(group), numbers[facts.place]


def _groups_of(facts: Facts, suspects: Collection[Digest]) -> Iterator[tuple[Group, tuple[Place, Presence]]]:
    count(None, LEAKS, COMPARED)
    for group in _keys(facts):
        if digest(group) in suspects:
            yield group, (facts.place, Presence(facts.member, records=1))


def _keys(facts: Facts) -> list[Group]:
    member = facts.member
    return [
        ("exact_duplicate", facts.pixels),
        ("duplicate_id", json.dumps([member.source, member.image_id])),
        (PATIENT, json.dumps([member.source, member.patient_id])),
    ]


def _is_watched(suspect: Digest, ignore: tuple[Reason, ...]) -> bool:
    reason, _ = suspect
    return reason not in ignore


def _judge(one: tuple[Group, tuple[Place, Presence]], rules: Mapping[Group, Rule]) -> Iterator[tuple[str, Finding]]:
    """What the rule of a group has against a record."""
    group, (place, presence) = one
    rule = rules.get(group)
    if rule and (objection := rule.objects_to(place, presence.first)):
        reason, _ = group
        detail = f"{_SHARED[reason]} {objection}"
        yield find(reason, detail, presence.first, leaked=place in rule.gives_way)


_SHARED: Final[dict[Reason, str]] = {
    "exact_duplicate": "has the pixels of",
    "duplicate_id": "has the id of another image,",
    PATIENT: "shows the patient of",
}


def _pairs_of_files(
    files: Iterable[str], gone: Collection[str], judged: Collection[Place]
) -> Iterator[tuple[Facts, Facts]]:
    """Pairs that may be one image of the records that do not have to go already."""
    stay = (facts for file in files for facts in fetch(file) if facts.member.at not in gone)
    return pairs_of(stay, judged)


def pairs_of(survivors: Iterable[Facts], judged: Collection[Place]) -> Iterator[tuple[Facts, Facts]]:
    """Pairs that may be one image, that which stays first; further images of one patient in one place are none."""
    with tempfile.TemporaryFile() as file:
        shelf, names, signatures = LocalShelf(file), [], bytearray()
        for facts in survivors:
            names.append(_order(facts))
            signatures += facts.sketch.signature
            shelf.put(facts)
        ordered = np.array(sorted(range(len(names)), key=names.__getitem__), np.int32)
        del names
        candidates = find_candidates(unpack(signatures)[ordered])
        count(None, LEAKS, LEFT_OUT, candidates.left_out)
        for one, other in candidates.pairs:
            kept, dropped = shelf.take(ordered[one]), shelf.take(ordered[other])
            if dropped.place in judged and _whose(kept) != _whose(dropped):
                yield kept, dropped


def _order(facts: Facts) -> str:
    """Sorts by precedence and name; a short text, as there is one for each record."""
    member = facts.member
    return "\0".join(map(str, (*facts.place.precedence, member.image_id, member.sha256[:16], member.at)))


def _whose(facts: Facts) -> tuple[Place, str, str]:
    return facts.place, facts.member.source, facts.member.patient_id


class _Alike(NamedTuple):
    """Two records of one image."""

    kept: Facts
    dropped: Facts
    likeness: float

    @property
    def is_leak(self) -> bool:
        return self.kept.place != self.dropped.place


class _Liken(ParallelDoFn):
    """Pairs that are one image."""

    def __init__(self, same: float) -> None:
        self._same = same

    def work(self, element: tuple[Facts, Facts]) -> _Alike:
        kept, dropped = element
        return _Alike(kept, dropped, likeness(kept.sketch.thumbnail, dropped.sketch.thumbnail))

    def emit(self, result: _Alike) -> Iterator[_Alike]:
        if result.likeness >= self._same:
            yield result


def _finding_of_pair(pair: _Alike) -> tuple[str, Finding]:
    kept, dropped, alike = pair
    detail = f"looks like '{kept.member.image_id}' in {kept.place} (likeness {alike:.2f})"
    return find("near_duplicate", detail, dropped.member, leaked=pair.is_leak)


def _leaks_of_pair(pair: _Alike) -> Iterator[Leak]:
    kept, dropped, _ = pair
    if pair.is_leak:
        yield leak("near_duplicate", (kept.place, kept.member), (dropped.place, dropped.member))


def _is_judged(found: Leak, judged: Collection[Place]) -> bool:
    return found.dropped in judged


def _of_records(found: Leak) -> tuple[tuple[str, str], Leak]:
    return (found.kept_member.at, found.dropped_member.at), found
