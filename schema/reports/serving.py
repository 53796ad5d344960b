"""What lies beside served models: which of them is current, what it was made of, and what became of a push."""

from typing import ClassVar, Literal

from pydantic import Field

from schema.reports.base import Part, Report

Regardless = Literal["forced", "resumed"]
"""Why a run trains even where nothing has changed. `forced`: it is told to; `resumed`: the last one under its root was
cut off or failed, perhaps after the push, and is brought to its end."""

Change = Regardless | Literal["no_model", "unknown", "data", "settings", "code"]
"""Why a run trains otherwise. `no_model`: none serves yet; `unknown`: the pointer does not tell what the
model that serves was made of; otherwise, what is not as it was when that one was made."""

Standing = Literal["serves", "earlier", "withdrawn"]
"""What a version of the serving folder is: the current one, one that a later push has followed, or one that an earlier
version has replaced again."""


class Origin(Part):
    """What a model is made of and judged by: a digest of each."""

    data: str
    """The files of the spans and external sets that are read."""
    settings: str
    """All of the configuration but what only says where and on what a run takes place."""
    code: str
    """The code that makes and judges models, and the libraries that it stands on."""


class ChangeReport(Report):
    """What the candidate of a run would be made of, and in what that differs from the model that serves."""

    FILE: ClassVar = "changes.json"

    origin: Origin
    spans: list[int]
    """The numbers of those that are read, rising."""
    version: int | None
    """The one that serves."""
    changes: list[Change]

    @property
    def unchanged(self) -> bool:
        """Whether the candidate would be the model that serves once more."""
        return not self.changes


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
    origin: Origin | None = None
    """What the model was made of; None in pointers of before, and where it was put back by hand."""


class PushRecord(Report):
    """Where a model was pushed to."""

    FILE: ClassVar = "pushed.json"

    version: int
    destination: str
    """The folder of the model."""
