"""The command line. Imports that take time stand in the commands that need them: `--help` answers at once."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from components.data_gate.errors import DataError
from pipeline.cli_options import (
    Arms,
    ConfigName,
    External,
    Folds,
    Orchestrator,
    OutputFormat,
    Overlays,
    Seeds,
    Set,
    Span,
    Spans,
    check_local,
    read_beam,
    read_config,
)
from pipeline.errors import FAILED, NOT_BLESSED, WRONG_INPUT, ComponentError, UserError
from pipeline.kubeflow.cli import app as kubeflow

OK = 0

_DEMO_IMAGES, _DEMO_SEED, _DEMO_SIZE = 240, 1, 256

app = typer.Typer(
    help="Train, judge and release lung segmentation models.",
    epilog="Exit codes: 0 done (and, for a run, blessed and pushed, or unchanged), 2 wrong input, 3 not blessed "
    "or the data not fit to train on, 1 anything else.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(kubeflow, name="kubeflow")

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Leave the libraries' output on the terminal.")]


@app.command()
def demo(
    root: Annotated[
        Path, typer.Option(help="Folder for everything that the demonstration makes.", callback=check_local)
    ] = Path("lungseg-demo"),
    verbose: Verbose = False,
) -> None:
    """Do the whole job on synthetic images: make them, ingest, train, judge, push."""
    from pipeline.root import check_root

    check_root(root)
    images, data = root / "phantoms", root / "data"
    if not images.exists():
        phantoms(images, count=_DEMO_IMAGES, seed=_DEMO_SEED, size=_DEMO_SIZE)
    if not (data / "span-1").exists():
        ingest("folder", str(images), str(data), size=_DEMO_SIZE)
    run(config="demo", data=data, root=root, verbose=verbose)


@app.command()
def phantoms(
    output: Annotated[Path, typer.Option(help="Folder to write to; must be new or empty.", callback=check_local)],
    count: Annotated[int, typer.Option(help="Number of images.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same images.")] = 0,
    size: Annotated[int, typer.Option(help="Side of the square images, pixels.")] = 512,
) -> None:
    """Draw synthetic chest radiographs with exact lung masks, as a plain image folder."""
    from pipeline.commands.phantoms import write_phantoms
    from pipeline.console import bar, terminal

    with terminal() as console:
        with bar(console, "Drawing phantoms", total=max(count, 0)) as advance_to:
            write_phantoms(output, count, seed, size, advance_to)
        console.print(f"{count} synthetic images with masks written to {output}", soft_wrap=True)


@app.command()
def ingest(
    layout: Annotated[
        str, typer.Option(help="How the input is laid out: folder, montgomery, shenzhen, jsrt, csv, ct or a plug-in.")
    ],
    input_: Annotated[
        str, typer.Option("--input", metavar="DIR|URL", help="Folder with images and masks; for csv, the CSV file.")
    ],
    output: Annotated[str, typer.Option(metavar="DIR|URL", help="Folder for the records; gets span-N/.")],
    span: Annotated[int, typer.Option(help="Number of the span to write.")] = 1,
    size: Annotated[int, typer.Option(help="Side to which images and masks are brought, pixels.")] = 512,
    source: Annotated[str | None, typer.Option(help="Hospital or data set, where the input names none.")] = None,
    max_rejected: Annotated[float, typer.Option(help="Share of bad files above which the ingest fails.")] = 0.05,
    patient_key: Annotated[
        Path | None,
        typer.Option(help="File with the key of the pseudonyms of DICOM's patients; or set LUNGSEG_PATIENT_KEY."),
    ] = None,
    empty_slices: Annotated[float, typer.Option(help="Share of a volume's slices without lung to keep.")] = 0.1,
    mapping: Annotated[
        str | None, typer.Option(metavar="FILE", help="YAML file that names the columns of a CSV file.")
    ] = None,
    labels: Annotated[str | None, typer.Option(metavar="N,N", help="Labels of the masks that are lung: 10,11.")] = None,
    unnamed_patients: Annotated[
        str,
        typer.Option(
            metavar="refuse|own",
            help="What becomes of images without a patient where a table names those of others: refused, or each a "
            "patient of its own.",
        ),
    ] = "refuse",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="beam.KEY=VALUE", help="Where Beam runs, such as beam.runner=dataflow."),
    ] = None,
) -> None:
    """Check images or volumes with masks and write them as records to train on."""
    from pipeline.console import bar, terminal
    from pipeline.ingest.formats.labels import parse_labels
    from pipeline.ingest.identity import load_key
    from pipeline.ingest.ingest import ingest as write_span

    beam, key, lung = read_beam(set_), load_key(patient_key), parse_labels(labels)
    with terminal() as console:
        with bar(console, "Writing files of records") as advance_to:
            report = write_span(
                layout,
                input_,
                output,
                span=span,
                size=size,
                source=source,
                max_rejected=max_rejected,
                patient_key=key,
                empty_slices=empty_slices,
                mapping=mapping,
                labels=lung,
                unnamed_patients=unnamed_patients,
                beam_args=beam.arguments(),
                progress=advance_to,
            )
        console.print(
            f"{report.found} files found: {report.records} records of {report.patients} patients written to "
            f"{report.span}, {report.rejected} refused (listed there in rejected.csv)",
            soft_wrap=True,
        )
        for remark in report.remarks:
            console.print(remark, soft_wrap=True)


@app.command()
def run(
    config: ConfigName = "cpu",
    data: Annotated[Path | None, typer.Option(help="Folder with span-N/, as `ingest` writes it.")] = None,
    span: Span = None,
    spans: Spans = None,
    external: External = None,
    set_: Set = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder for everything that the run writes; lungseg-run, if nothing names one.")
    ] = None,
    orchestrator: Annotated[
        Orchestrator, typer.Option(help="TFX's runner: one component at a time, or the graph as a Beam pipeline.")
    ] = Orchestrator.LOCAL,
    force: Annotated[
        bool, typer.Option("--force", help="Train even where nothing has changed since the model that serves was made.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Run the pipeline on this machine: augment, train, evaluate on slices, bless, push."""
    from pipeline.commands.run import run as run_pipeline

    settings = read_config(config, set_, data, root, external, span, spans)
    serves = run_pipeline(settings, orchestrator=orchestrator, force=force, verbose=verbose)
    raise typer.Exit(OK if serves else NOT_BLESSED)


