"""What the tests of faults share: a few small images, and a run that nothing has happened to."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import lungseg
from watched import finished

from schema.reports.result import RunResult


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    assert lungseg("phantoms", "--output", folder / "images", "--count", 24, "--size", 64).returncode == 0
    arguments = ("--layout", "folder", "--input", folder / "images", "--output", folder / "data", "--size", 64)
    assert lungseg("ingest", *arguments).returncode == 0
    return folder / "data"


@pytest.fixture(scope="session")
def reference(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a run that nothing has happened to; not to be changed."""
    root = tmp_path_factory.mktemp("reference") / "root"
    code, output = finished(data, root)
    assert code == 0, output
    return root


@pytest.fixture(scope="session")
def undisturbed(reference: Path) -> RunResult:
    """What each run has to come to."""
    return RunResult.read(reference)


@pytest.fixture
def root(reference: Path, tmp_path: Path) -> Iterator[Path]:
    """The same root, which may be damaged: it is put back afterwards, in its place, which its metadata name."""
    shutil.copytree(reference, tmp_path / "saved")
    yield reference
    shutil.rmtree(reference)
    (tmp_path / "saved").rename(reference)
