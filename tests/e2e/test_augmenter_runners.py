"""The Augmenter gives the same records in worker processes as in one; `tests/flink` has it run on a cluster as well."""

from pathlib import Path

import pytest
from augmenting import augment, counts, hashes, write_originals

from components.augmenter.policy import load_policy
from pipeline.beam.settings import BeamSettings

pytestmark = pytest.mark.e2e

SIZES = {"train": 14, "eval": 4, "test": 6}


def test_worker_processes_give_the_same_records(tmp_path: Path) -> None:
    examples, policy = write_originals(tmp_path / "examples", SIZES), load_policy("chest")
    here = augment(examples, policy, tmp_path / "here", BeamSettings())
    elsewhere = augment(examples, policy, tmp_path / "elsewhere", BeamSettings(mode="multi_processing", workers=2))
    digests = hashes(elsewhere)
    assert digests == hashes(here)
    for split, size in SIZES.items():
        assert len(set(digests[split])) == len(digests[split]) == size * (1 + policy.copies_of(split))
    assert counts(elsewhere) == counts(here)
