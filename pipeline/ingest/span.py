"""The folder of one span, and the list of refused files."""

import csv
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pipeline.errors import UserError
from pipeline.ingest.pairing import Rejection

REJECTED_FILE: Final = "rejected.csv"


def span_folder(output: Path, span: int) -> Path:
    """Where a span lies."""
    return output / f"span-{span}"


@contextmanager
def new_span(output: Path, span: int) -> Iterator[Path]:
    """Yields a temporary folder that becomes the span at the end; after any exception nothing of it stays.

    Raises:
        UserError: the span exists already, or `output` cannot be written.
    """
    final = span_folder(output, span)
    if final.exists():
        raise UserError(f"{final} exists already: choose another --span")
    partial = output / f".{final.name}.partial"
    try:
        if partial.exists():  # of a run that was killed
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror}") from error
    try:
        yield partial
        partial.rename(final)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_rejections(path: Path, rejections: Iterable[Rejection]) -> None:
    """Writes a CSV file with the columns file and reason, one row a refused file."""
    # A file name may hold bytes that are no UTF-8.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "reason"))
        writer.writerows((rejection.file, rejection.reason) for rejection in rejections)
