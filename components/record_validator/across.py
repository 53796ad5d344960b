"""Compares sound records with each other on Beam: the same image, id or patient where it must not be."""

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsDict, PCollection

from components.counters import count
from components.parallel import ParallelDoFn
from components.record_validator.groups import Gather, Group, Presence, Rule, leak, leaks_of, rule_of
from components.record_validator.likeness import Sketch, likeness, unpack
from components.record_validator.near_duplicates import find_candidates
from components.record_validator.places import NAMED, PATIENT, Leak, Member, Place
from components.record_validator.settings import REASONS, Reason, ValidateSettings

LEAKS, LEFT_OUT, PATIENTS = "leaks", "left_out", "patients"


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
    facts: PCollection, settings: ValidateSettings, judged: Collection[Place]
) -> tuple[PCollection, PCollection]:
    """From facts to findings, by place of the record, and the first leaks, as one list.

    Exact duplicates, ids and patients are found by grouping. Of what survives, near duplicates are looked for among
    sketches, two kB a record, in one worker. Counts leaks and comparisons left out in the namespace `LEAKS`, patients
    in that of each place.

    Args:
        facts: of all records.
        settings: what counts.
        judged: places whose records may have to go; those of others are there to compare with.
    """
    groups = facts | beam.FlatMap(_groups_of) | beam.CombinePerKey(Gather()) | beam.Map(_count_patients)
    watched = groups | "Watched" >> beam.Filter(_is_watched, settings.ignore)
    rules = watched | beam.FlatMap(rule_of)
    survivors, found = facts | beam.FlatMap(_judge, AsDict(rules)) | "Judged" >> beam.Partition(is_finding, 2)
    alike = (
        survivors
        # Not ToList, which holds each several times over.
        | beam.WithKeys(0)
        | beam.GroupByKey()
        | "Survivors" >> beam.Values()
        | beam.FlatMap(_pairs if "near_duplicate" not in settings.ignore else _no_pairs, judged)
        | beam.ParDo(_Liken(settings.near_duplicate))
    )
    leaks = (
        (watched | beam.FlatMap(leaks_of), alike | beam.FlatMap(_leaks_of_pair))
        | "Leaks" >> beam.Flatten()
        | beam.Filter(_is_judged, judged)
        | "Pair" >> beam.Map(_of_records)
        | "Once" >> beam.CombinePerKey(min)
        | "Distinct" >> beam.Values()
        | beam.Map(count, LEAKS, LEAKS)
        | beam.combiners.Top.Smallest(NAMED)
    )
    return (found, alike | beam.Map(_finding_of_pair)) | "Found" >> beam.Flatten(), leaks


def _groups_of(facts: Facts) -> Iterator[tuple[Group, tuple[Place, Presence]]]:
    for group in _keys(facts):
        yield group, (facts.place, Presence(facts.member, records=1))


def _keys(facts: Facts) -> list[Group]:
    member = facts.member
    return [
        ("exact_duplicate", facts.pixels),
        ("duplicate_id", json.dumps([member.source, member.image_id])),
        (PATIENT, json.dumps([member.source, member.patient_id])),
    ]


def _count_patients(group: tuple[Group, dict[Place, Presence]]) -> tuple[Group, dict[Place, Presence]]:
    (reason, _), gathered = group
    if reason == PATIENT:
        for place in gathered:
            count(None, str(place), PATIENTS)
    return group


def _is_watched(group: tuple[Group, dict[Place, Presence]], ignore: tuple[Reason, ...]) -> bool:
    (reason, _), _ = group
    return reason not in ignore


def _judge(facts: Facts, rules: dict[Group, Rule]) -> Iterator[Facts | tuple[str, Finding]]:
    """What the rules have against a record, or the record."""
    survives = True
    for group in _keys(facts):
        rule = rules.get(group)
        if rule and (objection := rule.objects_to(facts.place, facts.member)):
            survives = False
            reason, _ = group
            detail = f"{_SHARED[reason]} {objection}"
            yield find(reason, detail, facts.member, leaked=facts.place in rule.gives_way)
    if survives:
        yield facts


_SHARED: Final[dict[Reason, str]] = {
    "exact_duplicate": "has the pixels of",
    "duplicate_id": "has the id of another image,",
    PATIENT: "shows the patient of",
}


def _pairs(survivors: Iterable[Facts], judged: Collection[Place]) -> Iterator[tuple[Facts, Facts]]:
    """Pairs that may be one image, that which stays first; further images of one patient in one place are none."""
    ordered = sorted(survivors, key=lambda facts: (facts.place.precedence, facts.member))
    candidates = find_candidates(unpack([facts.sketch.signature for facts in ordered]))
    count(None, LEAKS, LEFT_OUT, candidates.left_out)
    for one, other in candidates.pairs:
        kept, dropped = ordered[one], ordered[other]
        if dropped.place in judged and _whose(kept) != _whose(dropped):
            yield kept, dropped


def _no_pairs(_survivors: Iterable[Facts], _judged: Collection[Place]) -> list[tuple[Facts, Facts]]:
    return []


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
