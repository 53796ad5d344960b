"""What lies under a root, as far as `lungseg gc` may judge it: steps, runs, versions and leftovers."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from schema.reports.serving import Standing


@dataclass(frozen=True, kw_only=True)
class Item:
    """What stays or goes as a whole."""

    name: str
    """A path under the root, or that of a step's node with the number of its execution."""
    paths: tuple[Path, ...]
    """All that goes; some may be gone already."""
    bytes: int
    changed: datetime
    artifacts: tuple[int, ...] = ()
    """Ids, in the store, of what lies there."""


@dataclass(frozen=True, kw_only=True)
class Step(Item):
    """What one execution made: the cache takes all of its outputs, or none."""

    execution: int
    takes: frozenset[int]
    """The executions that made its inputs."""
    pushed: int | None = None
    """The version of the serving folder that it says its model is."""
    baseline: int | None = None
    """The version that it took from the serving folder, for a candidate to be compared with."""


@dataclass(frozen=True, kw_only=True)
class Leftover(Item):
    """What no execution that succeeded has made."""

    reason: str
    """Why it is there, in words."""
    resumes: bool = False
    """Whether a training goes on from it that is repeated."""


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """One run or study."""

    started: datetime
    pipeline: str
    outcome: str
    """In words."""
    complete: bool
    """Whether it trained, or took trainings from the cache, and came to its end."""
    uses: frozenset[int]
    """The executions that made what it made, or found in the cache."""

    @property
    def words(self) -> str:
        """Name it."""
        return f"the run of {self.started:%Y-%m-%d %H:%M}, {self.outcome}"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A root."""

    steps: dict[int, Step] = field(default_factory=dict)
    """By execution."""
    half_removed: tuple[Step, ...] = ()
    """What a clean-up that was cut off has begun with."""
    runs: tuple[PastRun, ...] = ()
    """The oldest first; none where there is no store."""
    versions: dict[int, Standing] = field(default_factory=dict)
    leftovers: tuple[Leftover, ...] = ()
