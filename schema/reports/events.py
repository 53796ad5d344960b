"""What a webhook is told of a run: the data of a CloudEvent, of whose type each kind has its own.

Nothing here names an image or a patient: events leave the house.

>>> RunBlessed(pipeline="lungseg", version="3").model_dump_json()
'{"format_version":1,"pipeline":"lungseg","version":"3"}'
"""

from datetime import datetime, timezone
from typing import ClassVar, Final, Literal

from pydantic import AwareDatetime, JsonValue

from schema.reports.base import Part, Report


class RunEvent(Part):
    """What all kinds share."""

    TYPE: ClassVar[str]
    """Of the CloudEvent."""

    format_version: int = 1
    """Raised where the meaning of a field changes."""
    pipeline: str
    """The name that the configuration gives it."""


class RunStarted(RunEvent):
    """The run has started."""

    TYPE: ClassVar = "lungseg.run.started"


class RunBlessed(RunEvent):
    """The model was blessed and pushed."""

    TYPE: ClassVar = "lungseg.run.blessed"

    version: str | None
    """Its folder in the serving folder."""


class RunNotBlessed(RunEvent):
    """The model was not blessed."""

    TYPE: ClassVar = "lungseg.run.not_blessed"

    failures: list[str]
    """Each rule that was broken, in words."""


class RunUnchanged(RunEvent):
    """The run has ended early, since it would have made the model that serves once more."""

    TYPE: ClassVar = "lungseg.run.unchanged"

    version: str | None
    """The model's folder in the serving folder."""


class DataRefused(RunEvent):
    """The data gate has stopped the run."""

    TYPE: ClassVar = "lungseg.run.data_refused"

    case: str
    """What is over a limit, in words; which images and patients it is, the report tells."""


class RunFailed(RunEvent):
    """The run has failed."""

    TYPE: ClassVar = "lungseg.run.failed"

    component: str | None
    """Which one failed; None where none was at work."""
    cause: str
    """Kind of the error. Its text, which may name an image, is on the terminal."""


class RunInterrupted(RunEvent):
    """Somebody has stopped the run."""

    TYPE: ClassVar = "lungseg.run.interrupted"

    by: Literal["SIGTERM", "Ctrl-C"]


EVENTS: Final = {
    kind.TYPE: kind
    for kind in (RunStarted, RunBlessed, RunNotBlessed, RunUnchanged, DataRefused, RunFailed, RunInterrupted)
}
"""Each kind by its type."""


class StepNote(Report):
    """What a step of a run on Kubeflow leaves to be told when the run has ended."""

    FILE: ClassVar = "note.json"

    component: str
    time: AwareDatetime
    """When it was left."""
    type: str | None
    """Of the event; None while the step is at work: what still lies there when all has ended was left by a step that
    could say nothing more."""
    data: dict[str, JsonValue]
    """Of the event."""

    @classmethod
    def of(cls, component: str, event: RunEvent | None) -> "StepNote":
        """Note an event of a step, now; None: it is at work."""
        kind, data = (event.TYPE, event.model_dump(mode="json")) if event else (None, {})
        return cls(component=component, time=datetime.now(tz=timezone.utc), type=kind, data=data)

    @property
    def event(self) -> RunEvent | None:
        """What is to be told; None where the step was at work."""
        return None if self.type is None else EVENTS[self.type].model_validate(self.data)