@app.command()
def study(
    config: ConfigName = "cpu",
    data: Annotated[Path | None, typer.Option(help="Folder with span-N/, as `ingest` writes it.")] = None,
    span: Span = None,
    spans: Spans = None,
    external: External = None,
    set_: Set = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Folder for everything that the study writes; lungseg-study, if nothing names one."),
    ] = None,
    arms: Arms = "copies",
    seeds: Seeds = 3,
    folds: Folds = None,
    verbose: Verbose = False,
) -> None:
    """Train in several ways, such as with and without copies, in as many steps, and compare on the same test images."""
    from pipeline.commands.study import study as run_study

    settings = read_config(config, set_, data, root, external, span, spans, default_root=Path("lungseg-study"))
    run_study(settings, arms=arms, seeds=seeds, folds=folds, verbose=verbose)


@app.command("config")
def config_(
    config: ConfigName = "cpu",
    set_: Set = None,
    data: Annotated[Path | None, typer.Option(help="Folder with span-N/, as `ingest` writes it.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder for everything that a run writes.")] = None,
    external: External = None,
    reference: Annotated[bool, typer.Option("--reference", help="Describe every key instead.")] = False,
) -> None:
    """Print the configuration that a run would have, as YAML that --config takes."""
    from pipeline.console import terminal

    with terminal() as console:
        if reference:
            from pipeline.config_reference import reference as describe

            text = describe()
        else:
            # A configuration can be looked at before there are data.
            text = read_config(config, set_, data, root, external, default_data=Path("data")).to_yaml()
        console.print(text, end="", soft_wrap=True, emoji=False)


@app.command()
def predict(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH|URL...",
            help="Radiographs (PNG, JPEG, TIFF, DICOM), CT volumes (NIfTI, DICOM series), folders, patterns.",
        ),
    ],
    model: Annotated[
        Path, typer.Option(help="An exported model, or a run's serving folder (current version).", callback=check_local)
    ],
    output: Annotated[
        Path, typer.Option(help="Folder for masks, overlays, measurements.csv, predictions.json.", callback=check_local)
    ],
    format_: Annotated[
        OutputFormat, typer.Option("--format", help="Of the masks; auto gives each input its own kind.")
    ] = OutputFormat.AUTO,
    overlays: Annotated[Overlays, typer.Option(help="Images with the outline of their masks.")] = Overlays.PNG,
    recursive: Annotated[bool, typer.Option("--recursive", help="Look into folders in folders.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Do also what this model has done before.")] = False,
    config: Annotated[
        str | None, typer.Option(metavar="FILE", help="A YAML file whose section beam says where to segment.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="beam.KEY=VALUE", help="Where to segment, such as beam.runner=flink."),
    ] = None,
) -> None:
    """Segment images and volumes with a model, and measure the lungs."""
    from pipeline.commands.predict import choose_place, complaints, describe_drift, name_undone, summarize
    from pipeline.console import bar, terminal
    from pipeline.prediction.find import find_files, name_left_out
    from pipeline.prediction.inputs import list_inputs
    from pipeline.prediction.predict import OutputError
    from pipeline.prediction.predict import predict as segment

    place = choose_place(read_beam(set_, config))
    for line in name_left_out(images, recursive=recursive, without=output):
        _say(line)
    inputs = list_inputs(find_files(images, recursive=recursive, without=output))
    try:
        with terminal() as console:
            with bar(console, "Segmenting", total=len(inputs)) as advance_to:
                prediction = segment(
                    model,
                    output,
                    inputs,
                    format_=format_,
                    overlays=overlays,
                    again=again,
                    where=place,
                    progress=advance_to,
                )
            console.print(describe_drift(prediction.report.drift), soft_wrap=True)
            console.print(summarize(prediction, output), soft_wrap=True)
    except OutputError as error:
        for line in name_undone(error):
            _say(line)
        raise typer.Exit(FAILED) from error
    for line in complaints(prediction):
        _say(line)
    if prediction.report.refused:
        raise typer.Exit(WRONG_INPUT)


