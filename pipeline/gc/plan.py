"""Decides what stays and what goes: a pure function of a picture of the root.

What serves, what was withdrawn, and what either was compared with keep all that they were made of; an earlier version
keeps what judged it. Runs keep all that they used. The rest goes.

    >>> [decision.reason for decision in plan(picture, Limits(keep=3), now) if not decision.keep]
    ['of the run of 2026-11-02 09:30, not blessed, and of no later one', 'left by a step that was killed']
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pipeline.gc.picture import Item, Leftover, PastRun, Picture, Step

_ABANDONED_AFTER: Final = timedelta(days=7)
"""A checkpoint that no training has written for as long is nobody's, where no store tells of runs."""


@dataclass(frozen=True)
class Limits:
    """What the user chose."""

    keep: int
    """How many of the last complete runs of each pipeline to keep, 1 or more, with all that was begun since."""
    older_than: timedelta | None = None
    """Nothing goes that is younger."""
    max_bytes: int | None = None
    """Of all that is decided on: where more would stay, further runs go, the oldest first, but the newest."""


@dataclass(frozen=True)
class Decision:
    """What becomes of an item."""

    item: Item
    keep: bool
    reason: str


def plan(picture: Picture, limits: Limits, now: datetime) -> list[Decision]:
    """Decide on all that a picture shows; of steps, those come first that are made of others.

    Args:
        picture: Of the root.
        limits: What the user chose.
        now: The time from which ages count.
    """
    runs = [run for run in picture.runs if _is_kept(run, picture.runs, limits, now)]
    while True:
        decisions = _decide(picture, runs, limits, now)
        stays = sum(decision.item.bytes for decision in decisions if decision.keep)
        if limits.max_bytes is None or stays <= limits.max_bytes or len(runs) <= 1:
            return decisions
        if _is_young(runs[0].started, limits, now):
            return decisions
        del runs[0]


def _is_kept(run: PastRun, runs: Iterable[PastRun], limits: Limits, now: datetime) -> bool:
    complete = [other.started for other in runs if other.complete and other.pipeline == run.pipeline]
    among_last = len(complete) < limits.keep or run.started >= complete[-limits.keep]
    return among_last or _is_young(run.started, limits, now)


def _is_young(time: datetime, limits: Limits, now: datetime) -> bool:
    return limits.older_than is not None and now - time <= limits.older_than


def _decide(picture: Picture, runs: list[PastRun], limits: Limits, now: datetime) -> list[Decision]:
    """Decide with the runs that are kept, of which the oldest comes first."""
    held = _held_by_versions(picture)
    for run in reversed(runs):
        for execution in _made_of(run.uses, picture.steps):
            held.setdefault(execution, f"used by {run.words}")
    last_use = {execution: run for run in picture.runs for execution in run.uses}
    decisions = [Decision(step, False, "half removed by a clean-up that was cut off") for step in picture.half_removed]
    for execution, step in sorted(picture.steps.items(), reverse=True):
        last = last_use.get(execution)
        gone = f"of {last.words}, and of no later one" if last else "of no run that is known"
        decisions.append(Decision(step, execution in held, held.get(execution, gone)))
    return decisions + [
        _decide_on_leftover(leftover, picture.runs, runs, limits, now) for leftover in picture.leftovers
    ]


def _held_by_versions(picture: Picture) -> dict[int, str]:
    """Return the executions that versions of the serving folder need, with the reason."""
    held: dict[int, str] = {}
    compared: dict[int, int] = {}
    for standing, reason in (("serves", "version {} serves"), ("withdrawn", "version {} is withdrawn")):
        for version in (version for version, is_ in picture.versions.items() if is_ == standing):
            for execution in _whole(version, picture):
                held.setdefault(execution, reason.format(version))
                if (baseline := picture.steps[execution].baseline) is not None:
                    compared.setdefault(baseline, version)
    for baseline, version in compared.items():
        for execution in _whole(baseline, picture):
            held.setdefault(execution, f"version {baseline} is what version {version} was compared with")
    for version in picture.versions:
        for execution in _judged(version, picture):
            held.setdefault(execution, f"judgement of version {version}")
    return held


def _whole(version: int, picture: Picture) -> set[int]:
    """Return all executions that a version is made of and judged by: those of its run, with what they are made of."""
    push = _push(version, picture)
    run = next((run for run in picture.runs if push and push.execution in run.uses), None)
    return _made_of(_judged(version, picture) | (run.uses if run else set()), picture.steps)


def _judged(version: int, picture: Picture) -> set[int]:
    """Return the execution that pushed a version, with those that it took from and that report it."""
    push = _push(version, picture)
    if push is None:
        return set()
    reports = {step.execution for step in picture.steps.values() if push.execution in step.takes}
    return ({push.execution} | push.takes | reports) & picture.steps.keys()


def _push(version: int, picture: Picture) -> Step | None:
    """Return what pushed a version; of several, which found the same model, the last."""
    pushes = [step for step in picture.steps.values() if step.pushed == version]
    return max(pushes, key=lambda step: step.execution, default=None)


def _made_of(executions: Iterable[int], steps: dict[int, Step]) -> set[int]:
    """Return executions, as far as they are still there, with all that they are made of."""
    found: set[int] = set()
    waiting = list(executions)
    while waiting:
        execution = waiting.pop()
        if execution in steps and execution not in found:
            found.add(execution)
            waiting += steps[execution].takes
    return found


def _decide_on_leftover(
    leftover: Leftover, runs: Iterable[PastRun], kept: list[PastRun], limits: Limits, now: datetime
) -> Decision:
    if _is_young(leftover.changed, limits, now):
        return Decision(leftover, True, f"{leftover.reason}, lately")
    if not leftover.resumes:
        return Decision(leftover, False, leftover.reason)
    run = next((run for run in reversed(list(runs)) if run.started <= leftover.changed), None)
    if run is None:
        recent = limits.older_than is None and now - leftover.changed <= _ABANDONED_AFTER
        return Decision(leftover, recent, f"{leftover.reason}, {'lately' if recent else 'which nobody went on with'}")
    return Decision(leftover, run in kept, f"{leftover.reason} in {run.words}")
