"""The folder of one span: it appears whole or not at all, and so does each file in it.

Where folders exist by themselves (local disks, HDFS) a span appears by one rename. Object stores rename file by file:
there the files appear one after another once all of them are written and checked, `rejected.csv` as the last, and
whoever reads the span before that sees a part of it, as the names of the files tell (records-00007-of-00040).

A span on a local disk is held while it is written: a second ingest of the same span is refused. Where the output is a
URL there are no such locks, and whoever starts ingests sees to it that no two write one span at once.
"""

import csv
import fcntl
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Final, TextIO

from pipeline.errors import UserError
from pipeline.ingest.pairing import Rejection
from pipeline.ingest.storage.errors import error_reason
from pipeline.ingest.storage.files import (
    delete_folder,
    exists,
    file_sizes,
    is_local,
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
        UserError: The span exists already, another process is writing it, or `output` cannot be written.
    """
    final = span_folder(output, span)
    partial = join(output, f".span-{span}.partial")
    try:
        with _occupied(output, span) if is_local(output) else nullcontext():
            if exists(final):
                raise UserError(f"{final} exists already: choose another --span")
            delete_folder(partial)  # of a run that was killed
            make_folder(partial)
            try:
                yield partial
                _publish(partial, final)
            finally:
                with suppress(OSError):  # what went wrong before is what counts
                    delete_folder(partial)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error_reason(error)}") from error


@contextmanager
def _occupied(output: str, span: int) -> Iterator[None]:
    """Hold a span of a local folder until the block ends or the process does, however that may be.

    Raises:
        OSError: `output` cannot be written.
        UserError: The span is held already.
    """
    lock = os.path.join(output, f".span-{span}.lock")
    os.makedirs(os.path.join(output, os.curdir), exist_ok=True)  # of a file, this says that it is no directory
    with open(lock, "a") as file:
        try:
            _lock(file)
        except BlockingIOError as error:
            raise UserError(
                f"another ingest is writing {span_folder(output, span)}: wait for its end, or choose another --span"
            ) from error
        try:
            yield
        finally:
            with suppress(OSError):  # it may be gone where there are no locks
                os.remove(lock)


def _lock(file: TextIO) -> None:
    """Lock a file where the file system has locks; raise BlockingIOError where another process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return
    if not os.fstat(file.fileno()).st_nlink:  # whoever held it has ended and removed it: the next makes a new one
        raise BlockingIOError


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
