"""Compares sound records with each other on Beam: the same image, id or patient where it must not be."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import apache_beam as beam
from apache_beam.pvalue import AsDict, AsSingleton, PCollection

from components.counters import count
from components.record_validator.leaks.duplicate_keys import BlockHashes, KeyHash, find_duplicate_keys, key_hash
from components.record_validator.leaks.groups import GatherOccurrences, Group, Occurrence, Resolution, leaks_of, resolve
from components.record_validator.leaks.leak import NAMED, Leak
from components.record_validator.near_duplicates.pairs import ComparePairs, NearDuplicatePair, candidate_pairs
from components.record_validator.records import PATIENT, Finding, Partition, RecordSummary
from components.record_validator.settings import RecordValidationSettings
from components.record_validator.spill import WriteSpill, read_spill
from schema.reports.validation import Reason

LEAKS: Final = "leaks"
"""Counter of leaks, and the namespace of it and of those of the comparison."""
KEPT: Final = "kept"
COMPARED: Final = "compared"
"""Counters of summaries that were to be compared, and that were."""

_SHARED: Final[dict[Reason, str]] = {
    "exact_duplicate": "has the pixels of",
    "duplicate_id": "has the id of another image,",
    PATIENT: "shows the patient of",
}


def find_leaks(
    summaries: PCollection,
    folder: str,
    settings: RecordValidationSettings,
    partitions: Sequence[Partition],
    removable: Collection[Partition],
) -> tuple[PCollection, PCollection]:
    """Find records that must go because of others, and the leaks that shows.

    Exact duplicates, ids and patients are found by grouping, the summaries of all but those with a duplicate key being
    left on disk. Of what survives, near duplicates are looked for among signatures in one worker, which keeps all
    summaries on its own disk. Counts leaks, and summaries kept and compared in the namespace `LEAKS`, comparisons left
    out in `NEAR_DUPLICATES`, and patients in that of each partition.

    Args:
        summaries: Of all sound records.
        folder: For temporary files; all workers reach it.
        settings: What counts.
        partitions: Of all records.
        removable: Partitions whose records may have to go; those of others are there to compare with.

    Returns:
        Findings, and one list with the gravest leaks.
    """
    files = summaries | WriteSpill(folder)
    duplicate_keys = _find_duplicate_keys(summaries, settings, partitions)
    occurrences = (
        files
        | "Spread" >> beam.Reshuffle()
        | beam.FlatMap(read_spill)
        | beam.FlatMap(_occurrences_of, AsSingleton(duplicate_keys))
    )
    groups = occurrences | beam.CombinePerKey(GatherOccurrences())
    shared = occurrences | beam.FlatMap(_findings_of, AsDict(groups | beam.FlatMap(resolve)))
    pairs = _find_near_duplicates(files, shared, settings, removable)
    leaks = (groups | beam.FlatMap(leaks_of), pairs | beam.FlatMap(_leaks_of_pair)) | "Leaks" >> beam.Flatten()
    findings = (shared, pairs | beam.Map(NearDuplicatePair.to_finding)) | "Found" >> beam.Flatten()
    return findings, _gravest(leaks, removable)


def _find_duplicate_keys(
    summaries: PCollection, settings: RecordValidationSettings, partitions: Sequence[Partition]
) -> PCollection:
    """Return one set with the hashes of keys that several records have."""
    return (
        summaries
        | beam.FlatMap(_key_hashes_of, {partition: number for number, partition in enumerate(partitions)})
        | beam.ParDo(BlockHashes())
        | beam.GroupByKey()
        | beam.FlatMap(find_duplicate_keys, partitions)
        | beam.Filter(_is_looked_for, settings.ignore)
        | beam.combiners.ToSet()
    )


def _find_near_duplicates(
    files: PCollection, shared: PCollection, settings: RecordValidationSettings, removable: Collection[Partition]
) -> PCollection:
    """Return pairs of one image among the records that do not have to go already."""
    if "near_duplicate" in settings.ignore:
        return files.pipeline | beam.Create([])
    # Were it `shared` itself, which is flattened later, Beam's job server for Flink would refuse the graph.
    gone = AsSingleton(shared | beam.Map(_key) | "Gone" >> beam.combiners.ToSet())
    candidates = files | beam.combiners.ToList() | beam.FlatMap(_candidate_pairs_in, gone, removable)
    return candidates | beam.ParDo(ComparePairs(settings.near_duplicate))


def _gravest(leaks: PCollection, removable: Collection[Partition]) -> PCollection:
    """Count leaks, one for each two records, and return one list with the gravest."""
    return (
        leaks
        | beam.Filter(_is_removable, removable)
        | "Pair" >> beam.Map(_by_records)
        | "Once" >> beam.CombinePerKey(min)
        | "Distinct" >> beam.Values()
        | beam.Map(count, LEAKS, LEAKS)
        | beam.combiners.Top.Smallest(NAMED)
    )


def _key_hashes_of(summary: RecordSummary, numbers: Mapping[Partition, int]) -> Iterator[tuple[KeyHash, int]]:
    count(None, LEAKS, KEPT)
    for group in _groups_of(summary):
        yield key_hash(group), numbers[summary.ref.partition]


def _occurrences_of(summary: RecordSummary, duplicate_keys: Collection[KeyHash]) -> Iterator[tuple[Group, Occurrence]]:
    count(None, LEAKS, COMPARED)
    for group in _groups_of(summary):
        if key_hash(group) in duplicate_keys:
            yield group, Occurrence(summary.ref, records=1)


def _groups_of(summary: RecordSummary) -> list[Group]:
    ref = summary.ref
    return [
        ("exact_duplicate", summary.pixels),
        ("duplicate_id", json.dumps([ref.source, ref.image_id])),
        (PATIENT, json.dumps([ref.source, ref.patient_id])),
    ]


def _is_looked_for(duplicate_key: KeyHash, ignore: tuple[Reason, ...]) -> bool:
    reason, _ = duplicate_key
    return reason not in ignore


def _findings_of(occurrence: tuple[Group, Occurrence], resolutions: Mapping[Group, Resolution]) -> Iterator[Finding]:
    """Yield what the resolution of a group has against a record."""
    group, (ref, _) = occurrence
    resolution = resolutions.get(group)
    if resolution and (objection := resolution.objection_to(ref)):
        reason, _ = group
        yield Finding.of(ref, reason, f"{_SHARED[reason]} {objection}", leaked=ref.partition in resolution.loses)


def _key(finding: Finding) -> str:
    return finding.ref.key


def _candidate_pairs_in(
    files: Iterable[str], gone: Collection[str], removable: Collection[Partition]
) -> Iterator[tuple[RecordSummary, RecordSummary]]:
    """Find candidates among the records that do not have to go already."""
    survivors = (summary for file in files for summary in read_spill(file) if summary.ref.key not in gone)
    return candidate_pairs(survivors, removable)


def _leaks_of_pair(pair: NearDuplicatePair) -> Iterator[Leak]:
    if pair.is_leak:
        yield Leak.between("near_duplicate", pair.kept.ref, pair.dropped.ref)


def _is_removable(leak: Leak, removable: Collection[Partition]) -> bool:
    return leak.dropped.partition in removable


def _by_records(leak: Leak) -> tuple[tuple[str, str], Leak]:
    return (leak.kept.key, leak.dropped.key), leak
