"""What files outside the code say of it: versions, paths and commands are those that there are."""

import re
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
GUIDES = ["CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"]
CALLING_MAKE = [
    "README.md",
    "CONTRIBUTING.md",
    ".ci/run",
    ".github/PULL_REQUEST_TEMPLATE.md",
    ".github/workflows/ci.yml",
    ".github/workflows/nightly.yml",
]


def read(name: str) -> str:
    return (REPOSITORY / name).read_text()


def test_all_name_one_version() -> None:
    declared = re.findall(r'^version = "(.+)"$', read("pyproject.toml"), re.MULTILINE)
    released = re.findall(r"^## \[(\d.*)\] - (.+)$", read("CHANGELOG.md"), re.MULTILINE)
    citation = yaml.safe_load(read("CITATION.cff"))
    assert declared == [citation["version"]]
    assert released[0] == (citation["version"], citation["date-released"])


@pytest.mark.parametrize("name", GUIDES)
def test_paths_exist(name: str) -> None:
    paths = re.findall(r"`([\w.-]+/[\w./-]*)`", read(name))
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("name", CALLING_MAKE)
def test_targets_exist(name: str) -> None:
    targets = re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE)
    calls = re.findall(r"(?:^|`|sudo |exec |run: )make ([a-z][a-z -]*)", read(name), re.MULTILINE)
    called = {target for call in calls for target in call.split()}
    assert called
    assert called <= set(targets)
