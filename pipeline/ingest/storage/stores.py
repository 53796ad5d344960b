"""Opens files of stores (gs://, s3://, hdfs://, ...); whatever goes wrong there is told of the file alone.

The clients of stores try for minutes to reach one that cannot be reached: a process gives each store the time of one
file, and refuses the others at once if it stayed silent.
"""

import threading
from collections import defaultdict
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from typing import BinaryIO, Final

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipeline.errors import one_line
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.storage.errors import error_reason

PATIENCE: Final = 30.0
"""Seconds within which a store must answer for the first time."""

_ANSWERS: Final = ("code", "status_code", "response")  # that the clients' errors bear if the store answered
_locks: Final[defaultdict[str, threading.Lock]] = defaultdict(threading.Lock)
_problems: Final[dict[str, str]] = {}  # of each store that was asked; "" where it answers


def open_in_store(path: str) -> BinaryIO:
    """Open a file to read its bytes as they are stored.

    Raises:
        ImageError: Beam knows no such store or lacks its client, or the store does not answer or refuses.
        OSError: The file cannot be opened.
    """
    store = "/".join(path.split("/", 3)[:3])
    with _locks[store]:
        if store not in _problems:
            _problems[store] = _find_problem(store, path)
    if problem := _problems[store]:
        raise ImageError(f"cannot be read: {problem}")
    try:
        return _open(path)
    except OSError:
        raise
    except Exception as error:  # the client of each store has its own
        raise ImageError(f"cannot be read: {one_line(error)}") from error


def _find_problem(store: str, path: str) -> str:
    """Open a file to learn why nothing can be read from its store; return "" where the store answers."""
    scheme = store.partition(":")[0]
    try:
        FileSystems.get_filesystem(path)
    except ValueError:
        return f"files at {scheme}:// cannot be opened: copy them to a folder or a bucket"
    except OSError as error:
        return error_reason(error)
    opened: Future[BinaryIO] = Future()
    threading.Thread(target=_open_into, args=(opened, path), daemon=True).start()
    try:
        opened.result(PATIENCE).close()
    except LateError:
        return f"{store} has not answered for {PATIENCE:g} s"
    except (AssertionError, ImportError, NameError) as error:
        return f"{one_line(error)}: install what Beam needs for {scheme}://"
    except Exception as error:
        is_answer = isinstance(error, FileNotFoundError) or any(getattr(error, name, None) for name in _ANSWERS)
        return "" if is_answer else error_reason(error) if isinstance(error, OSError) else one_line(error)
    return ""


def _open_into(opened: "Future[BinaryIO]", path: str) -> None:
    try:
        opened.set_result(_open(path))
    except Exception as error:
        opened.set_exception(error)


def _open(path: str) -> BinaryIO:
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
