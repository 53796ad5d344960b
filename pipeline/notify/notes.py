"""What the steps of a run on Kubeflow leave to be told of it: each is a process of its own, and a last one tells.

>>> notes = RunNotes(Path("/lungseg"), run_id)
>>> notes.leave("Trainer", None)  # it is at work
>>> notes.leave("Trainer", RunFailed(pipeline="lungseg", component="Trainer", cause="ValueError"))
>>> end_of(notes.read(), "lungseg", "FAILED")
[RunFailed(...)]
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipeline.root import NOTES_DIR
from schema.reports.events import RunBlessed, RunEvent, RunFailed, RunNotBlessed, StepNote

STARTED: Final = "started"
ENDED: Final = "ended"
"""What a run is marked with when this was told of it."""

_GO_ON: Final = (RunBlessed, RunNotBlessed)
"""Behind these, steps may still fail; behind anything else, what other steps say of the same run adds nothing."""

KILLED: Final = "it ended without a word, such as killed for want of memory or with its node"
"""Why a step failed that could not say it."""

_ENDED_WELL: Final = ("COMPLETE", "SUCCEEDED")
"""As Kubeflow Pipelines calls it, before 2.17 and since."""


class RunNotes:
    """The notes of one run; steps that have done their work leave none, but for what became of the model."""

    def __init__(self, root: Path, run_id: str) -> None:
        """Name the run; nothing is written yet.

        Args:
            root: Of runs.
            run_id: As Kubeflow gives it.
        """
        self._folder = root / NOTES_DIR / run_id

    def leave(self, component: str, event: RunEvent | None) -> None:
        """Note what is to be told of a step, in place of what it has left before; None: it is at work.

        Raises:
            OSError: It cannot be written.
        """
        StepNote.of(component, event).write(self._folder / component)

    def withdraw(self, component: str) -> None:
        """Leave nothing to be told of a step.

        Raises:
            OSError: It cannot be removed.
        """
        (self._folder / component / StepNote.FILE).unlink(missing_ok=True)

    def read(self) -> list[StepNote]:
        """Return all notes, the oldest first.

        Raises:
            ReportFileError: One is damaged, or was written by another version of this code.
        """
        found = [StepNote.read(file.parent) for file in self._folder.glob(f"*/{StepNote.FILE}")]
        return sorted(found, key=lambda note: note.time)

    def mark(self, what: str) -> bool:
        """Mark that something was told; return whether it was not marked yet.

        Raises:
            OSError: It cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            (self._folder / what).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def is_marked(self, what: str) -> bool:
        """Return whether something was told."""
        return (self._folder / what).exists()


def end_of(notes: Sequence[StepNote], pipeline: str, state: str) -> list[RunEvent]:
    """Return what became of a run: of the model, and the first failure; nothing where nobody knows.

    Args:
        notes: That its steps have left, the oldest first.
        pipeline: Its name.
        state: What Kubeflow says of all steps together, such as `FAILED`.
    """
    events: list[RunEvent] = []
    for note in notes:
        events.append(note.event or RunFailed(pipeline=pipeline, component=note.component, cause=KILLED))
        if not isinstance(events[-1], _GO_ON):
            break
    if not events and state not in _ENDED_WELL:
        # Before a step of ours starts, and after it has ended, Kubeflow itself may fail.
        cause = f"no step says why; Kubeflow's state of them is {state}"
        events.append(RunFailed(pipeline=pipeline, component=None, cause=cause))
    return events
