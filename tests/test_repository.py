"""What files outside the code say of it: versions, paths and commands are those that there are."""

import re
from pathlib import Path

import pytest
import yaml

from pipeline.config import Config

REPOSITORY = Path(__file__).parents[1]
FOLDERS = ("modules", "components", "pipeline", "tests")
PAGES = sorted([*REPOSITORY.glob("*.md"), *(page for name in FOLDERS for page in (REPOSITORY / name).rglob("*.md"))])
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "", page.read_text())
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_paths_exist(name: str) -> None:
    paths = re.findall(r"`([\w.-]+/[\w./-]*)`", read(name))
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


def test_settings_are_keys_that_there_are() -> None:
    keys = {key for page in PAGES for key in re.findall(r"--set '?([a-z_.]+[a-z_])=", page.read_text())}
    models = {name: field.annotation for name, field in Config.model_fields.items()}
    assert "train.epochs" in keys
    for section, key in (name.split(".")[:2] for name in keys):
        model = models[section]
        assert model is not None
        assert key in model.model_fields, f"{section}.{key}"


@pytest.mark.parametrize("name", CALLING_MAKE)
def test_targets_exist(name: str) -> None:
    targets = re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE)
    calls = re.findall(r"(?:^|`|sudo |exec |run: )make ([a-z][a-z -]*)", read(name), re.MULTILINE)
    called = {target for call in calls for target in call.split()}
    assert called
    assert called <= set(targets)
