"""Records are read with their numbers, checked, counted and routed on Beam."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.pvalue import AsDict
from apache_beam.testing.util import assert_that, equal_to
from small_records import make
from tfx.types import standard_artifacts

from components.counters import read_counters
from components.record_validator.checks.check_records import (
    CheckRecords,
    ReadRecords,
    is_finding,
    is_refused,
    route,
    sizes_of,
    sources_of,
)
from components.record_validator.records import (
    EXTERNAL,
    SPLIT,
    Finding,
    NumberedRecord,
    Partition,
    RecordRef,
    RecordSummary,
    RefusedRecord,
)
from components.record_validator.settings import RecordValidationSettings
from pipeline.beam.settings import BeamSettings
from schema.record import encode

BEAM = BeamSettings().arguments()
TRAIN, HANNOVER = Partition(SPLIT, "train"), Partition(EXTERNAL, "hannover")

WriteExamples = Callable[..., standard_artifacts.Examples]


def _numbered(number: int, serialized: bytes, partition: Partition = TRAIN) -> NumberedRecord:
    return NumberedRecord(partition, f"Split-train/data_tfrecord-00000-of-00001.gz#{number}", serialized)


def _finding(record: NumberedRecord, image_id: str = "a") -> Finding:
    ref = RecordRef(record.partition, image_id, "hash", record.location, "p1", "clinic")
    return Finding.of(ref, "size", "is too small")


def test_records_are_read_with_their_numbers(tmp_path: Path, write_examples: WriteExamples) -> None:
    """Even records of equal bytes are told apart, and those of a set from those of a split in files of one name."""
    for folder in ("a", "b"):
        write_examples(tmp_path / folder, {"train": [b"x", b"y", b"x"]}, shards=1)
    folders = {TRAIN: str(tmp_path / "a" / "Split-train"), HANNOVER: str(tmp_path / "b" / "Split-train")}
    expected = [
        _numbered(number, serialized, partition)
        for partition in folders
        for number, serialized in enumerate([b"x", b"y", b"x"])
    ]
    assert len({record.key for record in expected}) == 6
    with beam.Pipeline(argv=BEAM) as pipeline:
        assert_that(pipeline | ReadRecords(folders), equal_to(expected))


def test_records_are_counted_by_source_and_size() -> None:
    wide = {"image": np.tile(make(3, "c", "p3").image, 2), "mask": np.tile(make(3, "c", "p3").mask, 2)}
    records = [
        _numbered(0, encode(make(1, "a", "p1"))),
        _numbered(1, encode(make(2, "b", "p2", "ruhr"))),
        _numbered(2, encode(make(3, "c", "p3", "ruhr", **wide))),
        _numbered(3, encode(make(4, "d", "p4", "ruhr", image=np.zeros((96, 96), np.uint8)))),
        _numbered(4, b"garbage"),
        _numbered(0, encode(make(5, "e", "p5")), HANNOVER),
    ]
    with beam.Pipeline(argv=BEAM) as pipeline:
        checked = pipeline | beam.Create(records) | beam.ParDo(CheckRecords(RecordValidationSettings()))
        summaries, findings = checked | beam.Partition(is_finding, 2)
        of_summaries, of_findings = summaries | "Size" >> beam.Map(_size), findings | "Reason" >> beam.Map(_reason)
        assert_that(of_summaries, equal_to(["a 96 x 96", "b 96 x 96", "c 192 x 96", "e 96 x 96"]), "summaries")
        assert_that(of_findings, equal_to(["d constant_image", "unknown undecodable"]), "findings")
    assert _counters(pipeline, str(TRAIN)) == {"read": 5}
    assert _counters(pipeline, sources_of(TRAIN)) == {"clinic": 1, "ruhr": 3, "unknown": 1}
    assert _counters(pipeline, sizes_of(TRAIN)) == {"96 x 96": 2, "192 x 96": 1}
    assert _counters(pipeline, str(HANNOVER)) == {"read": 1}
    assert _counters(pipeline, sources_of(HANNOVER)) == {"clinic": 1}
    assert _counters(pipeline, sizes_of(HANNOVER)) == {"96 x 96": 1}


def test_records_with_a_finding_are_refused_and_counted() -> None:
    records = [_numbered(number, b"%d" % number) for number in range(5)]
    records.append(_numbered(1, b"of another set", HANNOVER))
    findings = {record.key: _finding(record) for record in (records[1], records[3])}
    expected = [
        RefusedRecord(findings[record.key], record.serialized) if record.key in findings else record
        for record in records
    ]
    with beam.Pipeline(argv=BEAM) as pipeline:
        by_record = pipeline | "Findings" >> beam.Create(findings.items())
        assert_that(pipeline | beam.Create(records) | beam.Map(route, AsDict(by_record)), equal_to(expected))
    assert [is_refused(record) for record in expected] == [False, True, False, True, False, False]
    assert _counters(pipeline, str(TRAIN)) == {"validated": 3, "quarantined": 2}
    assert _counters(pipeline, str(HANNOVER)) == {"validated": 1}


@pytest.mark.parametrize("image_id", ["a", "\u00e4 \u2028 \x85"])
def test_what_the_list_tells_of_a_refused_record(image_id: str) -> None:
    record = _numbered(7, b"bytes")
    assert RefusedRecord(_finding(record, image_id), record.serialized).to_report().model_dump() == {
        "kind": "split", "name": "train", "image_id": image_id, "patient_id": "p1", "source": "clinic",
        "record": "Split-train/data_tfrecord-00000-of-00001.gz#7", "sha256": "hash", "reason": "size",
        "detail": "is too small", "leaked": False,
    }  # fmt: skip


def _size(summary: RecordSummary) -> str:
    return f"{summary.ref.image_id} {summary.size}"


def _reason(finding: Finding) -> str:
    return f"{finding.ref.image_id} {finding.reason}"


def _counters(pipeline: beam.Pipeline, namespace: str) -> Counter[str]:
    return read_counters(pipeline.result, namespace)
