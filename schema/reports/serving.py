"""What lies beside served models: which of them is current, and what became of a push."""

from typing import ClassVar

from pydantic import Field

from schema.reports.base import Report


class ServingPointer(Report):
    """Which version of the serving folder is current."""

    FILE: ClassVar = "current.json"

    version: int
    digest: str
    """Of what the model computes."""
    candidate_key: str = ""
    """Identifies what made and judged the model; empty where it was put back by hand."""
    baseline_key: str = ""
    """Identifies the model that it was compared with when it was judged."""
    files: dict[int, str] = Field(default={})
    """A digest of the files of each version that was put there; empty in pointers of before."""


class PushRecord(Report):
    """Where a model was pushed to."""

    FILE: ClassVar = "pushed.json"

    version: int
    destination: str
    """The folder of the model."""
