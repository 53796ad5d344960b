"""How the environment is made where a fitting Python and uv are there or not; stand-ins for both are on PATH."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/setup-venv"
TOOLS = ("bash", "dirname", "env", "mktemp", "rm", "sed", "tail")
LOOKED_FOR = "lungseg needs Python 3.11 or 3.10; looked for: python3.11 python3.10 python3 python"
REMEDY = "Install one, or name it: make PYTHON=/path/to/python"

UV = f"""#!{sys.executable}
import os, pathlib, sys
with open(os.environ["CALLS"], "a") as calls:
    print(*sys.argv[1:], file=calls)
if sys.argv[1] == "venv":
    if "UNREACHABLE" in os.environ:
        sys.exit("error: Failed to install cpython-3.11\\n  cause: no route to host")
    python = pathlib.Path(sys.argv[-1], "bin/python")
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
"""
"""Notes what it is asked for."""

OTHER_VERSION = f"""#!{sys.executable}
import os, pathlib, shutil, sys
if "-c" in sys.argv:
    sys.exit(1)
target = pathlib.Path(sys.argv[sys.argv.index("--target") + 1], "bin")
target.mkdir(parents=True)
shutil.copy(os.environ["UV"], target)
"""
"""A Python that has pip, and is not of a version that lungseg runs on."""

WITHOUT_PIP = f"""#!{sys.executable}
import sys
sys.exit(None if "-c" in sys.argv else "No module named pip")
"""
"""A Python of a fitting version that can install nothing."""

STAND_IN = f"#!{sys.executable}\nimport sys\nsys.exit('python3.11: command not found')\n"

SetUp = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def set_up(tmp_path: Path) -> SetUp:
    """Runs the script: set_up({"uv": UV}, "python3.10", UNREACHABLE="") with programs on PATH, by name."""
    path = tmp_path / "path"
    path.mkdir()
    for tool in TOOLS:
        (path / tool).symlink_to(str(shutil.which(tool)))

    def write(program: Path, text: str) -> Path:
        program.write_text(text)
        program.chmod(0o755)
        return program

    def set_up(programs: dict[str, str], *interpreter: str, **variables: str) -> subprocess.CompletedProcess[str]:
        for name, text in programs.items():
            write(path / name, text)
        uv, calls = write(tmp_path / "uv", UV), tmp_path / "calls"
        environment = {"PATH": str(path), "UV": str(uv), "CALLS": str(calls), **variables}
        command: list[str | Path] = [SCRIPT, tmp_path / "venv", *interpreter]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    return set_up


def test_all_that_is_locked_is_installed(set_up: SetUp, tmp_path: Path) -> None:
    done = set_up({"python3.11": WITHOUT_PIP, "uv": UV})
    assert (done.returncode, done.stderr) == (0, "")
    venv = tmp_path / "venv"
    python = f"--python {venv}/bin/python"
    assert (tmp_path / "calls").read_text().splitlines() == [
        "--version",
        f"venv --quiet --clear --python {tmp_path}/path/python3.11 {venv}",
        f"pip sync --quiet --require-hashes {python} requirements.txt requirements-dev.txt",
        f"pip install --quiet --no-deps {python} --editable .",
    ]


@pytest.mark.parametrize(
    ("programs", "interpreter", "taken"),
    [
        ({"python3.11": STAND_IN, "python3": WITHOUT_PIP, "uv": UV}, [], "{path}/python3"),
        ({"python3.11": WITHOUT_PIP, "python3.10": WITHOUT_PIP, "uv": UV}, ["python3.10"], "{path}/python3.10"),
        ({"python3": OTHER_VERSION, "uv": UV}, [], "3.11"),
        ({"python3": OTHER_VERSION}, [], "3.11"),
        ({"uv": UV}, [], "3.11"),
    ],
    ids=["after a stand-in", "named", "other version", "uv from the index", "none"],
)
def test_the_interpreter_is_found_or_downloaded(
    set_up: SetUp, tmp_path: Path, programs: dict[str, str], interpreter: list[str], taken: str
) -> None:
    done = set_up(programs, *interpreter)
    assert (done.returncode, done.stderr) == (0, "")
    (asked,) = (line for line in (tmp_path / "calls").read_text().splitlines() if line.startswith("venv"))
    assert asked == f"venv --quiet --clear --python {taken.format(path=tmp_path / 'path')} {tmp_path / 'venv'}"


@pytest.mark.parametrize(
    ("programs", "interpreter", "message"),
    [
        (
            {},
            [],
            f"{LOOKED_FOR}; uv, which can download it, is not on PATH, and none of these can install it. {REMEDY}",
        ),
        ({"uv": UV}, [], f"{LOOKED_FOR}; uv could not download it: cause: no route to host. {REMEDY}"),
        (
            {"python3.9": STAND_IN, "uv": UV},
            ["python3.9"],
            f"lungseg needs Python 3.11 or 3.10; looked for: python3.9. {REMEDY}",
        ),
        (
            {"python3": WITHOUT_PIP},
            [],
            "{path}/python3 cannot install uv: No module named pip; on Debian and Ubuntu it may lack python3-venv",
        ),
    ],
    ids=["no uv", "no network", "named", "no pip"],
)
def test_what_fails_is_told_in_one_line(
    set_up: SetUp, tmp_path: Path, programs: dict[str, str], interpreter: list[str], message: str
) -> None:
    done = set_up(programs, *interpreter, UNREACHABLE="")
    assert done.returncode == 1
    assert done.stderr == f"{message.format(path=tmp_path / 'path')}\n"
    assert not (tmp_path / "venv").exists()
