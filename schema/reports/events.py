"""What a webhook is told of a run: the data of a CloudEvent, of whose type each kind has its own.

Nothing here names an image or a patient: events leave the house.

>>> RunBlessed(pipeline="lungseg", version="3").model_dump_json()
'{"format_version":1,"pipeline":"lungseg","version":"3"}'
"""

from typing import ClassVar, Literal

from schema.reports.base import Part


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
