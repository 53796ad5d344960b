"""The version of code: it changes with whatever the code imports, and with nothing else."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components import base, code_version
from components.augmenter.component import Augmenter
from components.baseline_resolver.component import BaselineResolver
from components.data_gate.component import DataGate
from components.evaluator.component import Evaluator
from components.example_validator.component import ExampleValidator
from components.pusher.component import Pusher
from components.record_validator.component import RecordValidator
from components.reporter.component import Reporter
from components.serving_probe.component import ServingProbe

ROOT = Path(code_version.__file__).parents[1]
COMPONENTS: tuple[type[base.Component], ...] = (
    RecordValidator, BaselineResolver, ExampleValidator, DataGate, Augmenter, Evaluator, ServingProbe, Pusher, Reporter,
)  # fmt: skip
TFX_COMPONENTS = {
    "ExampleGen": ("components.example_gen.executor", "components.example_gen.driver"),
    "Transform": ("components.transform.executor", "modules.preprocessing.transform"),
    "Trainer": ("modules.training.trainer",),
    "Tuner": ("modules.training.tuner",),
}
MAKE_OR_TRAIN = {"ExampleGen", "RecordValidator", "Augmenter", "Transform", "Tuner", "Trainer", "Evaluator"}

Versions = dict[str, str]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the product, whose versions are computed instead of its own."""
    for package in ("schema", "modules", "components"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_version, "_ROOT", tmp_path)
    yield tmp_path
    code_version.code_version.cache_clear()


def versions() -> Versions:
    code_version.code_version.cache_clear()
    ours = {
        kind.__name__: code_version.code_version(
            kind.EXECUTOR_SPEC.executor_class.__module__, without=kind.PRESENTATION
        )
        for kind in COMPONENTS
    }
    return {**ours, **{name: code_version.code_version(*modules) for name, modules in TFX_COMPONENTS.items()}}


@pytest.fixture(scope="module")
def original() -> Versions:
    return versions()


@pytest.fixture
def changed_by(original: Versions, tree: Path) -> Callable[[str], set[str]]:
    """Appends a line to files of the copy; tells whose version is another one then."""

    def append(pattern: str) -> set[str]:
        files = list(tree.glob(pattern))
        assert files
        for file in files:
            with file.open("a") as opened:
                opened.write("# a comment\n")
        after = versions()
        return {name for name, version in original.items() if after[name] != version}

    return append


@pytest.mark.usefixtures("tree")
def test_a_copy_has_the_version_of_the_original(original: Versions) -> None:
    assert versions() == original
    assert all(re.fullmatch("[0-9a-f]{16}", version) for version in original.values())


@pytest.mark.parametrize("pattern", ["components/reporter/*.py", "components/record_validator/thumbnails.py"])
def test_what_is_only_looked_at_makes_no_model_anew(changed_by: Callable[[str], set[str]], pattern: str) -> None:
    assert not changed_by(pattern) & MAKE_OR_TRAIN


def test_the_page_is_made_anew_with_its_template(changed_by: Callable[[str], set[str]]) -> None:
    assert changed_by("components/reporter/templates/*") == {"Reporter"}


def test_a_record_that_is_stored_otherwise(changed_by: Callable[[str], set[str]]) -> None:
    assert changed_by("schema/record.py") >= {"RecordValidator", "Augmenter", "Evaluator"}


def test_rules_judge_and_do_not_train(changed_by: Callable[[str], set[str]]) -> None:
    changed = changed_by("modules/evaluation/rules.py")
    assert "Evaluator" in changed
    assert not changed & {"Trainer", "Tuner", "Transform", "Augmenter", "RecordValidator"}


def test_a_network_that_is_built_otherwise(changed_by: Callable[[str], set[str]]) -> None:
    changed = changed_by("modules/network/unet.py")
    assert changed >= {"Trainer", "Tuner", "ServingProbe"}
    assert not changed & {"Transform", "Augmenter", "Evaluator", "RecordValidator"}


def test_the_schema_counts_where_it_is_read(changed_by: Callable[[str], set[str]]) -> None:
    assert changed_by("schema/schema.pbtxt") >= {"Augmenter", "Evaluator"}


@pytest.mark.parametrize(
    "statement",
    [
        "import schema.b",
        "from schema import b",
        "from schema.b import name",
        "def late():\n    from schema.b import name",
        "if TYPE_CHECKING:\n    import schema.b as other",
        "from modules.between import anything",
    ],
)
def test_every_way_to_import_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    files = {
        "modules/__init__.py": "",
        "modules/a.py": statement,
        "modules/between.py": "from schema import b as anything",
        "modules/unrelated.py": "import modules.a",
        "schema/__init__.py": "",
        "schema/b.py": "import schema.cycle\nname = 1",
        "schema/cycle.py": "import schema.b",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(code_version, "_ROOT", tmp_path)
    sources = {path.relative_to(tmp_path).as_posix() for path in code_version.source_files("modules.a")}
    assert sources >= {"modules/a.py", "schema/__init__.py", "schema/b.py", "schema/cycle.py"}
    assert "modules/unrelated.py" not in sources
    without = code_version.source_files("modules.a", without=frozenset({"schema.b"}))
    assert not {tmp_path / "schema/b.py", tmp_path / "schema/cycle.py"} & without
