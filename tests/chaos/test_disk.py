"""A disk that is full, or may be written no longer, while a component is at work."""

import logging
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from watched import WatchedRun, check_ends_as, check_whole

from schema.reports.result import RunResult

pytestmark = pytest.mark.chaos

_LOG = logging.getLogger(__name__)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "chaos", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs takes root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Leave no byte free."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    yield
    filler.unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """Let no file be opened for writing; those that are open already stay so."""
    view = disk.with_name("view")
    view.mkdir(exist_ok=True)
    # In its place a mount could not be made read-only while the run writes there: one that is already is put over it.
    for command in (("--bind", disk, view), ("-o", "remount,bind,ro", view), ("--bind", view, disk)):
        subprocess.run(("mount", *map(str, command)), check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", disk, view], check=True)


@pytest.mark.parametrize(
    ("fault", "components"),
    [
        (full, ("ExampleGen", "Augmenter", "Transform", "Trainer", "Evaluator", "Pusher", "Reporter")),
        (read_only, ("Augmenter", "Trainer", "Reporter")),
    ],
)
def test_it_costs_one_line_in_each_component(
    data: Path,
    undisturbed: RunResult,
    disk: Path,
    fault: Callable[[Path], AbstractContextManager[None]],
    components: tuple[str, ...],
) -> None:
    root = disk / "root"
    for component in components:
        run = WatchedRun(data, root)
        assert run.wait_for(component), "\n".join(run.lines)
        with fault(disk):
            code = run.end()
        _LOG.info("%s in %s: hit %s, %d: %s", fault.__name__, component, run.at, code, run.last)
        assert code in (1, 2), "\n".join(run.lines)
        assert run.last.startswith("lungseg: ")
        assert "Traceback" not in "\n".join(run.lines)
        check_whole(root)
    check_ends_as(undisturbed, data, root)
