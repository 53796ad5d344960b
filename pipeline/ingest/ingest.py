"""Images or volumes with masks to a span of sharded TFRecords, as a Beam pipeline.

>>> report = ingest("folder", "clinic", "data", span=1)
>>> report.span
'data/span-1'
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipeline.beam.settings import BeamSettings
from pipeline.errors import ComponentError, UserError, WorkerKilledError, causes_raised, worker_deaths_raised
from pipeline.ingest.beam.progress import watch_progress
from pipeline.ingest.formats.labels import Labels
from pipeline.ingest.layouts.base import Input, Layout
from pipeline.ingest.layouts.registry import find_layout
from pipeline.ingest.pairing import Rejection, Remark
from pipeline.ingest.samples import ReadOptions
from pipeline.ingest.shard_writer import shard_name
from pipeline.ingest.storage.files import delete_file, file_sizes, is_file, join, move, read_file
from pipeline.ingest.storage.span import REJECTED_FILE, new_span, span_folder

if TYPE_CHECKING:
    from pipeline.ingest.beam.summary import Summary

SIZES: Final = range(32, 4097)
"""Side lengths that records may have, pixels."""

_REFUSE: Final = "refuse"
UNNAMED_PATIENTS: Final = (_REFUSE, "own")
"""What may become of an image whose patient a table does not name, though it has a column for patients."""

_STEP: Final = 0.05  # of the limit that is proposed where too many files are refused
_KINDS: Final = ("samples", "rejections", "remarks", "errors")


@dataclass(frozen=True)
class IngestReport:
    """What became of an input; `found` is always `written + rejected`.

    Attributes:
        span: The folder written.
        found: Images or volumes, and masks without one.
        written: Images or volumes.
        records: One of each image, many of a volume.
        rejected: Files refused, listed in the span's `rejected.csv`.
        patients: Different patients among the records.
        remarks: What the user should know beside, a line each: rows without an image, files passed over.
    """

    span: str
    found: int
    written: int
    records: int
    rejected: int
    patients: int
    remarks: tuple[str, ...] = ()


def ingest(
    layout: str,
    root: str,
    output: str,
    *,
    span: int = 1,
    size: int = 512,
    shards: int = 16,
    source: str | None = None,
    max_rejected: float = 0.05,
    patient_key: bytes | None = None,
    empty_slices: float = 0.1,
    mapping: str | None = None,
    labels: Labels | None = None,
    unnamed_patients: str = "refuse",
    beam_args: Sequence[str] = tuple(BeamSettings().arguments()),
    progress: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """Write `output/span-N/records-*-of-*.tfrecord` and `rejected.csv`; the same input gives the same bytes.

    All paths are local or URLs that Beam's FileSystems know. Whatever the runner, each record is written once.

    Args:
        layout: A name in `layouts.registry.LAYOUTS`, or of another package's layout.
        root: The input folder, or the file that lists it.
        output: Where spans lie; created where missing.
        span: Number of the new span, 0 or more.
        size: Side length of image and mask in the records, pixels, within `SIZES`.
        shards: Fewest files to deal the records over; fewer where there are fewer images, more where there are many.
        source: Hospital or data set, where metadata names none; by default the layout's own.
        max_rejected: Share of refused files above which nothing is written, 0-1.
        patient_key: Of the pseudonyms of what DICOM files name (`identity.load_key`).
        empty_slices: Share of a volume's slices without lung that are kept, 0-1.
        mapping: Path of what names the columns of a CSV file.
        labels: Of the masks, those that are lung, where masks are label maps.
        unnamed_patients: What becomes of an image whose patient a table does not name, though it names those of others:
            one of `UNNAMED_PATIENTS`, refused or counted as a patient of its own.
        beam_args: What Beam runs on, as its command line has it; by default in this process.
        progress: Called with the numbers of files written and to be written, as they appear.

    Raises:
        UserError: An argument is out of range, the input does not suit the layout or lists no images, the span exists,
            too many files were refused (they are then listed in `output/rejected.csv`, until an ingest succeeds), or
            `output` cannot be written.
        ComponentError: Records got lost on the way.
    """
    _check_arguments(span, size, shards, max_rejected, empty_slices, unnamed_patients)
    found = find_layout(layout, root)
    input_ = Input(root.rstrip("/") or root, source, mapping, refuses_unnamed=unnamed_patients == _REFUSE)
    options = ReadOptions(size, patient_key, empty_slices, labels=labels)
    with new_span(output, span) as folder:
        summary = _run(found, input_, options, folder, shards, beam_args, progress)
        if summary.error:
            raise UserError(summary.error)
        if not summary.found:
            raise UserError(f"{input_.root} lists no images")
        listed = join(output, REJECTED_FILE)
        if not summary.written or summary.rejected / summary.found > max_rejected:
            move(join(folder, REJECTED_FILE), listed)
            raise UserError(_describe_refusals(summary, max_rejected, listed))
        _reconcile(summary, folder)
        if is_file(listed):  # of an ingest that failed before
            delete_file(listed)
    return IngestReport(
        span_folder(output, span),
        summary.found,
        summary.written,
        summary.records,
        summary.rejected,
        summary.patients,
        tuple(summary.remarks),
    )


def _describe_refusals(summary: "Summary", max_rejected: float, listed: str) -> str:
    """Say why nothing was written; where some files can be taken, also how they are."""
    share = summary.rejected / summary.found
    enough = -(-share // _STEP) * _STEP
    hint = f"; `--max-rejected {enough:.2g}` takes the others" if summary.written else ""
    return (
        f"{summary.rejected} of {summary.found} files were refused (limit {100 * max_rejected:g} %), most often as "
        f"{summary.example}; the whole list: {listed}{hint}"
    )


def _check_arguments(
    span: int, size: int, shards: int, max_rejected: float, empty_slices: float, unnamed_patients: str
) -> None:
    if span < 0:
        raise UserError(f"span is {span}: it must be 0 or more")
    if size not in SIZES:
        raise UserError(f"size is {size}: it must be within {SIZES[0]} to {SIZES[-1]} pixels")
    if shards < 1:
        raise UserError(f"shards is {shards}: it must be 1 or more")
    for name, share in (("max_rejected", max_rejected), ("empty_slices", empty_slices)):
        if not 0 <= share <= 1:
            raise UserError(f"{name} is {share}: it must be a share within 0 to 1")
    if unnamed_patients not in UNNAMED_PATIENTS:
        raise UserError(f"unnamed_patients is '{unnamed_patients}': it must be {' or '.join(UNNAMED_PATIENTS)}")


def _run(
    layout: Layout,
    input_: Input,
    options: ReadOptions,
    folder: str,
    shards: int,
    beam_args: Sequence[str],
    progress: Callable[[int, int], None] | None,
) -> "Summary":
    """Run the pipeline, which writes all of a span into a folder, and take the summary out of it."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipeline.ingest.beam.shards import WriteShards
    from pipeline.ingest.beam.summary import SUMMARY_FILE, Summary, WriteSummary

    pipeline = beam.Pipeline(options=PipelineOptions(list(beam_args)))
    listed = pipeline | "List" >> layout.find(input_)
    kinds = dict(zip(_KINDS, listed | beam.Partition(_kind_of, len(_KINDS)), strict=True))
    written = kinds | "Write shards" >> WriteShards(folder, shards, layout.records_per_sample, options)
    _ = {**kinds, "shards": written} | "Write summary" >> WriteSummary(folder)
    try:
        with watch_progress(folder, progress), causes_raised(UserError), worker_deaths_raised():
            pipeline.run().wait_until_finish()
    except WorkerKilledError as error:
        raise ComponentError("ingest", error) from error
    summary = Summary.from_json(read_file(join(folder, SUMMARY_FILE)))
    delete_file(join(folder, SUMMARY_FILE))
    return summary


def _kind_of(listed: object, _: int) -> int:
    kinds = ((Rejection, "rejections"), (Remark, "remarks"), (UserError, "errors"))
    return _KINDS.index(next((name for kind, name in kinds if isinstance(listed, kind)), "samples"))


def _reconcile(summary: "Summary", folder: str) -> None:
    """Make sure that what was found was written or refused, and is there: runners have been seen to lose some."""
    problem = None
    if summary.written + summary.rejected != summary.found:
        problem = f"{summary.found} files found, {summary.written} written, {summary.rejected} refused"
    expected = {shard_name(index, len(summary.sizes)): size for index, size in summary.sizes.items()}
    present = {name: size for name, size in file_sizes(folder).items() if name != REJECTED_FILE}
    odd = sorted({name for name, _ in expected.items() ^ present.items()})
    if odd:
        problem = f"{folder} does not hold what was written: {', '.join(odd[:3])}"
    if problem:
        raise ComponentError("ingest", RuntimeError(f"records got lost: {problem}"))
