"""The folder of one span: it appears whole or not at all, and so does each file in it.

Where folders exist by themselves (local disks, HDFS) a span appears by one rename. Object stores rename file by file:
there the files appear one after another once all of them are written and checked, `rejected.csv` as the last, and
whoever reads the span before that sees a part of it, as the names of the files tell (records-00007-of-00040).
"""

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from pipeline.errors import UserError
from pipeline.ingest.pairing import Rejection
from pipeline.ingest.storage.errors import error_reason
from pipeline.ingest.storage.files import (
    delete_folder,
    exists,
    file_sizes,
    join,
    make_folder,
    move,
    replace_file,
    supports_directories,
)  # fmt: skip

REJECTED_FILE: Final = "rejected.csv"


def span_folder(output: str, span: int) -> str:
    """Return where a span lies."""
    return join(output, f"span-{span}")


@contextmanager
def new_span(output: str, span: int) -> Iterator[str]:
    """Yield a temporary folder that becomes the span at the end; after any exception nothing of it stays.

    Raises:
        UserError: The span exists already, or `output` cannot be written.
    """
    final = span_folder(output, span)
    if exists(final):
        raise UserError(f"{final} exists already: choose another --span")
    partial = join(output, f".span-{span}.partial")
    try:
        delete_folder(partial)  # of a run that was killed
        make_folder(partial)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error_reason(error)}") from error
    try:
        yield partial
        _publish(partial, final)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error_reason(error)}") from error
    finally:
        with suppress(OSError):  # what went wrong before is what counts
            delete_folder(partial)


def write_rejections(path: str, rejections: Iterable[Rejection]) -> None:
    """Write a CSV file with the columns file and reason, one row a refused file.

    Raises:
        OSError: It cannot be written.
    """
    # A file name may hold bytes that are no UTF-8.
    with (
        replace_file(path) as file,
        io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="") as text,
    ):
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("file", "reason"))
        writer.writerows((rejection.file, rejection.reason) for rejection in rejections)


def _publish(partial: str, final: str) -> None:
    if supports_directories(partial):
        move(partial, final)
        return
    try:
        for name in sorted(file_sizes(partial), key=lambda name: (name == REJECTED_FILE, name)):
            move(join(partial, name), join(final, name))
    except BaseException:
        delete_folder(final)
        raise
