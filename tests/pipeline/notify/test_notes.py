"""What steps leave to be told of their run, and what it adds up to."""

from pathlib import Path

import pytest

from pipeline.notify.notes import KILLED, RunNotes, end_of
from schema.reports.events import (
    EVENTS,
    DataRefused,
    RunBlessed,
    RunEvent,
    RunFailed,
    RunInterrupted,
    RunNotBlessed,
    RunUnchanged,
)

BLESSED = RunBlessed(pipeline="clinic", version="3")
UNCHANGED = RunUnchanged(pipeline="clinic", version="3")
NOT_BLESSED = RunNotBlessed(pipeline="clinic", failures=["dice_mean on overall: is 0.5, must be at least 0.9"])
REFUSED = DataRefused(pipeline="clinic", case="a leak")
STOPPED = RunInterrupted(pipeline="clinic", by="SIGTERM")


def failed(component: str | None, cause: str = "ValueError") -> RunFailed:
    return RunFailed(pipeline="clinic", component=component, cause=cause)


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ([("Pusher", BLESSED)], [BLESSED]),
        ([("Pusher", NOT_BLESSED)], [NOT_BLESSED]),
        ([("ChangeDetector", UNCHANGED)], [UNCHANGED]),
        ([("DataGate", REFUSED)], [REFUSED]),
        ([("Trainer", STOPPED)], [STOPPED]),
        ([("Pusher", BLESSED), ("Reporter", failed("Reporter"))], [BLESSED, failed("Reporter")]),
        ([("Pusher", NOT_BLESSED), ("Reporter", None)], [NOT_BLESSED, failed("Reporter", KILLED)]),
        ([("Trainer", None)], [failed("Trainer", KILLED)]),
        ([("Evaluator", failed("Evaluator")), ("ServingProbe", failed("ServingProbe"))], [failed("Evaluator")]),
        ([], [failed(None, "no step says why; Kubeflow's state of them is FAILED")]),
    ],
)
def test_an_end(tmp_path: Path, left: list[tuple[str, RunEvent | None]], expected: list[RunEvent]) -> None:
    notes = RunNotes(tmp_path, "run-1")
    for component, event in left:
        notes.leave(component, event)
    told = end_of(notes.read(), "clinic", "FAILED")
    assert [(type(event), event) for event in told] == [(type(event), event) for event in expected]


@pytest.mark.parametrize("state", ["COMPLETE", "SUCCEEDED"])
def test_nobody_guesses_with_what_a_run_ended_well(state: str) -> None:
    assert end_of([], "clinic", state) == []


def test_a_later_attempt_counts(tmp_path: Path) -> None:
    notes = RunNotes(tmp_path, "run-1")
    for event in (None, failed("Trainer"), None):
        notes.leave("Trainer", event)
    (note,) = notes.read()
    assert (note.component, note.event) == ("Trainer", None)
    notes.withdraw("Trainer")
    notes.withdraw("Trainer")
    assert notes.read() == []


def test_runs_do_not_meet(tmp_path: Path) -> None:
    one, other = RunNotes(tmp_path, "run-1"), RunNotes(tmp_path, "run-2")
    one.leave("Trainer", None)
    assert other.read() == []
    assert [one.mark("started"), one.mark("started"), other.mark("started")] == [True, False, True]
    assert (one.is_marked("started"), one.is_marked("ended")) == (True, False)


def test_each_kind_of_event_is_known() -> None:
    assert set(EVENTS.values()) == set(RunEvent.__subclasses__())
