"""Reads records by partition, checks each, and routes it to what is sound or to quarantine; for Beam."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import Final

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from components.artifacts import read_records, record_files
from components.counters import count
from components.parallel import ParallelDoFn
from components.record_validator.checks.record_checks import Fault, check_record
from components.record_validator.near_duplicates.similarity import compute_signature
from components.record_validator.records import (
    Finding,
    NumberedRecord,
    Partition,
    RecordRef,
    RecordSummary,
    RefusedRecord,
)
from components.record_validator.settings import RecordValidationSettings

READ: Final = "read"
VALIDATED: Final = "validated"
QUARANTINED: Final = "quarantined"
"""Counters in the namespace that a partition is as text."""


def sources_of(partition: Partition) -> str:
    """Name the namespace in which the records of a partition are counted by source."""
    return f"sources of {partition}"


def sizes_of(partition: Partition) -> str:
    """Name the namespace in which the sound records of a partition are counted by size."""
    return f"sizes of {partition}"


class ReadRecords(beam.PTransform):
    """Reads TFRecords with their numbers, by which even records of equal bytes are told apart; a file is read whole."""

    def __init__(self, folders: Mapping[Partition, str]) -> None:
        """Name the folder of each partition."""
        super().__init__()
        self._files = [(partition, file) for partition, folder in folders.items() for file in record_files(folder)]

    def expand(self, begin: PBegin) -> PCollection:
        """Read: from the start of a pipeline to records of `NumberedRecord`."""
        return begin | beam.Create(self._files, reshuffle=True) | beam.FlatMapTuple(_read)


def _read(partition: Partition, file: str) -> Iterator[NumberedRecord]:
    name = "/".join(file.split(os.sep)[-2:])
    for number, serialized in enumerate(read_records([file])):
        yield NumberedRecord(partition, f"{name}#{number}", serialized)


class CheckRecords(ParallelDoFn):
    """Checks records: yields of each its summary if it is sound, else the finding.

    Counts in the namespaces of its partition what it reads, by source, and the sound records by size.
    """

    def __init__(self, settings: RecordValidationSettings) -> None:
        """Name what is expected of records."""
        self._settings = settings

    def work(self, element: NumberedRecord) -> RecordSummary | Finding:
        """Check a record."""
        names, outcome = check_record(element.serialized, self._settings)
        ref = RecordRef(
            partition=element.partition,
            image_id=names.image_id,
            sha256=hashlib.sha256(element.serialized).hexdigest(),
            location=element.location,
            patient_id=names.patient_id,
            source=names.source,
        )
        if isinstance(outcome, Fault):
            return Finding.of(ref, outcome.reason, outcome.detail)
        height, width = outcome.image.shape
        size = f"{width} x {height}"
        pixels = hashlib.sha256(size.encode() + outcome.image.tobytes()).hexdigest()
        return RecordSummary(ref, pixels, size, compute_signature(outcome.image, outcome.mask))

    def emit(self, result: RecordSummary | Finding) -> Iterator[RecordSummary | Finding]:
        """Count a record, and pass on what was found."""
        partition = result.ref.partition
        count(None, str(partition), READ)
        count(None, sources_of(partition), result.ref.source)
        if isinstance(result, RecordSummary):
            count(None, sizes_of(partition), result.size)
        yield result


def is_finding(checked: RecordSummary | Finding, _: int) -> int:
    """Return 1 for findings and 0 for summaries, as `beam.Partition` takes it."""
    return int(isinstance(checked, Finding))


def route(record: NumberedRecord, findings: Mapping[str, Finding]) -> NumberedRecord | RefusedRecord:
    """Refuse a record if there is a finding under its key, else pass it on. Counts both."""
    finding = findings.get(record.key)
    count(None, str(record.partition), QUARANTINED if finding else VALIDATED)
    return RefusedRecord(finding, record.serialized) if finding else record


def is_refused(routed: NumberedRecord | RefusedRecord) -> bool:
    """Tell whether a record goes to quarantine."""
    return isinstance(routed, RefusedRecord)
