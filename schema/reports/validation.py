"""What is known of the data before they are trained on.

The RecordValidator tells how many records of each data set are sound, which are not and why, and leaks; the DataGate,
that nothing is over a limit.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Final, Literal, TypeVar, get_args

from pydantic import JsonValue

from schema.files import write_whole
from schema.reports.base import Part, Report
from schema.reports.statistics import Anomaly

PartT = TypeVar("PartT", bound=Part)

SHEET_FILE: Final = "thumbnails.png"
"""Beside the report: the first quarantined records as pictures, where there are any."""

Reason = Literal[
    "undecodable",
    "copy",
    "description",
    "size",
    "constant_image",
    "mask_area",
    "components",
    "fingerprint",
    "exact_duplicate",
    "duplicate_id",
    "near_duplicate",
    "patient_in_two_splits",
]
"""Why a record is in quarantine, the first that applies: `undecodable`: breaks the record's contract; `copy`: is an
augmented copy already; `description`: width, height, age, spacing or a text is out of range; `size`: of the stored
image; `mask_area`, `components`: of the lungs; `fingerprint`: was not computed from these pixels; `duplicate_id`:
another image has this id in the same source."""

REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

SetKind = Literal["split", "external set"]


class RecordReference(Part):
    """A record by its names, and the data set that it is in."""

    kind: SetKind
    name: str
    """Of the split or external set."""
    image_id: str
    patient_id: str
    source: str


class QuarantinedRecord(RecordReference):
    """A record in quarantine."""

    record: str
    """The file that holds it, and its number in there: `Split-train/data_tfrecord-00000-of-00001.gz#7`."""
    sha256: str
    """Of its bytes."""
    reason: Reason
    detail: str
    leaked: bool
    """Whether it is sound by itself, but also in a data set that must not share it."""


class LeakReport(Part):
    """An image or a patient that is in two data sets."""

    reason: Reason
    text: str
    remedy: str
    kept: RecordReference
    dropped: RecordReference


class Leaks(Part):
    """How many leaks there are, and the gravest of them."""

    total: int
    named: list[LeakReport]


class SourceSummary(Part):
    """The records of one source in a data set."""

    read: int
    quarantined: int
    reasons: dict[Reason, int]


class SetSummary(Part):
    """The records of a split or an external set."""

    kind: SetKind
    name: str
    read: int
    validated: int
    quarantined: int
    patients: int
    leaked: int
    """Of those in quarantine."""
    reasons: dict[Reason, int]
    sources: dict[str, SourceSummary]
    sizes: dict[str, int]
    """Sound records by the size of their image, such as `512 x 512`."""


class ValidationReport(Report):
    """What was found in the records of all splits, or of all external sets."""

    FILE: ClassVar = "validation.json"

    limits: dict[str, JsonValue]
    """The settings that records were held against, as `config.yaml` has them."""
    sets: list[SetSummary]
    leaks: Leaks
    left_out: int
    """Comparisons that were not made, since too many images look alike."""

    @classmethod
    def merge(cls, reports: Sequence["ValidationReport"]) -> "ValidationReport":
        """Put reports on different data sets together, with the limits of the first."""
        return cls(
            limits=reports[0].limits,
            sets=[set_ for report in reports for set_ in report.sets],
            leaks=Leaks(
                total=sum(report.leaks.total for report in reports),
                named=[leak for report in reports for leak in report.leaks.named],
            ),
            left_out=sum(report.left_out for report in reports),
        )


QUARANTINED_FILE: Final = "quarantined.jsonl"
"""Beside the report: a line for each `QuarantinedRecord`."""


def write_quarantined(folder: str | os.PathLike[str], records: Iterable[QuarantinedRecord]) -> None:
    """Write the list of quarantined records into a folder, whole or not at all."""
    lines = "".join(f"{record.model_dump_json()}\n" for record in records)
    write_whole(Path(folder) / QUARANTINED_FILE, lines)


def read_quarantined(folder: str | os.PathLike[str]) -> list[QuarantinedRecord]:
    """Read the list of quarantined records that lies in a folder."""
    return read_lines(Path(folder) / QUARANTINED_FILE, QuarantinedRecord)


def read_lines(path: Path, kind: type[PartT]) -> list[PartT]:
    """Read a file that holds a model in each line."""
    # As bytes, since texts may hold characters, such as U+2028, that `str.splitlines` takes for the end of a line.
    return [kind.model_validate_json(line) for line in path.read_bytes().splitlines()]


class GateResult(Report):
    """What was held against which limits, where nothing is over one."""

    FILE: ClassVar = "verdict.json"

    limits: dict[str, JsonValue]
    """The settings of the gate, as `config.yaml` has them."""
    records: int
    """Of all splits and external sets, before any went to quarantine."""
    quarantined: int
    leaks: int
    anomalies: list[Anomaly]
    """All of them, also those that stop nothing, the gravest first."""
