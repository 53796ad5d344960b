"""Digests that several records have are found, however they are cut into blocks; patients are counted by place."""

from unittest import mock

import pytest

from components.record_validator.leaks import duplicate_keys as suspects
from components.record_validator.leaks.duplicate_keys import Digest, ToBlocks, digest, find_suspects
from components.record_validator.leaks.partitions import PATIENT, Place

PLACES = [Place("split", f"s{number}") for number in range(300)]
IMAGE = "exact_duplicate"


def blocks(keyed: list[tuple[Digest, int]], bundles: int) -> dict[tuple[str, int], list[bytes]]:
    """By shard, as they come out of so many bundles."""
    found: dict[tuple[str, int], list[bytes]] = {}
    for bundle in range(bundles):
        pack = ToBlocks()
        pack.start_bundle()
        for one in keyed[bundle::bundles]:
            pack.process(one)
        for packed in pack.finish_bundle():
            shard, entries = packed.value
            found.setdefault(shard, []).append(entries)
    return found


@pytest.mark.parametrize("bundles", [1, 3])
def test_what_is_there_more_than_once(bundles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = mock.Mock()
    monkeypatch.setattr(suspects, "count", counted)
    images = [(digest((IMAGE, f"i{number}")), 0) for number in (*range(200), 7, 8, 8)]
    patients = [
        (digest((PATIENT, name)), place) for name, place in [("p", 0), ("p", 0), ("q", 0), ("q", 299), ("r", 1)]
    ]
    keyed = images[::2] + patients + images[1::2]
    found = [one for shard in blocks(keyed, bundles).items() for one in find_suspects(shard, PLACES)]
    assert sorted(found) == sorted([digest((IMAGE, "i7")), digest((IMAGE, "i8")), digest((PATIENT, "q"))])
    by_place: dict[str, int] = {}
    for _, place, _, patients_there in (call.args for call in counted.call_args_list):
        by_place[place] = by_place.get(place, 0) + patients_there
    assert {place: number for place, number in by_place.items() if number} == {
        "split 's0'": 2, "split 's1'": 1, "split 's299'": 1,
    }  # fmt: skip
