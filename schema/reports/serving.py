"""What lies beside served models: which of them is current, and what became of a push."""

from typing import ClassVar

from schema.reports.base import Report


class ServingPointer(Report):
    """Which version of the serving folder is current."""

    FILE: ClassVar = "current.json"

    version: int
    digest: str
    """Of the model's content."""
    candidate_key: str = ""
    """Identifies what made and judged the model; empty where it was put back by hand."""
    baseline_key: str = ""
    """Identifies the model that it was compared with when it was judged."""


class PushRecord(Report):
    """Where a model was pushed to."""

    FILE: ClassVar = "pushed.json"

    version: int
    destination: str
    """The folder of the model."""
