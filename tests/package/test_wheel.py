"""The wheel: it holds all of the code, and with the locked libraries alone beside it, it does the whole job."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("schema", "modules", "components", "pipeline")
SOURCES = ("pyproject.toml", "requirements.in", "README.md", "LICENSE", *PACKAGES)
UV = Path(sys.executable).with_name("uv")

COMMANDS = (
    ("--help",),
    ("phantoms", "--output", "images", "--count", "80", "--size", "128"),
    ("ingest", "--layout", "folder", "--input", "images", "--output", "data", "--size", "128"),
    (
        *("run", "--config", "demo", "--data", "data", "--root", "run", "--set", "evaluate.min_patients=1"),
        *("--set", "evaluate.rules=[{metric: dice_mean, at_least: 0.1}]", "--set", "train.epochs=1"),
        *("--set", "model.image_size=32", "--set", "model.levels=2", "--set", "train.warmup=0"),
    ),
)


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command that is not told of this environment."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that is built beside the sources, so that no earlier build finds its way into it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, folder / name)
    run(UV, "build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", "dist", cwd=folder)
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Path]:
    """An environment of the locked libraries; it takes 3 GB, which are given back."""
    folder = tmp_path / "environment"
    python = folder / "bin/python"
    run(UV, "venv", "--python", sys.executable, folder, cwd=tmp_path)
    run(UV, "pip", "sync", "--require-hashes", "--python", python, REPOSITORY / "requirements.txt", cwd=tmp_path)
    yield folder
    shutil.rmtree(folder)


def test_every_file_of_the_code_is_in_it(wheel: Path) -> None:
    files = (path for name in PACKAGES for path in (REPOSITORY / name).rglob("*") if path.is_file())
    code = {str(path.relative_to(REPOSITORY)) for path in files if path.suffix not in {".pyc", ".md"}}
    with ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == code


def test_it_says_what_it_is(wheel: Path) -> None:
    name, version, *_ = wheel.name.split("-")
    with ZipFile(wheel) as archive:
        metadata = message_from_bytes(archive.read(f"{name}-{version}.dist-info/METADATA"))
        assert archive.read(f"{name}-{version}.dist-info/licenses/LICENSE") == (REPOSITORY / "LICENSE").read_bytes()
    assert (metadata["Name"], metadata["License-Expression"]) == ("lungseg", "Apache-2.0")
    required = {line for line in (REPOSITORY / "requirements.in").read_text().splitlines() if not line.startswith("#")}
    assert len(metadata.get_all("Requires-Dist", [])) == len(required)


@pytest.mark.nightly
def test_it_does_the_whole_job(wheel: Path, environment: Path, tmp_path: Path) -> None:
    run(UV, "pip", "install", "--no-deps", "--python", environment / "bin/python", wheel, cwd=tmp_path)
    for command in COMMANDS:
        run(environment / "bin/lungseg", *command, cwd=tmp_path)
    assert json.loads((tmp_path / "run/result.json").read_text())["status"] == "blessed"
    assert (tmp_path / "run/serving/1/saved_model.pb").stat().st_size > 0
