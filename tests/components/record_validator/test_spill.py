"""What is spilled to disk comes back as it was."""

import io
from pathlib import Path

import apache_beam as beam
from apache_beam.testing.util import assert_that, equal_to

from components.record_validator.near_duplicates.similarity import ImageSignature
from components.record_validator.records import SPLIT, Partition, RecordRef, RecordSummary
from components.record_validator.spill import SpillFile, WriteSpill, read_spill
from pipeline.beam.settings import BeamSettings

BEAM = BeamSettings().arguments()


def _summary(number: int) -> RecordSummary:
    """Of a size of its own."""
    ref = RecordRef(Partition(SPLIT, "train"), f"t{number}", "hash", f"file#{number}", "p\u2028", "clinic")
    return RecordSummary(ref, "pixels", "96 x 96", ImageSignature(b"\0\n" * number, b"\xff" * 7 * number))


def test_elements_are_written_and_read_back(tmp_path: Path) -> None:
    summaries = [_summary(number) for number in range(20)]
    with beam.Pipeline(argv=BEAM) as pipeline:
        files = pipeline | beam.Create(summaries) | WriteSpill(str(tmp_path))
        assert_that(files | beam.FlatMap(read_spill), equal_to(summaries), "on Beam")
    written = [summary for file in sorted(tmp_path.iterdir()) for summary in read_spill(str(file))]
    assert sorted(written) == sorted(summaries)


def test_nothing_to_write(tmp_path: Path) -> None:
    with beam.Pipeline(argv=BEAM) as pipeline:
        files = pipeline | beam.Create([]) | WriteSpill(str(tmp_path))
        assert_that(files | beam.FlatMap(read_spill), equal_to([]))


def test_elements_are_read_in_any_order() -> None:
    spill = SpillFile[RecordSummary](io.BytesIO())
    for number in range(20):
        spill.append(_summary(number))
    for number in (19, 0, 7, 7, 3, 18):
        assert spill.read(number) == _summary(number)
