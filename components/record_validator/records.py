"""What the steps of the RecordValidator hand on to each other: records, where they are, and what is found in them.

Ids of two hospitals may coincide by chance, so a patient is one with equal `patient_id` and `source`, and an id names
an image within its source alone.
"""

from typing import Final, NamedTuple

from components.record_validator.near_duplicates.similarity import ImageSignature
from schema.reports.validation import REASONS, QuarantinedRecord, Reason, RecordReference, SetKind

SPLIT: Final[SetKind] = "split"
EXTERNAL: Final[SetKind] = "external set"
PATIENT: Final[Reason] = "patient_in_two_splits"


class Partition(NamedTuple):
    """A split of the training data, or an external test set."""

    kind: SetKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}'"

    @property
    def is_tested(self) -> bool:
        """Whether it is a test set, and nothing that is trained on."""
        return self.kind == EXTERNAL or self == TEST

    @property
    def precedence(self) -> tuple[bool, int, str]:
        """The lower stays: what is tested before what is trained on; external sets come later, and give way to all."""
        rank = 0 if self.is_tested else 1 if self.name == "eval" else 2
        return self.kind == EXTERNAL, rank, self.name

    def conflicts_with(self, other: "Partition", reason: Reason) -> bool:
        """Tell whether an image or a patient must not be in both.

        A patient of the split `test` may be in external sets as well.
        """
        if reason == PATIENT and self.is_tested and other.is_tested:
            return self.kind == other.kind
        return True


TEST: Final = Partition(SPLIT, "test")


class RecordRef(NamedTuple):
    """Which record is meant; sorts by partition and name."""

    partition: Partition
    image_id: str
    sha256: str
    """Of its bytes."""
    location: str
    """The file that holds it, and its number in there: `Split-train/data_tfrecord-00000-of-00001.gz#7`."""
    patient_id: str
    source: str

    @property
    def key(self) -> str:
        """What tells it from all other records, even from those of equal bytes."""
        return record_key(self.partition, self.location)

    def to_report(self) -> RecordReference:
        """Return it as reports tell it."""
        return RecordReference(
            kind=self.partition.kind,
            name=self.partition.name,
            image_id=self.image_id,
            patient_id=self.patient_id,
            source=self.source,
        )


def record_key(partition: Partition, location: str) -> str:
    """Return the key of a record; the files of an external set may be named like those of a split."""
    return f"{partition}: {location}"


class NumberedRecord(NamedTuple):
    """A record as it was read."""

    partition: Partition
    location: str
    serialized: bytes

    @property
    def key(self) -> str:
        """What tells it from all other records, even from those of equal bytes."""
        return record_key(self.partition, self.location)


class RecordSummary(NamedTuple):
    """What is kept of a sound record to compare it with others, about two kB."""

    ref: RecordRef
    pixels: str
    """Hash of the image."""
    size: str
    """Of the image, such as `512 x 512`."""
    signature: ImageSignature


class Finding(NamedTuple):
    """Why a record is refused; of several findings the first reason sorts first."""

    rank: int
    """Of the reason, among `REASONS`."""
    detail: str
    leaked: bool
    """Whether the record is sound by itself, but also in a partition that must not share it."""
    ref: RecordRef

    @classmethod
    def of(cls, ref: RecordRef, reason: Reason, detail: str, *, leaked: bool = False) -> "Finding":
        """Make a finding."""
        return cls(REASONS.index(reason), detail, leaked, ref)

    @property
    def reason(self) -> Reason:
        """Why, in a word."""
        return REASONS[self.rank]


class RefusedRecord(NamedTuple):
    """A record that goes to quarantine."""

    finding: Finding
    serialized: bytes

    @property
    def partition(self) -> Partition:
        """Where it was."""
        return self.finding.ref.partition

    def to_report(self) -> QuarantinedRecord:
        """Return what the list of quarantined records tells of it."""
        ref = self.finding.ref
        return QuarantinedRecord(
            **dict(ref.to_report()),
            record=ref.location,
            sha256=ref.sha256,
            reason=self.finding.reason,
            detail=self.finding.detail,
            leaked=self.finding.leaked,
        )
