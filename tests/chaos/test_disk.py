"""A disk that is full, or may no longer be written, while a component is at work."""

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from watched import WatchedRun, check_whole, finished

from schema.reports.result import RunResult

pytestmark = pytest.mark.chaos

COMPONENTS = ("ExampleGen", "Augmenter", "Transform", "Trainer", "Evaluator", "Pusher", "Reporter")

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


def fill(disk: Path) -> Path:
    """Leave no byte free; return the file to delete for it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


def test_a_full_disk_costs_one_line_in_each_component(data: Path, undisturbed: RunResult, disk: Path) -> None:
    root = disk / "root"
    for component in COMPONENTS:
        run = WatchedRun(data, root)
        assert run.wait_for(component), "\n".join(run.lines)
        filler = fill(disk)
        code = run.end()
        _LOG.info("full in %s: hit %s, %d: %s", component, run.at, code, run.last)
        assert code in (1, 2), "\n".join(run.lines)
        assert run.last.startswith("lungseg: ")
        assert "Traceback" not in "\n".join(run.lines)
        filler.unlink()
        check_whole(root)
    code, output = finished(data, root)
    assert code == 0, output
    assert RunResult.read(root).slices == undisturbed.slices
    check_whole(root)
    assert [path.name for path in (root / "serving").iterdir() if path.is_dir()] == ["1"]
