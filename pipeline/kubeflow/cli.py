"""`lungseg kubeflow`: the same pipeline on Kubeflow Pipelines. What takes time to import stands in the commands."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli_options import ConfigName, External, Set, Span, Spans, read_config, split_assignment
from pipeline.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.kubeflow.client import Client, Job, Schedule

_NOWHERE = Path(os.devnull)
_EXAMPLE = "0 0 2 * * 1"

app = typer.Typer(help="Compile the pipeline for Kubeflow Pipelines, run it there, schedule it.", no_args_is_help=True)
schedule = typer.Typer(help="Run a compiled pipeline again and again.", no_args_is_help=True)
app.add_typer(schedule, name="schedule")

PipelineFile = Annotated[Path, typer.Argument(metavar="PIPELINE.yaml", help="A compiled pipeline.")]
Host = Annotated[str, typer.Option(metavar="URL", help="Where Kubeflow Pipelines answers.")]
Experiment = Annotated[str | None, typer.Option(metavar="NAME", help="By default the pipeline's name.")]
Param = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="A parameter of the pipeline; any number of them.")
]
PipelineRoot = Annotated[
    str | None, typer.Option(metavar="URI", help="Where Kubeflow keeps the artifacts, such as minio://bucket/folder.")
]
Namespace = Annotated[
    str | None, typer.Option(metavar="NS", help="Where several users share an installation: the namespace.")
]
TokenFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Holds a bearer token.")]
CookiesFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Holds the cookies of a login, NAME=VALUE.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be sent, and change nothing.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


@app.command("compile")
def compile_(
    image: Annotated[str, typer.Option(help="Of the steps' containers, as the cluster's nodes pull it.")],
    config: ConfigName = "cpu",
    data: Annotated[Path, typer.Option(help="Folder with span-N/, as the steps see it.")] = Path("/lungseg/data"),
    root: Annotated[Path, typer.Option(help="Folder that runs share, as the steps see it: serving/, checkpoints/.")] = (
        Path("/lungseg")
    ),
    span: Span = None,
    spans: Spans = None,
    external: External = None,
    set_: Set = None,
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("pipeline.yaml"),
) -> None:
    """Write the pipeline as YAML for Kubeflow Pipelines v2; needs no cluster."""
    loaded = read_config(config, set_, data, root, external, span, spans)
    with _console() as console:
        from pipeline.kubeflow.compiler import compile_pipeline

        compile_pipeline(loaded, image, output)
        _say(console, f"{loaded.name} compiled for Kubeflow Pipelines into {output}")


@app.command()
def submit(
    pipeline: PipelineFile,
    host: Host,
    experiment: Experiment = None,
    param: Param = None,
    pipeline_root: PipelineRoot = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    cookies_file: CookiesFile = None,
    dry_run: DryRun = False,
) -> None:
    """Start one run of a compiled pipeline."""
    with _console() as console:
        job = _job(pipeline, experiment, param, pipeline_root)
        run = _connect(console, host, namespace, token_file, cookies_file, dry_run).submit(job)
        if not dry_run:
            _say(console, f"run {run.run_id} of {job.package.name}, version {job.package.version}")
            _say(console, run.url)


@schedule.command("set")
def set_(
    pipeline: PipelineFile,
    host: Host,
    name: Annotated[str, typer.Option(help="The schedule's name; one that exists is re-pointed.")],
    cron: Annotated[
        str,
        typer.Option(
            help=f"Six fields, seconds first, such as '{_EXAMPLE}'; in the cluster's time zone, UTC as it comes."
        ),
    ],
    experiment: Experiment = None,
    param: Param = None,
    pipeline_root: PipelineRoot = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    cookies_file: CookiesFile = None,
    dry_run: DryRun = False,
) -> None:
    """Start runs at set times, from this very file; one run at a time, missed times left out."""
    with _console() as console:
        cron = check_cron(cron)
        job = _job(pipeline, experiment, param, pipeline_root)
        change = _connect(console, host, namespace, token_file, cookies_file, dry_run).set_schedule(name, cron, job)
        if change == "unchanged" or not dry_run:
            what = f"{job.package.name}, version {job.package.version}"
            _say(console, f"schedule {name} {change}: {cron_in_words(cron)}: {what}")


@schedule.command("list")
def list_(
    host: Host,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    cookies_file: CookiesFile = None,
) -> None:
    """List the schedules."""
    with _console() as console:
        _show(console, _connect(console, host, namespace, token_file, cookies_file).schedules())


@schedule.command()
def pause(
    name: Name,
    host: Host,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    cookies_file: CookiesFile = None,
) -> None:
    """Start no more runs; those under way go on."""
    with _console() as console:
        _connect(console, host, namespace, token_file, cookies_file).pause(name)
        _say(console, f"schedule {name} paused")


@schedule.command()
def resume(
    name: Name,
    host: Host,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    cookies_file: CookiesFile = None,
) -> None:
    """Start runs again; the last of the times missed is made up for at once."""
    with _console() as console:
        _connect(console, host, namespace, token_file, cookies_file).resume(name)
        _say(console, f"schedule {name} resumed")


@schedule.command()
def delete(
    name: Name,
    host: Host,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    cookies_file: CookiesFile = None,
) -> None:
    """Remove a schedule; runs under way go on (before Kubeflow Pipelines 2.16 they end with it)."""
    with _console() as console:
        _connect(console, host, namespace, token_file, cookies_file).delete(name)
        _say(console, f"schedule {name} deleted")


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)


def check_cron(cron: str) -> str:
    """Checks a cron expression as Kubeflow reads it (the dialect of robfig/cron, version 1).

    Kubeflow itself would take five fields too, but as seconds to months.

    Returns:
        The six fields, a space between them.

    Raises:
        UserError: their number is wrong, or one holds what it cannot.
    """
    fields = cron.split()
    if len(fields) == 5:
        msg = f"--cron: cron has five fields; Kubeflow's has six, seconds first: write '0 {' '.join(fields)}'"
        raise UserError(msg)
    if len(fields) != len(_FIELDS):
        all_names = ", ".join(name for name, *_ in _FIELDS)
        msg = f"--cron '{cron}': must have six fields ({all_names}), such as '{_EXAMPLE}', but has {len(fields)}"
        raise UserError(msg)
    for field, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        if not all(_fits(part, low, high, names) for part in field.split(",")):
            named = f" or {names[0]}-{names[-1]}" if names else ""
            msg = f"--cron '{cron}': the {name} is '{field}', must be made of {low}-{high}{named}, *, ?, ',', '-', '/'"
            raise UserError(msg)
    return " ".join(fields)


def _fits(part: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    """Whether it is `*`, `?`, a value or a range of them, with or without a step."""
    match = re.fullmatch(r"(?:[*?]|([0-9A-Za-z]+)(?:-([0-9A-Za-z]+))?)(?:/([0-9]+))?", part)
    if match is None or (match[3] or "1").strip("0") == "":
        return False
    ends = [
        names.index(end.upper()) + low if end.upper() in names else int(end) if end.isdigit() else -1
        for end in match.groups()[:2]
        if end is not None
    ]
    return ends == sorted(ends) and all(low <= end <= high for end in ends)


def cron_in_words(cron: str) -> str:
    """Says when a checked cron expression fires, such as `At 02:00, only on Monday`."""
    from cron_descriptor import Options, get_description  # type: ignore[import-untyped, unused-ignore]

    options = Options()
    options.use_24hour_time_format = True
    options.locale_code = "en_US"
    return str(get_description(cron, options))


def _when(cron: str | None) -> str:
    if cron is None:
        return "not by cron"
    try:
        return cron_in_words(check_cron(cron))
    except UserError:
        return cron


@contextmanager
def _console() -> "Iterator[Console]":
    from pipeline.console import terminal

    with terminal(_NOWHERE) as console:
        yield console


def _show(console: "Console", schedules: "Sequence[Schedule]") -> None:
    from rich.table import Table
    from rich.text import Text

    if not schedules:
        _say(console, "no schedules")
        return
    table = Table()
    for title in ("schedule", "when", "state", "version", "parameters", "created"):
        table.add_column(title, overflow="fold")
    for one in schedules:
        parameters = "\n".join(f"{name}={value}" for name, value in sorted(one.parameters.items()))
        created = f"{one.created:%Y-%m-%d %H:%M}" if one.created else ""
        state = "active" if one.active else "paused"
        # Not as plain strings: `:x:` would become a picture.
        table.add_row(*map(Text, (one.name, _when(one.cron), state, one.version, parameters, created)))
    console.print(table)


def _job(pipeline: Path, experiment: str | None, param: list[str] | None, pipeline_root: str | None) -> "Job":
    from pipeline.kubeflow.client import Job
    from pipeline.kubeflow.package import parse_parameters, read_package

    package = read_package(pipeline)
    given: dict[str, str] = {}
    for one in param or []:
        name, value = split_assignment("--param", one, "NAME=VALUE")
        if name in given:
            msg = f"--param {name}: is given twice"
            raise UserError(msg)
        given[name] = value
    if pipeline_root and not re.match("(minio|s3|gs)://.", pipeline_root):
        msg = f"--pipeline-root {pipeline_root}: Kubeflow takes minio://, s3:// and gs://"
        raise UserError(msg)
    root = pipeline_root or package.pipeline_root
    return Job(package, parse_parameters(package, given), experiment or package.name, root)


def _connect(
    console: "Console",
    host: str,
    namespace: str | None,
    token_file: Path | None,
    cookies_file: Path | None,
    dry_run: bool = False,
) -> "Client":
    from pipeline.kubeflow.client import Client
    from pipeline.kubeflow.transport import Access

    tell: Callable[[str], None] | None = (lambda line: _say(console, line)) if dry_run else None
    return Client(Access(host, namespace, token_file, cookies_file), tell=tell)


def _say(console: "Console", line: str) -> None:
    console.print(line, soft_wrap=True, emoji=False)
