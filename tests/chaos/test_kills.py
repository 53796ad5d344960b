"""One root, whose run is killed again and again, until one may go to its end.

`CHAOS_KILLS` says how often, `CHAOS_SEED` what the first kill is drawn by; each next one is drawn by the next number.
The kills are spread evenly over the components; how far into a component a kill comes is drawn.
"""

import json
import logging
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import lungseg
from watched import WatchedRun, check_ends_as, check_whole

from schema.reports.result import ComponentResult, RunResult

pytestmark = pytest.mark.chaos

KILLS = int(os.environ.get("CHAOS_KILLS", "20"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kill:
    """When to kill."""

    seed: int
    component: str
    seconds: float
    """After its start."""


def plan(components: list[ComponentResult], kills: int, first_seed: int) -> list[Kill]:
    """Draw the kills, in the order of the components, so that each run comes as far as its own."""
    targets = [components[index * len(components) // kills] for index in range(kills)]
    return [
        Kill(seed, target.id, random.Random(seed).random() * target.seconds)  # noqa: S311
        for seed, target in enumerate(targets, start=first_seed)
    ]


def test_killed_again_and_again_it_ends_the_same(data: Path, undisturbed: RunResult, tmp_path: Path) -> None:
    root = tmp_path / "root"
    killed = 0
    for kill in plan(undisturbed.components, KILLS, SEED):
        run = WatchedRun(data, root)
        if run.wait_for(kill.component):
            time.sleep(kill.seconds)
            run.send(signal.SIGKILL)
        code = run.end()
        killed += code == -signal.SIGKILL
        _LOG.info("seed %d: %s after %.2f s: hit %s", kill.seed, kill.component, kill.seconds, run.at)
        assert code in (0, -signal.SIGKILL), "\n".join(run.lines)
        check_whole(root)
    _LOG.info("%d of %d were killed", killed, KILLS)
    assert killed > 0.8 * KILLS, "the others had ended before"

    check_ends_as(undisturbed, data, root)
    runs = json.loads(lungseg("history", "--root", root, "--json").stdout)
    statuses = [run["status"] for run in runs]
    assert 1 < len(statuses) <= KILLS + 1, "a run that was killed at once has left nothing to tell"
    assert set(statuses) <= {"unfinished", "blessed", "unchanged"}
    assert statuses[-1] != "unfinished"
