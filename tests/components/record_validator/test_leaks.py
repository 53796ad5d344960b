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
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st
from small_records import make, splits

from components.record_validator.checks.check_records import Examine, Numbered
from components.record_validator.leaks import find_leaks as across
from components.record_validator.leaks.duplicate_keys import Digest, ToBlocks, find_suspects
from components.record_validator.leaks.find_leaks import Facts, Finding
from components.record_validator.leaks.groups import Gather, Presence, leaks_of, rule_of
from components.record_validator.leaks.partitions import Leak, Member, Place
from components.record_validator.near_duplicates.similarity import Sketch
from components.record_validator.settings import RecordValidationSettings
from schema.record import Record, encode

TRAINED_ON = "test sets must hold no image or patient that is trained on; "
EXTERNAL_REMEDY = "remove them and ingest the set again"
EXTERNAL_PATIENT_REMEDY = "remove them, or give other people a source of their own, and ingest the set again"
SPLIT_REMEDY = "give images of one person one patient_id, or remove one of the images, and ingest them again"

DEFAULTS = RecordValidationSettings()

Sets = Mapping[str, Sequence[Record | bytes]]


class Compared(NamedTuple):
    """What the comparison found."""

    findings: list[Finding]
    found_leaks: list[Leak]

    def reasons(self) -> dict[str, str]:
        return {one.member.image_id: one.reason for one in self.findings}

    def leaks(self) -> list[str]:
        return [str(leak) for leak in self.found_leaks]

    def remedies(self) -> set[str]:
        return {leak.remedy() for leak in self.found_leaks}


def compared(examples: Sets, external: Sets | None = None, chosen: RecordValidationSettings = DEFAULTS) -> Compared:
    """Compares all records, as `across.compare` does on Beam."""
    return _compare([*_facts(examples, "split", chosen), *_facts(external or {}, "external set", chosen)], chosen)


def _compare(facts: list[Facts], chosen: RecordValidationSettings) -> Compared:
    places = sorted({one.place for one in facts})
    suspects = {suspect for suspect in _suspects(facts, places) if across._is_watched(suspect, chosen.ignore)}
    suspected = [one for each in facts for one in across._groups_of(each, suspects)]
    gather, gathered = Gather(), {}
    for key, presence in suspected:
        gathered[key] = gather.add_input(gathered.get(key, gather.create_accumulator()), presence)
    groups = list(gathered.items())
    rules = dict(rule for group in groups for rule in rule_of(group))
    shared = [result for one in suspected for result in across._judge(one, rules)]
    gone = dict(shared)
    alike = []
    if "near_duplicate" not in chosen.ignore:
        liken = across._Liken(chosen.near_duplicate)
        survivors = [one for one in facts if one.member.at not in gone]
        alike = [same for pair in across.pairs_of(survivors, places) for same in liken.emit(liken.work(pair))]
    findings = [*shared, *map(across._finding_of_pair, alike)]
    leaks = [leak for group in groups for leak in leaks_of(group)]
    leaks += [leak for pair in alike for leak in across._leaks_of_pair(pair)]
    once = {across._of_records(leak)[0]: leak for leak in sorted(leaks, reverse=True)}
    gravest = {at: min(one for its, one in findings if its == at) for at, _ in findings}
    return Compared(sorted(gravest.values(), key=lambda one: one.member), sorted(once.values()))


def _suspects(facts: list[Facts], places: list[Place]) -> Iterator[Digest]:
    pack = ToBlocks()
    pack.start_bundle()
    for one in facts:
        for keyed in across._digests(one, {place: number for number, place in enumerate(places)}):
            pack.process(keyed)
    for block in pack.finish_bundle():
        shard, entries = block.value
        yield from find_suspects((shard, [entries]), places)


def _facts(sets: Sets, kind: str, chosen: RecordValidationSettings) -> list[Facts]:
    examine = Examine(chosen)
    return [
        examine.work(Numbered(Place(kind, name), f"{name}#{number}", one if isinstance(one, bytes) else encode(one)))[1]
        for name, records in sets.items()
        for number, one in enumerate(records)
    ]


