"""The file that `lungseg kubeflow compile` writes: what it declares, and values for it from the command line."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UserError
from schema.suggestions import nearest

_SHORT = 12
"""Hexadecimal digits of a file's SHA-256 that name its version."""


@dataclass(frozen=True)
class Package:
    """A compiled pipeline."""

    path: Path
    name: str
    version: str
    """The first digits of the file's SHA-256: the same file is the same version."""
    parameters: Mapping[str, Mapping[str, Any]]
    """As `root.inputDefinitions.parameters` declares them."""
    pipeline_root: str | None = None
    """Where its artifacts go, if it says so; Kubeflow itself does not look there."""
    is_study: bool = False
    """Whether it compares arms."""
    tells_its_end: bool = False
    """Whether a last step is told how the others have ended."""

    @property
    def defaults(self) -> dict[str, Any]:
        """Values of the parameters that need not be given."""
        return {name: one["defaultValue"] for name, one in self.parameters.items() if "defaultValue" in one}


def read_package(path: Path) -> Package:
    """Read a compiled pipeline (PipelineSpec 2.1; a second document may hold the platform's part).

    Raises:
        UserError: It is missing, or no such file.
    """
    if path.suffix not in {".yaml", ".yml"}:
        raise UserError(f"{path}: must be a compiled pipeline named *.yaml")
    try:
        content = path.read_bytes()
        spec: Any = next(yaml.safe_load_all(content), None)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        spec = None
    try:
        name, schema = spec["pipelineInfo"]["name"], spec["schemaVersion"]
        parameters = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        pipeline_root = spec.get("defaultPipelineRoot")
        is_study = "StudyComparison" in spec.get("components", {})
        triggers = [task.get("triggerPolicy", {}) for task in spec["root"]["dag"]["tasks"].values()]
    except (TypeError, KeyError, AttributeError):
        raise UserError(f"{path}: is no compiled pipeline: make one with `lungseg kubeflow compile`") from None
    if schema != "2.1.0":
        raise UserError(f"{path}: has schema version {schema}, Kubeflow Pipelines takes 2.1.0: compile it again")
    return Package(
        path,
        name,
        hashlib.sha256(content).hexdigest()[:_SHORT],
        parameters,
        pipeline_root,
        is_study,
        tells_its_end=any("strategy" in trigger for trigger in triggers),
    )


def parse_parameters(package: Package, assignments: Mapping[str, str]) -> dict[str, Any]:
    """Bring values from the command line to the types that the pipeline declares.

    Raises:
        UserError: A parameter is unknown, has a value of another type, or is missing though it has no default.
    """
    known = package.parameters
    for name in assignments:
        if name not in known:
            if package.is_study and (reason := _why_no_study_has(name)):
                raise UserError(f"--param {name}: {package.path} is a study, which has no such parameter: {reason}")
            meant = nearest(name, known, similarity=0)
            hint = f"did you mean {meant}?" if meant else "it has no parameters"
            raise UserError(f"--param {name}: {package.path} has no such parameter: {hint}")
    given = {**package.defaults, **assignments}
    missing = [name for name, declared in known.items() if name not in given and not declared.get("isOptional")]
    if missing:
        raise UserError(f"{package.path}: parameters without a default must be given: --param {missing[0]}=VALUE")
    return {name: _parse(name, known[name].get("parameterType", "STRING"), text) for name, text in assignments.items()}


def _why_no_study_has(name: str) -> str | None:
    from pipeline.kubeflow.parameters import why_unfit  # takes as long to load as the configuration

    return why_unfit(name)


def _parse(name: str, kind: str, text: str) -> Any:
    if kind == "STRING":
        return text
    if kind == "NUMBER_INTEGER" and re.fullmatch(r"[+-]?[0-9]+", text):
        return int(text)
    if kind == "NUMBER_DOUBLE" and _is_finite(text):
        return float(text)
    if kind == "BOOLEAN" and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    forms = {"NUMBER_INTEGER": "a whole number", "NUMBER_DOUBLE": "a number", "BOOLEAN": "true or false"}
    wanted = f"must be {forms[kind]}" if kind in forms else f"of type {kind} cannot be given on the command line"
    raise UserError(f"--param {name}={text}: {wanted}")


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
