"""Reads records by their place, examines each, and parts the sound from the refused; for Beam."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from components.artifacts import record_files
from components.counters import count
from components.parallel import ParallelDoFn
from components.record_validator.checks.record_checks import Fault, examine, names_of
from components.record_validator.leaks.find_leaks import Facts, Finding, find
from components.record_validator.leaks.partitions import Member, Place
from components.record_validator.near_duplicates.similarity import sketch
from components.record_validator.settings import RecordValidationSettings

READ, VALIDATED, QUARANTINED = "read", "validated", "quarantined"


class Numbered(NamedTuple):
    """A record, and which of its place it is: `Split-train/data_tfrecord-00000-of-00001.gz#7`."""

    place: Place
    at: str
    serialized: bytes


class Refused(NamedTuple):
    """A record in quarantine; sorts by place and name."""

    place: Place
    member: Member
    finding: Finding
    serialized: bytes


def by_source(place: Place) -> str:
    """Namespace in which the records of a place are counted by source."""
    return f"sources of {place}"


def by_size(place: Place) -> str:
    """Namespace in which the sound records of a place are counted by size."""
    return f"sizes of {place}"


class ReadNumbered(beam.PTransform):
    """Reads TFRecords with their numbers, by which even records of equal bytes are told apart; a file is read whole."""

    def __init__(self, uris: Mapping[Place, str]) -> None:
        """Takes the folders."""
        super().__init__()
        self._files = [(place, file) for place, uri in uris.items() for file in record_files(uri)]

    def expand(self, begin: PBegin) -> PCollection:
        """From the start of a pipeline to records of `Numbered`."""
        return begin | beam.Create(self._files, reshuffle=True) | beam.FlatMapTuple(_read)


def _read(place: Place, file: str) -> Iterator[Numbered]:
    import tensorflow as tf

    name = "/".join(file.split(os.sep)[-2:])
    records = tf.data.TFRecordDataset(file, compression_type="GZIP" if file.endswith(".gz") else "")
    for number, serialized in enumerate(records.as_numpy_iterator()):
        yield Numbered(place, f"{name}#{number}", serialized)


class Examine(ParallelDoFn):
    """Records in; of each its facts if it is sound, else the finding. Counts what it reads, its sources and sizes."""

    def __init__(self, settings: RecordValidationSettings) -> None:
        """Takes what is expected of records."""
        self._settings = settings

    def work(self, element: Numbered) -> tuple[Place, Facts | tuple[str, Finding]]:
        """Examines a record."""
        place, _, serialized = element
        examined = examine(serialized, self._settings)
        names = names_of(serialized) if isinstance(examined, Fault) else examined
        sha256 = hashlib.sha256(serialized).hexdigest()
        member = Member(names.image_id, sha256, _whereabouts(element), names.patient_id, names.source)
        if isinstance(examined, Fault):
            return place, find(examined.reason, examined.detail, member)
        height, width = examined.image.shape
        size = f"{width} x {height}"
        pixels = hashlib.sha256(size.encode() + examined.image.tobytes()).hexdigest()
        return place, Facts(place, member, pixels, size, sketch(examined.image, examined.mask))

    def emit(self, result: tuple[Place, Facts | tuple[str, Finding]]) -> Iterator[Facts | tuple[str, Finding]]:
        """Counts, and passes on."""
        place, examined = result
        count(None, str(place), READ)
        if isinstance(examined, Facts):
            count(None, by_size(place), examined.size)
            count(None, by_source(place), examined.member.source)
        else:
            _, finding = examined
            count(None, by_source(place), finding.member.source)
        yield examined


def part(record: Numbered, findings: Mapping[str, Finding]) -> Numbered | Refused:
    """Refuses the record if there is a finding. Counts both."""
    finding = findings.get(_whereabouts(record))
    count(None, str(record.place), QUARANTINED if finding else VALIDATED)
    return Refused(record.place, finding.member, finding, record.serialized) if finding else record


def is_refused(parted: Numbered | Refused) -> bool:
    """Whether it goes to quarantine."""
    return isinstance(parted, Refused)


def _whereabouts(record: Numbered) -> str:
    return f"{record.place}: {record.at}"
