"""Which of several records stay, and which leaks they show: the steps of the comparison in plain Python, one by one."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

import apache_beam as beam
import cv2
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import decode_picture
from small_records import make, splits

from components.record_validator import records
from components.record_validator.checks.check_records import CheckRecords
from components.record_validator.leaks import find_leaks
from components.record_validator.leaks.duplicate_keys import BlockHashes, KeyHash, find_duplicate_keys
from components.record_validator.leaks.groups import (
    GatherOccurrences,
    Group,
    Occurrence,
    Occurrences,
    leaks_of,
    resolve,
)
from components.record_validator.leaks.leak import Leak
from components.record_validator.near_duplicates.pairs import ComparePairs, NearDuplicatePair, candidate_pairs
from components.record_validator.near_duplicates.similarity import ImageSignature
from components.record_validator.settings import RecordValidationSettings
from pipeline.beam.settings import BeamSettings
from schema.record import Record, encode
from schema.reports.validation import SetKind

TRAINED_ON = "test sets must hold no image or patient that is trained on; "
EXTERNAL_REMEDY = "remove them and ingest the set again"
EXTERNAL_PATIENT_REMEDY = "remove them, or give other people a source of their own, and ingest the set again"
SPLIT_REMEDY = "give images of one person one patient_id, or remove one of the images, and ingest them again"

DEFAULTS = RecordValidationSettings()
WITHOUT_NEAR_DUPLICATES = RecordValidationSettings(ignore=("near_duplicate",))

Sets = Mapping[str, Sequence[Record | bytes]]


class Compared(NamedTuple):
    """What the comparison found."""

    findings: list[records.Finding]
    found_leaks: list[Leak]

    def reasons(self) -> dict[str, str]:
        return {finding.ref.image_id: finding.reason for finding in self.findings}

    def leaks(self) -> list[str]:
        return [str(leak) for leak in self.found_leaks]

    def remedies(self) -> set[str]:
        return {leak.remedy() for leak in self.found_leaks}


def compared(examples: Sets, external: Sets | None = None, chosen: RecordValidationSettings = DEFAULTS) -> Compared:
    """Compares all records, as `find_leaks` does on Beam."""
    return _compare(
        [*_summaries(examples, records.SPLIT, chosen), *_summaries(external or {}, records.EXTERNAL, chosen)], chosen
    )


def _compare(summaries: list[records.RecordSummary], chosen: RecordValidationSettings) -> Compared:
    partitions = sorted({summary.ref.partition for summary in summaries})
    duplicates = {
        key for key in _duplicate_keys(summaries, partitions) if find_leaks._is_looked_for(key, chosen.ignore)
    }
    occurrences = [
        occurrence for summary in summaries for occurrence in find_leaks._occurrences_of(summary, duplicates)
    ]
    gather = GatherOccurrences()
    gathered: dict[Group, Occurrences] = {}
    for key, occurrence in occurrences:
        gathered[key] = gather.add_input(gathered.get(key, gather.create_accumulator()), occurrence)
    groups = list(gathered.items())
    resolutions = dict(resolution for group in groups for resolution in resolve(group))
    shared = [finding for occurrence in occurrences for finding in find_leaks._findings_of(occurrence, resolutions)]
    gone = {finding.ref.key for finding in shared}
    pairs: list[NearDuplicatePair] = []
    if "near_duplicate" not in chosen.ignore:
        compare = ComparePairs(chosen.near_duplicate)
        survivors = [summary for summary in summaries if summary.ref.key not in gone]
        candidates = candidate_pairs(survivors, partitions)
        pairs = [pair for candidate in candidates for pair in compare.emit(compare.work(candidate))]
    findings = [*shared, *(pair.to_finding() for pair in pairs)]
    leaks = [leak for group in groups for leak in leaks_of(group)]
    leaks += [leak for pair in pairs for leak in find_leaks._leaks_of_pair(pair)]
    once = {find_leaks._by_records(leak)[0]: leak for leak in sorted(leaks, reverse=True)}
    gravest = {ref.key: min(finding for finding in findings if finding.ref == ref) for _, _, _, ref in findings}
    return Compared(sorted(gravest.values(), key=lambda finding: finding.ref[1:]), sorted(once.values()))


def _duplicate_keys(summaries: list[records.RecordSummary], partitions: list[records.Partition]) -> Iterator[KeyHash]:
    packer = BlockHashes()
    packer.start_bundle()
    for summary in summaries:
        numbers = {partition: number for number, partition in enumerate(partitions)}
        for hashed in find_leaks._key_hashes_of(summary, numbers):
            packer.process(hashed)
    for block in packer.finish_bundle():
        bucket, entries = block.value
        yield from find_duplicate_keys((bucket, [entries]), partitions)


def _summaries(sets: Sets, kind: SetKind, chosen: RecordValidationSettings) -> list[records.RecordSummary]:
    check = CheckRecords(chosen)
    checked = [
        check.work(records.NumberedRecord(records.Partition(kind, name), f"{name}#{number}", _serialized(record)))
        for name, of_set in sets.items()
        for number, record in enumerate(of_set)
    ]
    summaries = [result for result in checked if isinstance(result, records.RecordSummary)]
    assert summaries == checked, "all records are sound"
    return summaries


def _serialized(record: Record | bytes) -> bytes:
    return record if isinstance(record, bytes) else encode(record)


def test_an_id_that_two_images_have() -> None:
    """In another source it is another image."""
    more = [make(10, "t1", "p1"), make(11, "t1", "p9", "ruhr")]
    comparison = compared(splits(*more))
    assert [(finding.ref.image_id, finding.ref.source, finding.reason) for finding in comparison.findings] == [
        ("t1", "clinic", "duplicate_id")
    ]


@pytest.mark.parametrize(
    ("split", "look", "name", "remedy"),
    [
        ("test", 4, "s1", TRAINED_ON + SPLIT_REMEDY),
        ("eval", 3, "e1", f"the split 'eval' must hold no image or patient that is trained on; {SPLIT_REMEDY}"),
    ],
)
def test_what_is_tested_on_leaves_the_training(split: str, look: int, name: str, remedy: str) -> None:
    comparison = compared(splits(make(look, "copy", "p7")))
    assert comparison.reasons() == {"copy": "exact_duplicate"}
    patient = {"test": "p3", "eval": "p2"}[split]
    assert comparison.leaks() == [
        f"split '{split}': image '{name}' (patient '{patient}') is in split 'train' as 'copy' too"
    ]
    assert comparison.remedies() == {remedy}
    assert [finding.leaked for finding in comparison.findings] == [True]


def test_nearly_the_same_image() -> None:
    """As JPEG, and darker: found in another split and with another patient."""
    original = make(4, "s1", "p3")
    jpeg = decode_picture(cv2.imencode(".jpg", original.image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 0)
    copies = [
        replace(original, image_id="jpeg", patient_id="p7", image=jpeg),
        replace(original, image_id="darker", patient_id="p8", image=(original.image * 0.7).astype(np.uint8)),
    ]
    comparison = compared(splits(*copies))
    assert comparison.reasons() == {"jpeg": "near_duplicate", "darker": "near_duplicate"}
    assert comparison.leaks() == [
        f"split 'test': image 's1' (patient 'p3'): nearly the same image is in split 'train' as '{name}'"
        for name in ("darker", "jpeg")
    ]
    assert compared(splits(*copies), chosen=WITHOUT_NEAR_DUPLICATES) == ([], [])


def test_further_images_of_a_patient_may_look_alike() -> None:
    """As slices of one volume do."""
    first = make(1, "t1", "p1")
    brighter = cv2.add(first.image, np.full_like(first.image, 3))
    alike = replace(first, image_id="t3", image=np.asarray(brighter, np.uint8))
    assert compared(splits(alike)) == ([], [])


def test_a_patient_in_two_splits() -> None:
    """All images of the patient leave the training."""
    comparison = compared(splits(make(10, "x", "p3"), make(11, "y", "p3")))
    assert comparison.reasons() == {"x": "patient_in_two_splits", "y": "patient_in_two_splits"}
    assert comparison.leaks() == [
        "split 'test': patient 'p3' of source 'clinic' (image 's1') is in split 'train' too (image 'x')"
    ]
    assert [finding.leaked for finding in comparison.findings] == [True, True]


def test_ids_that_coincide_by_chance() -> None:
    """Nor do further images of a patient of the test split leak into an external set."""
    external = {
        "hannover": [
            make(11, "t1", "p1", "hannover"),  # the ids of another image and another person
            make(12, "t2", "p1", "hannover"),
            make(14, "s2", "p3", "clinic"),  # in the split `test`, which is not trained on
        ]
    }
    comparison = compared(splits(), external)
    assert comparison == ([], [])


@pytest.mark.parametrize(("split", "look", "name"), [("train", 2, "t2"), ("eval", 3, "e1")])
def test_an_external_image_that_is_trained_on(split: str, look: int, name: str) -> None:
    comparison = compared(
        splits(),
        {
            "hannover": [
                make(11, "x", "p9", "hannover"),
                make(look, "abc", "p7", "hannover"),
            ]
        },
    )
    assert comparison.leaks() == [
        f"external set 'hannover': image 'abc' (patient 'p7') is in split '{split}' as '{name}' too"
    ]
    assert comparison.remedies() == {TRAINED_ON + EXTERNAL_REMEDY}
    assert comparison.reasons() == {"abc": "exact_duplicate"}


def test_an_external_image_of_the_test_split() -> None:
    comparison = compared(
        splits(),
        {"hannover": [make(4, "abc", "p7", "hannover"), make(12, "x", "p7", "hannover")]},
    )
    assert comparison.leaks() == ["external set 'hannover': image 'abc' (patient 'p7') is in split 'test' as 's1' too"]
    assert comparison.remedies() == {f"test sets must have no image in common; {EXTERNAL_REMEDY}"}
    assert comparison.reasons() == {"abc": "exact_duplicate"}


def test_another_compression_hides_nothing() -> None:
    example = tf.train.Example.FromString(encode(make(2, "abc", "p7", "hannover")))
    stored = example.features.feature["image"].bytes_list.value
    pixels = decode_picture(stored[0])
    again = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    assert again != stored[0]
    stored[0] = again
    comparison = compared(splits(), {"hannover": [example.SerializeToString()]})
    assert comparison.reasons() == {"abc": "exact_duplicate"}


@pytest.mark.parametrize(("split", "patient", "name"), [("train", "p1", "t1"), ("eval", "p2", "e1")])
def test_an_external_patient_who_is_trained_on(split: str, patient: str, name: str) -> None:
    """The first image of the patient, by name, is named on both sides."""
    comparison = compared(splits(), {"later": [make(12, "y", patient), make(11, "x", patient)]})
    assert comparison.leaks() == [
        f"external set 'later': patient '{patient}' of source 'clinic' (image 'x') is in split '{split}' too "
        f"(image '{name}')"
    ]
    assert comparison.remedies() == {TRAINED_ON + EXTERNAL_PATIENT_REMEDY}


def test_two_external_sets() -> None:
    external = {
        "mainz": [make(11, "m", "p8", "mainz"), make(13, "m2", "p9", "ruhr")],
        "essen": [make(11, "e", "p7", "essen"), make(12, "e2", "p9", "ruhr")],
    }
    comparison = compared(splits(), external)
    assert comparison.leaks() == [
        "external set 'essen': image 'e' (patient 'p7') is in external set 'mainz' as 'm' too",
        "external set 'essen': patient 'p9' of source 'ruhr' (image 'e2') is in external set 'mainz' too (image 'm2')",
    ]
    assert comparison.remedies() == {
        f"test sets must have no image in common; {EXTERNAL_REMEDY}",
        f"test sets must have no patient in common; {EXTERNAL_PATIENT_REMEDY}",
    }
    assert comparison.reasons() == {"m": "exact_duplicate", "m2": "patient_in_two_splits"}


def test_a_set_may_be_named_like_a_split() -> None:
    """It is not taken for the split `test`, whose patients may have further images in external sets."""
    external = {
        "test": [make(11, "x", "p9", "ruhr")],
        "essen": [make(12, "y", "p9", "ruhr")],
    }
    assert compared(splits(), external).leaks() == [
        "external set 'essen': patient 'p9' of source 'ruhr' (image 'y') is in external set 'test' too (image 'x')"
    ]


def test_leaks_are_in_the_order_of_their_names() -> None:
    inside = [make(look, f"t{look}", f"p{look}") for look in range(100, 110)]
    outside = [make(look, f"x{look}", f"q{look}", "hannover") for look in range(109, 99, -1)]
    comparison = compared(splits(*inside), {"hannover": outside})
    assert [leak.dropped.image_id for leak in comparison.found_leaks] == [f"x{look}" for look in range(100, 110)]


_PARTITIONS = [records.Partition(records.SPLIT, name) for name in ("train", "eval", "test")]
_PARTITIONS += [records.Partition(records.EXTERNAL, name) for name in "ab"]
_DRAWN = st.tuples(st.sampled_from(_PARTITIONS), *(st.sampled_from("xyz") for _ in range(3)))


@settings(max_examples=200, deadline=None)
@given(st.lists(_DRAWN, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_what_stays_shares_nothing_that_it_must_not(
    drawn: list[tuple[records.Partition, str, str, str]], random: Random
) -> None:
    """However partitions, pixels, ids and patients fall, and in whatever order the records come."""
    summaries = [
        records.RecordSummary(
            records.RecordRef(partition, image_id, pixels, f"{number}", patient_id, "clinic"),
            pixels,
            "1 x 1",
            ImageSignature(b"", b""),
        )
        for number, (partition, pixels, image_id, patient_id) in enumerate(drawn)
    ]
    comparison = _compare(summaries, WITHOUT_NEAR_DUPLICATES)
    assert _compare(random.sample(summaries, len(summaries)), WITHOUT_NEAR_DUPLICATES) == comparison
    gone = {finding.ref.key for finding in comparison.findings}
    stay = [summary for summary in summaries if summary.ref.key not in gone]
    assert min(summaries, key=lambda summary: (summary.ref.partition.precedence, summary.ref)) in stay
    for first, second in itertools.combinations(stay, 2):
        assert first.pixels != second.pixels
        assert first.ref.image_id != second.ref.image_id
        if first.ref.patient_id == second.ref.patient_id:
            partitions = [first.ref.partition, second.ref.partition]
            assert partitions[0] == partitions[1] or _PARTITIONS[2] in partitions
            assert partitions[0].is_tested == partitions[1].is_tested


def test_hashes_that_coincide_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = splits(make(4, "copy", "p7"), make(10, "x", "p3")), {"hannover": [make(11, "y", "p9", "hannover")]}
    comparison = compared(*sets)
    assert set(comparison.reasons()) == {"copy", "x"}
    monkeypatch.setattr(find_leaks, "key_hash", lambda group: (group[0], 0))
    assert compared(*sets) == comparison


def test_gathering_is_the_same_in_any_order() -> None:
    """What is kept of a group grows with the number of partitions alone."""
    train, external = records.Partition(records.SPLIT, "train"), records.Partition(records.EXTERNAL, "hannover")
    refs = [records.RecordRef(train, f"t{number:02}", "hash", f"file#{number}", "p", "clinic") for number in range(50)]
    outside = refs[7]._replace(partition=external)
    occurrences = [Occurrence(ref, 1) for ref in (*refs, outside)]
    expected = [("key", {train: Occurrence(refs[0], 50), external: Occurrence(outside, 1)})]
    for ordered in (occurrences, occurrences[::-1]):
        with beam.Pipeline(argv=BeamSettings().arguments()) as pipeline:
            keyed = pipeline | beam.Create([("key", occurrence) for occurrence in ordered])
            assert_that(keyed | beam.CombinePerKey(GatherOccurrences()), equal_to(expected))
