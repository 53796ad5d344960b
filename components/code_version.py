"""Identifies code by what is imported, as a part of cache keys.

>>> code_version("modules.training.trainer")
'5d41402abc4b2a76'

A changed chart then retrains no model; a changed record does.
"""

import ast
import functools
import hashlib
from importlib import metadata
from pathlib import Path
from typing import Final

MODEL_CODE: Final = (
    "components.augmenter.executor",
    "components.transform.executor",
    "modules.preprocessing.transform",
    "modules.training.trainer",
    "modules.training.tuner",
    "components.evaluator.executor",
)
"""What, with all that it imports, makes a model of examples and judges it."""

RUN_CODE: Final = (
    *MODEL_CODE,
    "components.example_gen.executor",
    "components.record_validator.executor",
    "components.example_validator.executor",
    "components.data_gate.executor",
    "components.serving_probe.executor",
)
"""The same of data as they are delivered: what reads, checks and refuses them, and what tries the model."""

_ROOT: Final = Path(__file__).parent.parent
_PACKAGES: Final = frozenset({"schema", "modules", "components", "pipeline"})
_LIBRARIES: Final = ("tensorflow", "keras", "tensorflow-transform", "albumentations", "opencv-python-headless")
_DATA: Final = (".pbtxt", ".j2", ".css")
"""Files that code reads from its own folder."""


@functools.cache
def code_version(*modules: str, without: frozenset[str] = frozenset()) -> str:
    """Hash the source of modules, of all modules of this project that they import, and the versions of libraries.

    Args:
        *modules: Dotted names.
        without: Dotted names of modules that do not count, with what they alone import.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for library in _LIBRARIES:
        digest.update(metadata.version(library).encode())
    for path in sorted(source_files(*modules, without=without)):
        digest.update(path.relative_to(_ROOT).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def source_files(*modules: str, without: frozenset[str] = frozenset()) -> set[Path]:
    """Find the files that modules consist of: their own, those of what they import, and data in the same folders.

    Imports are read from the source, so that those within functions count as well.
    """
    files: set[Path] = set()
    pending = list(modules)
    while pending:
        name = pending.pop()
        path = _path_of(name)
        if path is not None and path not in files and name not in without:
            files.add(path)
            pending += _imports(path.read_bytes())
    folders = {path.parent for path in files}
    data = (path for folder in folders for path in (*folder.glob("*"), *folder.glob("templates/*")))
    return files | {path for path in data if path.suffix in _DATA}


def _path_of(name: str) -> Path | None:
    """Return the file of a module of this project; None where the name is none, such as that of a function."""
    if name.partition(".")[0] not in _PACKAGES:
        return None
    place = _ROOT.joinpath(*name.split("."))
    candidates = (place.with_name(f"{place.name}.py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@functools.cache  # most files are asked for by several components
def _imports(source: bytes) -> list[str]:
    """List the names that a source imports, each with the packages above it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            found += [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
    return found
