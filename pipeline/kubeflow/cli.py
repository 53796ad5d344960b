"""`lungseg kubeflow`: the same pipeline on Kubeflow Pipelines. What takes time to import stands in the commands."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pipeline.cli_options import (
    Arms,
    ConfigName,
    External,
    Folds,
    Seeds,
    Set,
    Span,
    Spans,
    read_config,
    split_assignment,
)
from pipeline.errors import UserError
from pipeline.kubeflow.cron import CRON_EXAMPLE, check_cron, cron_in_words, when

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.config import Config
    from pipeline.kubeflow.client import Client, Job
    from pipeline.kubeflow.schedule import Schedule
    from pipeline.study.plan import StudyPlan


app = typer.Typer(help="Compile the pipeline for Kubeflow Pipelines, run it there, schedule it.", no_args_is_help=True)
schedule = typer.Typer(help="Run a compiled pipeline again and again.", no_args_is_help=True)
app.add_typer(schedule, name="schedule")

_ROOT: Final = Path("/lungseg")  # where README.md has the steps mount the volume
_DATA: Final = _ROOT / "data"

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
EndRuns = Annotated[
    bool,
    typer.Option("--end-runs", help="Runs under way may end with the old schedule, as before Kubeflow Pipelines 2.16."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


@app.command("compile")
def compile_(
    context: typer.Context,
    image: Annotated[str, typer.Option(help="Of the steps' containers, as the cluster's nodes pull it.")],
    config: ConfigName = "cpu",
    data: Annotated[
        Path | None,
        typer.Option(help=f"Folder with span-N/, as the steps see it; {_DATA}, if nothing names one."),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder that runs share, as the steps see it: serving/, checkpoints/; {_ROOT}, if nothing names one."
        ),
    ] = None,
    span: Span = None,
    spans: Spans = None,
    external: External = None,
    set_: Set = None,
    study: Annotated[bool, typer.Option("--study", help="What `lungseg study` does, instead of a run.")] = False,
    arms: Arms = "copies",
    seeds: Seeds = 3,
    folds: Folds = None,
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("pipeline.yaml"),
) -> None:
    """Write the pipeline as YAML for Kubeflow Pipelines v2; needs no cluster."""
    for option in ("arms", "seeds", "folds"):
        source = context.get_parameter_source(option)
        if not study and source is not None and source.name == "COMMANDLINE":
            raise UserError(f"--{option} is of studies: add --study, or leave it out")
    loaded = read_config(config, set_, data, root, external, span, spans, default_data=_DATA, default_root=_ROOT)
    with _console() as console:
        plan = _plan(console, loaded, arms, seeds, folds) if study else None
        from pipeline.kubeflow.compiler import compile_pipeline

        compile_pipeline(loaded, image, output, plan)
        if plan:
            from pipeline.study.progress import count

            _say(console, f"a study: {count(plan)}")
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
            help=f"Six fields, seconds first, such as '{CRON_EXAMPLE}'; in the cluster's time zone, UTC as it comes."
        ),
    ],
    experiment: Experiment = None,
    param: Param = None,
    pipeline_root: PipelineRoot = None,
    namespace: Namespace = None,
    token_file: TokenFile = None,
    cookies_file: CookiesFile = None,
    end_runs: EndRuns = False,
    dry_run: DryRun = False,
) -> None:
    """Start runs at set times, from this very file; one run at a time, missed times left out."""
    with _console() as console:
        cron = check_cron(cron)
        job = _job(pipeline, experiment, param, pipeline_root)
        client = _connect(console, host, namespace, token_file, cookies_file, dry_run)
        change = client.set_schedule(name, cron, job, end_runs=end_runs)
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
    end_runs: EndRuns = False,
) -> None:
    """Remove a schedule; runs under way go on."""
    with _console() as console:
        _connect(console, host, namespace, token_file, cookies_file).delete(name, end_runs=end_runs)
        _say(console, f"schedule {name} deleted")


@contextmanager
def _console() -> "Iterator[Console]":
    from pipeline.console import terminal

    with terminal() as console:
        yield console


def _plan(console: "Console", config: "Config", arms: str, seeds: int, folds: int | None) -> "StudyPlan":
    """Plan a study, checked as `lungseg study` checks it; the data, where this machine has the folders."""
    from pipeline.commands.run import check_data
    from pipeline.study.arms import checked_arms

    checked = checked_arms(arms, config, seeds)
    from pipeline.study.folds import check_folds
    from pipeline.study.plan import StudyPlan

    data = config.data
    for folder, span in {data.root: data.span, **dict.fromkeys(data.external.values())}.items():
        if folder.is_dir():
            check_data(folder, span)
        else:
            _say(console, f"'{folder}' is not on this machine: what lies there is not checked")
    if folds is not None:
        if data.root.is_dir():
            check_folds(config, folds)
        else:
            _say(console, f"whether the patients are enough for {folds} folds is not checked either")
    return StudyPlan(config, checked, seeds, folds)


def _show(console: "Console", schedules: "Sequence[Schedule]") -> None:
    from rich.table import Table
    from rich.text import Text

    if not schedules:
        _say(console, "no schedules")
        return
    table = Table()
    for title in ("schedule", "when", "state", "version", "parameters", "created"):
        table.add_column(title, overflow="fold")
    for schedule in schedules:
        parameters = "\n".join(f"{name}={value}" for name, value in sorted(schedule.parameters.items()))
        created = f"{schedule.created:%Y-%m-%d %H:%M}" if schedule.created else ""
        state = "active" if schedule.active else "paused"
        row = (schedule.name, when(schedule.cron), state, schedule.version, parameters, created)
        # Not as plain strings: `:x:` would become a picture.
        table.add_row(*map(Text, row))
    console.print(table)


def _job(pipeline: Path, experiment: str | None, param: list[str] | None, pipeline_root: str | None) -> "Job":
    from pipeline.kubeflow.client import Job
    from pipeline.kubeflow.package import parse_parameters, read_package

    package = read_package(pipeline)
    parameters: dict[str, str] = {}
    for assignment in param or []:
        name, value = split_assignment("--param", assignment, "NAME=VALUE")
        if name in parameters:
            raise UserError(f"--param {name}: is given twice")
        parameters[name] = value
    if pipeline_root and not re.match("(minio|s3|gs)://.", pipeline_root):
        raise UserError(f"--pipeline-root {pipeline_root}: Kubeflow takes minio://, s3:// and gs://")
    root = pipeline_root or package.pipeline_root
    return Job(package, parse_parameters(package, parameters), experiment or package.name, root)


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