@app.command()
def promote(
    to: Annotated[int, typer.Option(metavar="VERSION", help="Which one; those above it are withdrawn.")],
    root: Annotated[Path, typer.Option(help="Folder of the run that pushed it.", callback=check_local)] = Path(
        "lungseg-run"
    ),
) -> None:
    """Make an earlier version of the model the current one again."""
    from pipeline.commands.promote import promote as put_back
    from pipeline.console import terminal

    with terminal() as console:
        withdrawn = put_back(root, to)
        rest = f"; withdrawn: {', '.join(map(str, withdrawn))}" if withdrawn else ""
        console.print(f"version {to} is current again{rest}", soft_wrap=True)


@app.command()
def history(
    root: Annotated[Path, typer.Option(help="Folder of the runs, or of the studies.", callback=check_local)] = Path(
        "lungseg-run"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List earlier runs: data, policy, Dice on originals and copies, outcome, version served."""
    from pipeline.commands.history import read_history, show_history, to_json
    from pipeline.console import terminal

    with terminal() as console:
        runs = read_history(root)
        if json:
            console.print(to_json(runs), soft_wrap=True, emoji=False)
        else:
            show_history(console, runs)


@app.command()
def gc(
    root: Annotated[
        Path,
        typer.Option(help="Folder of the runs, or of the studies; on a cluster, the volume.", callback=check_local),
    ] = Path("lungseg-run"),
    keep: Annotated[
        int, typer.Option(help="How many of the last complete runs to keep, with what was begun since.")
    ] = 3,
    older_than: Annotated[float | None, typer.Option(metavar="DAYS", help="Remove only what is older.")] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Remove further runs, the oldest first, where more would stay, such as 20GB."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing: say what would go, and why.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the list of all items as JSON.")] = False,
) -> None:
    """Remove what runs have left behind and no model, report or later run needs."""
    from pipeline.commands.gc import clean_up, read_limits
    from pipeline.console import terminal

    limits = read_limits(keep, older_than, max_size)
    with terminal() as console:
        clean_up(root, limits, console, dry_run=dry_run, as_json=json)


@app.command()
def augment_preview(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Image files with masks.", callback=check_local)
    ],
    output: Annotated[Path, typer.Option(help="The PNG to write.", callback=check_local)],
    policy: Annotated[str, typer.Option(help="A policy (lossless, chest, strong, wide) or a YAML file.")] = "chest",
    masks: Annotated[Path | None, typer.Option(help="Folder of the masks; by default beside the images'.")] = None,
    copies: Annotated[int, typer.Option(min=1, max=100, help="Copies of each image.")] = 5,
) -> None:
    """Draw a contact sheet of what a policy makes of some images."""
    from pipeline.commands.preview import write_preview
    from pipeline.console import bar, terminal

    with terminal() as console:
        with bar(console, "Augmenting", total=len(images)) as advance_to:
            write_preview(policy, images, output, masks=masks, copies=copies, progress=advance_to)
        console.print(f"{copies} copies of {len(images)} images by policy {policy}, in {output}", soft_wrap=True)


def main() -> NoReturn:
    """Run a command; the user's mistakes and failed components end in one line on standard error."""
    try:
        app()
    except UserError as error:
        _say(str(error))
        sys.exit(WRONG_INPUT)
    except PermissionError as error:
        _say(f"'{error.filename}' cannot be opened: {error.strerror}; get the right to it, or name another place")
        sys.exit(WRONG_INPUT)
    except ComponentError as error:
        _say(str(error))
        sys.exit(NOT_BLESSED if isinstance(error.__cause__, DataError) else FAILED)
    sys.exit(OK)


def _say(line: str) -> None:
    print(f"lungseg: {line}", file=sys.stderr)  # noqa: T201
