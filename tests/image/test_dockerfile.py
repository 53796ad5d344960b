"""What can be told of the image without building it."""

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def locked(name: str) -> set[str]:
    """The versions that a lock file holds, as `name==version ; marker`."""
    return set(re.findall(r"^[a-z0-9.-]+==[^\\\n]+", (REPOSITORY / name).read_text(), re.MULTILINE))


def test_the_dockerfile_is_clean() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_gpus_need_more_libraries_but_no_other_versions() -> None:
    names = {
        re.split("==| ;", requirement)[0] for requirement in locked("requirements-gpu.txt") - locked("requirements.txt")
    }
    assert {"nvidia-cudnn-cu12", "nvidia-nccl-cu12"} <= names
    assert all(name.startswith("nvidia-") for name in names)
    assert locked("requirements.txt") <= locked("requirements-gpu.txt")


def test_only_what_is_named_reaches_the_build() -> None:
    rules = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == {
        "LICENSE",
        "README.md",
        "components",
        "modules",
        "pipeline",
        "pyproject.toml",
        "requirements*.txt",
        "requirements.in",
        "schema",
    }
