"""Where records are, and which of two places must give way when both hold one image or one patient.

Ids of two hospitals may coincide by chance, so a patient is one with equal `patient_id` and `source`, and an id names
an image within its source alone.
"""

from typing import Final, Literal, NamedTuple

from schema.reports.validation import Reason

Kind = Literal["split", "external set"]

SPLIT: Final[Kind] = "split"
EXTERNAL: Final[Kind] = "external set"
PATIENT: Final[Reason] = "patient_in_two_splits"

NAMED: Final = 100
"""Leaks that are told one by one."""


class Place(NamedTuple):
    """A split of the training data, or an external test set."""

    kind: Kind
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

    def conflicts_with(self, other: "Place", reason: Reason) -> bool:
        """Whether an image or a patient must not be in both; a patient of the split `test` may be in external sets."""
        if reason == PATIENT and self.is_tested and other.is_tested:
            return self.kind == other.kind
        return True


TEST: Final = Place(SPLIT, "test")


class Member(NamedTuple):
    """A record of a place; sorts by name."""

    image_id: str
    sha256: str
    at: str
    """The file that holds it, and its number in there."""
    patient_id: str
    source: str


class Leak(NamedTuple):
    """An image or a patient that is in two places; sorts the gravest first."""

    both_tested: bool
    rank: int
    """Of the reason."""
    kept: Place
    kept_member: Member
    dropped: Place
    dropped_member: Member
    reason: Reason

    def __str__(self) -> str:
        told = [(self.kept, self.kept_member), (self.dropped, self.dropped_member)]
        (place, member), (other, its) = sorted(told, key=lambda one: one[0].kind != EXTERNAL)
        if self.reason == PATIENT:
            what = f"patient '{member.patient_id}' of source '{member.source}' (image '{member.image_id}')"
            return f"{place}: {what} is in {other} too (image '{its.image_id}')"
        how = {"duplicate_id": "another image under this id is", "near_duplicate": "nearly the same image is"}
        what = f"image '{member.image_id}' (patient '{member.patient_id}')"
        if self.reason in how:
            return f"{place}: {what}: {how[self.reason]} in {other} as '{its.image_id}'"
        return f"{place}: {what} is in {other} as '{its.image_id}' too"

    def remedy(self) -> str:
        """What is wrong with it, and what to do."""
        kind = "patient" if self.reason == PATIENT else "image"
        if self.both_tested:
            rule = f"test sets must have no {kind} in common"
        else:
            judged = "test sets" if self.kept.is_tested or self.dropped.is_tested else "the split 'eval'"
            rule = f"{judged} must hold no image or patient that is trained on"
        if EXTERNAL in (self.kept.kind, self.dropped.kind):
            unless = ", or give other people a source of their own," if kind == "patient" else ""
            return f"{rule}; remove them{unless} and ingest the set again"
        return f"{rule}; give images of one person one patient_id, or remove one of the images, and ingest them again"
