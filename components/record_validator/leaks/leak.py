"""A leak between two data sets, in words.

>>> str(Leak.between("exact_duplicate", kept, dropped))
"split 'test': image 's1' (patient 'p3') is in split 'train' as 'copy' too"
"""

from typing import Final, NamedTuple

from components.record_validator.records import EXTERNAL, PATIENT, RecordRef
from schema.reports.validation import REASONS, LeakReport, Reason

NAMED: Final = 100
"""Leaks that are told one by one."""

_SHARED: Final[dict[Reason, str]] = {
    "duplicate_id": "another image under this id is",
    "near_duplicate": "nearly the same image is",
}


class Leak(NamedTuple):
    """An image or a patient that is in two partitions which must not share it; sorts the gravest first."""

    both_tested: bool
    rank: int
    """Of the reason, among `REASONS`."""
    kept: RecordRef
    dropped: RecordRef

    @classmethod
    def between(cls, reason: Reason, kept: RecordRef, dropped: RecordRef) -> "Leak":
        """Make the leak between the record that stays and one that goes."""
        both_tested = kept.partition.is_tested and dropped.partition.is_tested
        return cls(both_tested, REASONS.index(reason), kept, dropped)

    @property
    def reason(self) -> Reason:
        """What is shared, in a word."""
        return REASONS[self.rank]

    def __str__(self) -> str:
        named, other = (self.dropped, self.kept) if self._drops_external() else (self.kept, self.dropped)
        if self.reason == PATIENT:
            patient = f"patient '{named.patient_id}' of source '{named.source}' (image '{named.image_id}')"
            return f"{named.partition}: {patient} is in {other.partition} too (image '{other.image_id}')"
        image = f"{named.partition}: image '{named.image_id}' (patient '{named.patient_id}')"
        if self.reason in _SHARED:
            return f"{image}: {_SHARED[self.reason]} in {other.partition} as '{other.image_id}'"
        return f"{image} is in {other.partition} as '{other.image_id}' too"

    def remedy(self) -> str:
        """Tell what is wrong with it, and what to do."""
        kind = "patient" if self.reason == PATIENT else "image"
        if self.both_tested:
            rule = f"test sets must have no {kind} in common"
        else:
            is_tested = self.kept.partition.is_tested or self.dropped.partition.is_tested
            held_out = "test sets" if is_tested else "the split 'eval'"
            rule = f"{held_out} must hold no image or patient that is trained on"
        if EXTERNAL in (self.kept.partition.kind, self.dropped.partition.kind):
            unless = ", or give other people a source of their own," if kind == "patient" else ""
            return f"{rule}; remove them{unless} and ingest the set again"
        return f"{rule}; give images of one person one patient_id, or remove one of the images, and ingest them again"

    def to_report(self) -> LeakReport:
        """Return it as reports tell it."""
        return LeakReport(
            reason=self.reason,
            text=str(self),
            remedy=self.remedy(),
            kept=self.kept.to_report(),
            dropped=self.dropped.to_report(),
        )

    def _drops_external(self) -> bool:
        """Tell whether it is an external set that shares something with a split, so that the set is named first."""
        return self.dropped.partition.kind == EXTERNAL != self.kept.partition.kind
