"""Image folders to a span of sharded TFRecords.

>>> report = ingest("folder", Path("clinic"), Path("data"), span=1)
>>> report.span
PosixPath('data/span-1')
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from pipeline.errors import UserError
from pipeline.ingest.images import ImageError
from pipeline.ingest.layouts import Listing, Sample, find_samples
from pipeline.ingest.pairing import Rejection, relative
from pipeline.ingest.parallel import parallel_map
from pipeline.ingest.records import encode_sample, open_shards
from pipeline.ingest.span import REJECTED_FILE, new_span, span_folder, write_rejections

SIZES: Final = range(32, 4097)
"""Side lengths that records may have, pixels."""


@dataclass(frozen=True)
class IngestReport:
    """What became of an input folder; `found` is always `written + rejected`.

    Attributes:
        span: the folder written.
        found: images, and masks without an image.
        written: records.
        rejected: files refused, listed in the span's `rejected.csv`.
        patients: different patients among the records.
    """

    span: Path
    found: int
    written: int
    rejected: int
    patients: int


def ingest(
    layout: str,
    source_dir: Path,
    output: Path,
    *,
    span: int = 1,
    size: int = 512,
    shards: int = 4,
    source: str | None = None,
    max_rejected: float = 0.05,
    progress: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """Writes `output/span-N/records-*-of-*.tfrecord` and `rejected.csv`; the same input gives the same bytes.

    Args:
        layout: a name in `layouts.LAYOUTS`.
        source_dir: the input folder.
        output: where spans lie; created where missing.
        span: number of the new span, 0 or more.
        size: side length of image and mask in the records, pixels, within `SIZES`.
        shards: files to deal the records over, fewer where there are fewer images.
        source: hospital or data set, where metadata names none; by default the layout's own.
        max_rejected: share of refused files above which nothing is written, 0-1.
        progress: called with the numbers of files done and found after each file.

    Raises:
        UserError: an argument is out of range, the folder does not suit the layout, the span exists, too many files
            were refused (they are then listed in `output/rejected.csv`), or `output` cannot be written.
    """
    _check_arguments(span, size, shards, max_rejected)
    listing = find_samples(layout, source_dir, source)
    with new_span(output, span) as folder:
        written, rejections = _write_records(listing, folder, size, shards, progress)
        if not written or len(rejections) / listing.found > max_rejected:
            write_rejections(output / REJECTED_FILE, rejections)
            raise UserError(_refusal(listing, rejections, max_rejected, output / REJECTED_FILE))
        write_rejections(folder / REJECTED_FILE, rejections)
    patients = {sample.description.patient_id for sample in written}
    return IngestReport(span_folder(output, span), listing.found, len(written), len(rejections), len(patients))


def _check_arguments(span: int, size: int, shards: int, max_rejected: float) -> None:
    if span < 0:
        raise UserError(f"span is {span}: it must be 0 or more")
    if size not in SIZES:
        raise UserError(f"size is {size}: it must be within {SIZES[0]} to {SIZES[-1]} pixels")
    if shards < 1:
        raise UserError(f"shards is {shards}: it must be 1 or more")
    if not 0 <= max_rejected <= 1:
        raise UserError(f"max_rejected is {max_rejected}: it must be a share within 0 to 1")


def _write_records(
    listing: Listing, folder: Path, size: int, shards: int, progress: Callable[[int, int], None] | None
) -> tuple[list[Sample], list[Rejection]]:
    """Writes what can be taken; returns the samples written, and all rejections in the order of the files."""
    written: list[Sample] = []
    rejections = list(listing.rejections)
    count = max(1, min(shards, len(listing.samples)))
    encode = partial(_encode_or_reject, listing.root, size)
    with open_shards(folder, count) as write, parallel_map(encode, listing.samples) as results:
        for sample, result in zip(listing.samples, results, strict=True):
            if isinstance(result, Rejection):
                rejections.append(result)
            else:
                write(result)
                written.append(sample)
            if progress is not None:
                progress(len(written) + len(rejections), listing.found)
    return written, sorted(rejections)


def _encode_or_reject(root: Path, size: int, sample: Sample) -> bytes | Rejection:
    try:
        return encode_sample(sample, root, size)
    except ImageError as error:
        return Rejection(relative(root, sample.image), str(error))


def _refusal(listing: Listing, rejections: list[Rejection], max_rejected: float, path: Path) -> str:
    refused = f"{len(rejections)} of {listing.found} files were refused (limit {100 * max_rejected:g} %)"
    return f"{refused}, first: {rejections[0].file}: {rejections[0].reason}; the whole list: {path}"
