"""Which module may import which, and how many of them a folder holds."""

import ast
import graphlib
from collections import Counter
from pathlib import Path

import pytest

from components import code_version

ROOT = Path(code_version.__file__).parents[1]
LAYERS = ("schema", "modules", "components", "pipeline")
"""Each imports itself and those before it."""
SOURCES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
MOST_FILES = 15


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Modules of the product that a file imports, also those within functions."""
    imports = (code_version._path_of(name) for name in code_version._imports(path.read_bytes()))
    return {name_of(imported) for imported in imports if imported is not None and imported != path}


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_one_way(layer: str) -> None:
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    wrong = {
        f"{name_of(path)} imports {imported}"
        for path in (ROOT / layer).rglob("*.py")
        for imported in imports_of(path)
        if imported.partition(".")[0] not in allowed
    }
    assert not wrong


def test_no_import_is_relative() -> None:
    """The version of code would not see it."""
    nodes = ((path, node) for path in SOURCES for node in ast.walk(ast.parse(path.read_bytes())))
    assert not [name_of(path) for path, node in nodes if isinstance(node, ast.ImportFrom) and node.level]


def test_no_modules_import_each_other() -> None:
    graph = {name_of(path): imports_of(path) for path in SOURCES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_no_folder_is_crowded() -> None:
    files = Counter(path.parent.relative_to(ROOT).as_posix() for path in SOURCES)
    assert not {folder: number for folder, number in files.items() if number > MOST_FILES}
