"""Hashes that several records have are found, however they are cut into blocks; patients are counted by partition."""

from typing import Final
from unittest import mock

import pytest

from components.record_validator.leaks import duplicate_keys
from components.record_validator.leaks.duplicate_keys import BlockHashes, Bucket, KeyHash, find_duplicate_keys, key_hash
from components.record_validator.records import PATIENT, SPLIT, Partition

PARTITIONS = [Partition(SPLIT, f"s{number}") for number in range(300)]
IMAGE: Final = "exact_duplicate"


def blocks(hashes: list[tuple[KeyHash, int]], bundles: int) -> dict[Bucket, list[bytes]]:
    """By bucket, as they come out of so many bundles."""
    by_bucket: dict[Bucket, list[bytes]] = {}
    for bundle in range(bundles):
        packer = BlockHashes()
        packer.start_bundle()
        for key in hashes[bundle::bundles]:
            packer.process(key)
        for packed in packer.finish_bundle():
            bucket, entries = packed.value
            by_bucket.setdefault(bucket, []).append(entries)
    return by_bucket


@pytest.mark.parametrize("bundles", [1, 3])
def test_what_is_there_more_than_once(bundles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = mock.Mock()
    monkeypatch.setattr(duplicate_keys, "count", counted)
    images = [(key_hash((IMAGE, f"i{number}")), 0) for number in (*range(200), 7, 8, 8)]
    patients = [
        (key_hash((PATIENT, name)), partition)
        for name, partition in [("p", 0), ("p", 0), ("q", 0), ("q", 299), ("r", 1)]
    ]
    hashes = images[::2] + patients + images[1::2]
    duplicates = [key for bucket in blocks(hashes, bundles).items() for key in find_duplicate_keys(bucket, PARTITIONS)]
    assert sorted(duplicates) == sorted([key_hash((IMAGE, "i7")), key_hash((IMAGE, "i8")), key_hash((PATIENT, "q"))])
    by_partition: dict[str, int] = {}
    for _, partition, _, patients_there in (call.args for call in counted.call_args_list):
        by_partition[partition] = by_partition.get(partition, 0) + patients_there
    assert {partition: number for partition, number in by_partition.items() if number} == {
        "split 's0'": 2, "split 's1'": 1, "split 's299'": 1,
    }  # fmt: skip