def test_an_id_that_two_images_have() -> None:
    """In another source it is another image."""
    more = [make(10, "t1", "p1"), make(11, "t1", "p9", "ruhr")]
    found = compared(splits(*more))
    assert [(one.member.image_id, one.member.source, one.reason) for one in found.findings] == [
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
    found = compared(splits(make(look, "copy", "p7")))
    assert found.reasons() == {"copy": "exact_duplicate"}
    patient = {"test": "p3", "eval": "p2"}[split]
    assert found.leaks() == [f"split '{split}': image '{name}' (patient '{patient}') is in split 'train' as 'copy' too"]
    assert found.remedies() == {remedy}
    assert [one.leaked for one in found.findings] == [True]


def test_nearly_the_same_image() -> None:
    """As JPEG, and darker: found in another split and with another patient."""
    original = splits()["test"][0]
    jpeg = cv2.imdecode(cv2.imencode(".jpg", original.image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 0)
    copies = [
        replace(original, image_id="jpeg", patient_id="p7", image=jpeg),
        replace(original, image_id="darker", patient_id="p8", image=(original.image * 0.7).astype(np.uint8)),
    ]
    found = compared(splits(*copies))
    assert found.reasons() == {"jpeg": "near_duplicate", "darker": "near_duplicate"}
    assert found.leaks() == [
        f"split 'test': image 's1' (patient 'p3'): nearly the same image is in split 'train' as '{name}'"
        for name in ("darker", "jpeg")
    ]
    ignoring = RecordValidationSettings(ignore=("near_duplicate",))
    assert compared(splits(*copies), chosen=ignoring) == ([], [])


def test_further_images_of_a_patient_may_look_alike() -> None:
    """As slices of one volume do."""
    first = make(1, "t1", "p1")
    alike = replace(first, image_id="t3", image=cv2.add(first.image, 3))
    assert compared(splits(alike)) == ([], [])


def test_a_patient_in_two_splits() -> None:
    """All images of the patient leave the training."""
    found = compared(splits(make(10, "x", "p3"), make(11, "y", "p3")))
    assert found.reasons() == {"x": "patient_in_two_splits", "y": "patient_in_two_splits"}
    assert found.leaks() == [
        "split 'test': patient 'p3' of source 'clinic' (image 's1') is in split 'train' too (image 'x')"
    ]
    assert [one.leaked for one in found.findings] == [True, True]


def test_ids_that_coincide_by_chance() -> None:
    """Nor do further images of a patient of the test split leak into an external set."""
    external = {
        "hannover": [
            make(11, "t1", "p1", "hannover"),  # the ids of another image and another person
            make(12, "t2", "p1", "hannover"),
            make(14, "s2", "p3", "clinic"),  # in the split `test`, which is not trained on
        ]
    }
    found = compared(splits(), external)
    assert found == ([], [])


@pytest.mark.parametrize(("split", "look", "name"), [("train", 2, "t2"), ("eval", 3, "e1")])
def test_an_external_image_that_is_trained_on(split: str, look: int, name: str) -> None:
    found = compared(
        splits(),
        {
            "hannover": [
                make(11, "x", "p9", "hannover"),
                make(look, "abc", "p7", "hannover"),
            ]
        },
    )
    assert found.leaks() == [
        f"external set 'hannover': image 'abc' (patient 'p7') is in split '{split}' as '{name}' too"
    ]
    assert found.remedies() == {TRAINED_ON + EXTERNAL_REMEDY}
    assert found.reasons() == {"abc": "exact_duplicate"}


def test_an_external_image_of_the_test_split() -> None:
    found = compared(
        splits(),
        {"hannover": [make(4, "abc", "p7", "hannover"), make(12, "x", "p7", "hannover")]},
    )
    assert found.leaks() == ["external set 'hannover': image 'abc' (patient 'p7') is in split 'test' as 's1' too"]
    assert found.remedies() == {f"test sets must have no image in common; {EXTERNAL_REMEDY}"}
    assert found.reasons() == {"abc": "exact_duplicate"}


def test_another_compression_hides_nothing() -> None:
    example = tf.train.Example.FromString(encode(make(2, "abc", "p7", "hannover")))
    stored = example.features.feature["image"].bytes_list.value
    pixels = cv2.imdecode(np.frombuffer(stored[0], np.uint8), cv2.IMREAD_UNCHANGED)
    again = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    assert again != stored[0]
    stored[0] = again
    found = compared(splits(), {"hannover": [example.SerializeToString()]})
    assert found.reasons() == {"abc": "exact_duplicate"}


@pytest.mark.parametrize(("split", "patient", "name"), [("train", "p1", "t1"), ("eval", "p2", "e1")])
def test_an_external_patient_who_is_trained_on(split: str, patient: str, name: str) -> None:
    """The first image of the patient, by name, is named on both sides."""
    found = compared(splits(), {"later": [make(12, "y", patient), make(11, "x", patient)]})
    assert found.leaks() == [
        f"external set 'later': patient '{patient}' of source 'clinic' (image 'x') is in split '{split}' too "
        f"(image '{name}')"
    ]
    assert found.remedies() == {TRAINED_ON + EXTERNAL_PATIENT_REMEDY}


def test_two_external_sets() -> None:
    external = {
        "mainz": [make(11, "m", "p8", "mainz"), make(13, "m2", "p9", "ruhr")],
        "essen": [make(11, "e", "p7", "essen"), make(12, "e2", "p9", "ruhr")],
    }
    found = compared(splits(), external)
    assert found.leaks() == [
        "external set 'essen': image 'e' (patient 'p7') is in external set 'mainz' as 'm' too",
        "external set 'essen': patient 'p9' of source 'ruhr' (image 'e2') is in external set 'mainz' too (image 'm2')",
    ]
    assert found.remedies() == {
        f"test sets must have no image in common; {EXTERNAL_REMEDY}",
        f"test sets must have no patient in common; {EXTERNAL_PATIENT_REMEDY}",
    }
    assert found.reasons() == {"m": "exact_duplicate", "m2": "patient_in_two_splits"}


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
    found = compared(splits(*inside), {"hannover": outside})
    assert [leak.dropped_member.image_id for leak in found.found_leaks] == [f"x{look}" for look in range(100, 110)]


_PLACES = [Place("split", name) for name in ("train", "eval", "test")] + [Place("external set", name) for name in "ab"]
_FACTS = st.tuples(st.sampled_from(_PLACES), *(st.sampled_from("xyz") for _ in range(3)))


@settings(max_examples=200, deadline=None)
@given(st.lists(_FACTS, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_what_stays_shares_nothing_that_it_must_not(drawn: list[tuple[Place, str, str, str]], random: Random) -> None:
    """However places, pixels, ids and patients fall, and in whatever order the records come."""
    facts = [
        Facts(place, Member(image_id, pixels, f"{number}", patient_id, "clinic"), pixels, "1 x 1", Sketch(b"", b""))
        for number, (place, pixels, image_id, patient_id) in enumerate(drawn)
    ]
    ignoring = RecordValidationSettings(ignore=("near_duplicate",))
    found = _compare(facts, ignoring)
    assert _compare(random.sample(facts, len(facts)), ignoring) == found
    gone = {one.member.at for one in found.findings}
    stay = [one for one in facts if one.member.at not in gone]
    assert min(facts, key=lambda one: (one.place.precedence, one.member)) in stay
    for one, other in itertools.combinations(stay, 2):
        assert one.pixels != other.pixels
        assert one.member.image_id != other.member.image_id
        if one.member.patient_id == other.member.patient_id:
            assert one.place == other.place or {one.place, other.place} & {_PLACES[2]}
            assert one.place.is_tested == other.place.is_tested


def test_hashes_that_coincide_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = splits(make(4, "copy", "p7"), make(10, "x", "p3")), {"hannover": [make(11, "y", "p9", "hannover")]}
    found = compared(*sets)
    assert set(found.reasons()) == {"copy", "x"}
    monkeypatch.setattr(across, "digest", lambda group: (group[0], 0))
    assert compared(*sets) == found


def test_gathering_is_the_same_in_any_order() -> None:
    """What is kept of a group grows with the number of places alone."""
    train, here = Place("split", "train"), Place("external set", "hannover")
    members = [Member(f"t{number:02}", "hash", f"file#{number}", "p", "clinic") for number in range(50)]
    records = [(train, Presence(member, 1)) for member in members]
    records.append((here, Presence(members[7], 1)))
    expected = [("key", {train: Presence(members[0], 50), here: Presence(members[7], 1)})]
    options = PipelineOptions(["--direct_running_mode=in_memory", "--direct_num_workers=1"])
    for order in (records, records[::-1]):
        with beam.Pipeline(options=options) as pipeline:
            gathered = pipeline | beam.Create([("key", one) for one in order]) | beam.CombinePerKey(Gather())
            assert_that(gathered, equal_to(expected))
