"""All components of the preset `cpu` with no more memory than a small machine has."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import lungseg
from watched import WatchedRun, check_whole

from schema.reports.result import RunResult

pytestmark = pytest.mark.chaos

LIMIT = 3_000_000_000
SETTINGS = (
    *("--config", "cpu", "--set", "train.epochs=1", "--set", "evaluate.min_patients=1"),
    *("--set", "evaluate.rules=[{metric: dice_mean, at_least: 0}]"),
)

_LOG = logging.getLogger(__name__)


class Group:
    """A control group of processes, of either version of Linux's interface."""

    def __init__(self, name: str, limit: int) -> None:
        """Make it; raise OSError where that is not allowed."""
        base = Path("/sys/fs/cgroup")
        self._first = (base / "memory").is_dir()
        self._folder = (base / "memory" if self._first else base) / name
        self._folder.mkdir()
        self._write("memory.limit_in_bytes" if self._first else "memory.max", limit)

    def add(self, process: int) -> None:
        self._write("cgroup.procs", process)

    @property
    def peak(self) -> int:
        """The most memory that its processes and their files in the cache have had, bytes."""
        return int((self._folder / ("memory.max_usage_in_bytes" if self._first else "memory.peak")).read_text())

    def remove(self) -> None:
        self._folder.rmdir()

    def _write(self, name: str, value: int) -> None:
        (self._folder / name).write_text(str(value))


@pytest.fixture
def group() -> Iterator[Group]:
    try:
        made = Group(f"lungseg-chaos-{os.getpid()}", LIMIT)
    except OSError as error:
        pytest.skip(f"a control group of processes takes root: {error}")
    yield made
    made.remove()


def test_the_preset_cpu_with_3_gb(group: Group, tmp_path: Path) -> None:
    images, data, root = tmp_path / "images", tmp_path / "data", tmp_path / "root"
    assert lungseg("phantoms", "--output", images, "--count", 24).returncode == 0
    assert lungseg("ingest", "--layout", "folder", "--input", images, "--output", data).returncode == 0
    run = WatchedRun(data, root, settings=SETTINGS)
    group.add(run.pid)
    code = run.end()
    _LOG.info("with at most %d bytes: %d, at most %d at a time, cache included", LIMIT, code, group.peak)
    assert code == 0, "\n".join(run.lines)
    assert RunResult.read(root).status == "blessed"
    check_whole(root)
