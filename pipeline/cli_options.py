"""Options that several commands share, and the configuration that they add up to."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import UserError

if TYPE_CHECKING:
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


class Orchestrator(str, Enum):
    """Which of TFX's runners runs the graph on this machine."""

    LOCAL = "local"
    BEAM = "beam"


def read_config(
    name_or_path: str,
    assignments: list[str] | None,
    data: Path | None,
    root: Path,
    external: list[str] | None,
    span: int | None = None,
    spans: int | None = None,
) -> "Config":
    """Reads a configuration as the options of a command have it.

    Args:
        name_or_path: of `ConfigName`.
        assignments: of `Set`.
        data: folder with `span-N/`.
        root: folder for everything that is written.
        external: of `External`.
        span: of `Span`.
        spans: of `Spans`.

    Raises:
        UserError: an option, or what it names, is wrong.
    """
    from pipeline.config import load_config

    overrides = _split_settings(assignments)
    named = {"data.span": span, "data.spans": spans}
    overrides |= {key: str(value) for key, value in named.items() if value is not None}
    folders = [
        split_assignment("--external", one, "NAME=DIR, such as other-hospital=data-of-it") for one in external or []
    ]
    if len(dict(folders)) < len(folders):
        msg = "--external: two sets have one name"
        raise UserError(msg)
    sets = {name: Path(folder) for name, folder in folders}
    return load_config(name_or_path, overrides, data=data, root=root, external=sets)


def read_beam(assignments: list[str] | None) -> list[str]:
    """The options of Beam, for commands that take nothing but the section `beam` by `Set`.

    Raises:
        UserError: a key or value is wrong.
    """
    from pipeline.config import load_beam

    return load_beam(_split_settings(assignments)).arguments()


def _split_settings(assignments: list[str] | None) -> dict[str, str]:
    return dict(split_assignment("--set", one, "KEY=VALUE, such as train.epochs=3") for one in assignments or [])


def split_assignment(option: str, assignment: str, form: str) -> tuple[str, str]:
    """Name and value of `NAME=VALUE`; raises UserError, which names the option and the form, where it is none."""
    name, equals, value = assignment.partition("=")
    if not (name and equals):
        msg = f"{option} {assignment}: must be {form}"
        raise UserError(msg)
    return name, value
