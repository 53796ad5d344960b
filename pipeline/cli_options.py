"""Options that several commands share, and the configuration that they add up to."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from pipeline.errors import UserError
from pipeline.root import NOT_LOCAL, as_given, is_url

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pipeline.beam.settings import BeamSettings
    from pipeline.config import Config

ConfigName = Annotated[str, typer.Option(help="A preset (demo, cpu, best, gpu) or a YAML file.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace one value, such as train.epochs=3.")
]
External = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=DIR", help="A test set of another source, as `ingest` writes it; any number of them."),
]
Span = Annotated[int | None, typer.Option(help="The newest span to read; by default the latest there is.")]
Spans = Annotated[int | None, typer.Option(help="How many spans to read together, back from the newest; 1 by default.")]
Arms = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="What to compare: copies (with and without), policies, leave-one-out, numbers, normalizations, "
        "or a YAML file.",
    ),
]
Seeds = Annotated[int, typer.Option(min=1, help="How often to train each arm, each time with another seed.")]
Folds = Annotated[
    int | None, typer.Option(min=2, help="Test every patient, in so many parts, by models that never saw it.")
]


ValueT = TypeVar("ValueT")


class OutputFormat(str, Enum):
    """What masks are written as."""

    AUTO = "auto"
    PNG = "png"
    NIFTI = "nifti"
    DICOM_SEG = "dicom-seg"


class Overlays(str, Enum):
    """What outlines are drawn into."""

    PNG = "png"
    NONE = "none"


class Orchestrator(str, Enum):
    """Which of TFX's runners runs the graph on this machine."""

    LOCAL = "local"
    BEAM = "beam"


def read_config(
    name_or_path: str,
    assignments: list[str] | None,
    data: Path | None,
    root: Path | None,
    external: list[str] | None,
    span: int | None = None,
    spans: int | None = None,
    default_data: Path | None = None,
    default_root: Path = Path("lungseg-run"),
) -> "Config":
    """Read a configuration as the options of a command have it.

    Args:
        name_or_path: Of `ConfigName`.
        assignments: Of `Set`.
        data: Folder with `span-N/`.
        root: Folder for everything that is written.
        external: Of `External`.
        span: Of `Span`.
        spans: Of `Spans`.
        default_data: The folder of the data where neither the option nor the file names one; None demands one.
        default_root: The root where neither the option nor the file names one.

    Raises:
        UserError: An option, or what it names, is wrong.
    """
    from pipeline.config import load_config

    named: dict[str, JsonValue] = {"data.span": span, "data.spans": spans}
    overrides = _read_settings(assignments) | {key: value for key, value in named.items() if value is not None}
    folders = [
        split_assignment("--external", text, "NAME=DIR, such as other-hospital=data-of-it") for text in external or []
    ]
    if len(dict(folders)) < len(folders):
        raise UserError("--external: two sets have one name")
    return load_config(
        name_or_path,
        overrides,
        data=data,
        root=root,
        external={name: Path(folder) for name, folder in folders},
        default_data=default_data,
        default_root=default_root,
    )


def read_beam(assignments: list[str] | None, config: str | None = None) -> "BeamSettings":
    """Read the options of Beam, for commands that take nothing but the section `beam`.

    Args:
        assignments: Of `Set`.
        config: A preset or a YAML file, whose other sections are passed over.

    Raises:
        UserError: A key or value is wrong.
    """
    from pipeline.config import load_beam

    return load_beam(_read_settings(assignments), config)


def _read_settings(assignments: list[str] | None) -> "dict[str, JsonValue]":
    """Read `KEY=VALUE`, of which the value is YAML."""
    import yaml

    values: dict[str, JsonValue] = {}
    for assignment in assignments or []:
        key, text = split_assignment("--set", assignment, "KEY=VALUE, such as train.epochs=3")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"--set {key}: '{text}' is no YAML value") from error
        # YAML reads 1e-3 as text; JSON-like numbers are what a user means.
        values[key] = float(value) if isinstance(value, str) and _is_number(value) else value
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_local(parameter: typer.CallbackParam, value: ValueT) -> ValueT:
    """Refuse a URL where an option or argument has to be a file or folder that this machine sees."""
    for path in value if isinstance(value, list) else [value]:
        if isinstance(path, Path) and is_url(path):
            raise UserError(f"{parameter.name} '{as_given(path)}' {NOT_LOCAL}")
    return value


def split_assignment(option: str, assignment: str, form: str) -> tuple[str, str]:
    """Split `NAME=VALUE` into both; raise UserError, which names the option and the form, where it is none."""
    name, equals, value = assignment.partition("=")
    if not (name and equals):
        raise UserError(f"{option} {assignment}: must be {form}")
    return name, value
