r"""Files and folders by local path or URL (gs://, s3://, hdfs://, ...), through Beam's FileSystems.

>>> read_file("gs://clinic/images/a.png")[:4]
b'\x89PNG'

Beam takes seconds to import: what a local path needs is done without it.
"""

import os
import posixpath
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final

from pipeline.errors import UserError, one_line
from pipeline.ingest.beam.memory_limit import Budget
from pipeline.ingest.formats.raster import ImageError, count_pixels

MAX_FILE_BYTES: Final = 2**29
"""Larger files are refused unread."""

_HEAD_BYTES: Final = 2**20  # every format but TIFF tells its size within these


def is_local(path: str) -> bool:
    """Whether a path is one of this machine, not a URL."""
    return "://" not in path


def join(folder: str, name: str) -> str:
    """The path of a name below a folder; an absolute path or URL stays as it is."""
    if not is_local(name):
        return name
    return os.path.join(folder, name) if is_local(folder) else posixpath.join(folder, name)


def name_of(path: str) -> str:
    """The name of a file or folder: the last part of its path or URL."""
    return os.path.basename(os.path.realpath(path) if is_local(path) else path.rstrip("/"))


def exists(path: str) -> bool:
    """Whether there is such a file or folder; stores that know no folders are asked for a file below it.

    Raises:
        UserError: the store cannot be reached.
    """
    if is_local(path):
        return os.path.exists(path)
    from apache_beam.io.filesystems import FileSystems

    try:
        return bool(FileSystems.exists(path) or FileSystems.match([f"{_literal(path)}/**"], [1])[0].metadata_list)
    except Exception as error:  # the client of each store has its own
        raise UserError(f"{path} cannot be reached: {one_line(error)}") from error


def is_file(path: str) -> bool:
    """Whether there is such a file."""
    if is_local(path):
        return os.path.isfile(path)
    from apache_beam.io.filesystems import FileSystems

    # To a store that knows folders, a folder exists as well.
    return bool(FileSystems.exists(path) and not FileSystems.match([f"{_literal(path)}/*"], [1])[0].metadata_list)


def list_files(folder: str, levels: int = 1) -> Iterator[str]:
    """Names of the files in a folder, and of those in its folders where `levels` is 2, with forward slashes.

    A local folder is listed as it is read. What a store answers is held in memory, a few hundred bytes a file.

    Raises:
        OSError: the folder cannot be read.
    """
    if is_local(folder):
        for entry in os.scandir(folder):
            if entry.is_file():
                yield entry.name
            elif levels > 1 and entry.is_dir():
                yield from (f"{entry.name}/{name}" for name in list_files(entry.path, levels - 1))
        return
    from apache_beam.io.filesystems import FileSystems

    for level in range(levels):
        (match,) = FileSystems.match([f"{_literal(folder)}/{'*/' * level}*"])
        yield from ("/".join(file.path.rsplit("/", level + 1)[1:]) for file in match.metadata_list)


def sizes_in(folder: str) -> dict[str, int]:
    """Sizes of the files directly in a folder, bytes, by name."""
    if is_local(folder):
        return {entry.name: entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()}
    from apache_beam.io.filesystems import FileSystems

    (match,) = FileSystems.match([f"{_literal(folder)}/*"])
    return {posixpath.basename(file.path): file.size_in_bytes for file in match.metadata_list}


@contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """Opens a file to read its bytes as they are stored, compressed or not.

    Raises:
        ImageError: it cannot be opened or read.
    """
    try:
        with _open(path) as file:
            yield file
    except OSError as error:
        raise ImageError(f"cannot be read: {reason_of(error)}") from error


def read_file(path: str) -> bytes:
    """Reads a whole file.

    Raises:
        ImageError: it cannot be read, or is larger than `MAX_FILE_BYTES`.
    """
    with open_file(path) as file:
        return _read_on(file, b"")


@contextmanager
def read_within(budget: Budget, path: str) -> Iterator[bytes]:
    """Reads an image file whose pixels count against a budget for as long as the context lasts.

    The pixels are counted from the first bytes, so that no more files lie in memory than can be decoded. A large file
    that does not tell there is read while no other is.

    Raises:
        ImageError: it cannot be read, or is larger than `MAX_FILE_BYTES`.
    """
    with open_file(path) as file:
        head = file.read(_HEAD_BYTES)
        whole = len(head) < _HEAD_BYTES
        with budget.claim(count_pixels(head) or (len(head) if whole else budget.limit)) as claim:
            data = head
            if not whole:
                data = _read_on(file, head)
                claim.shrink(count_pixels(data) or len(data))
            yield data


@contextmanager
def replace_file(path: str) -> Iterator[BinaryIO]:
    """Opens a file to write; it appears, in place of what is there, only when the context ends without an error.

    Raises:
        OSError: it cannot be written.
    """
    from uuid import uuid4

    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    folder, name = path.rsplit("/", 1)
    temporary = f"{folder}/.{name}.{uuid4().hex}"
    try:
        # Compression would go by the extension.
        with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            yield file
        move(temporary, path)
    except BaseException:
        with suppress(OSError):  # what went wrong before is what counts
            delete_file(temporary)
        raise


def move(source: str, target: str) -> None:
    """Renames a file, in place of what is there.

    Raises:
        OSError: it cannot be renamed.
    """
    if is_local(source):
        os.replace(source, target)
        return
    from apache_beam.io.filesystems import FileSystems

    if FileSystems.exists(target):  # HDFS renames onto no file
        delete_file(target)
    FileSystems.rename([source], [target])


def make_folder(path: str) -> None:
    """Makes a folder, with those above it, where folders exist by themselves.

    Raises:
        OSError: it cannot be made.
    """
    if is_local(path):
        os.makedirs(path)
    elif has_folders(path):
        from apache_beam.io.filesystems import FileSystems

        FileSystems.mkdirs(path)


def delete_file(path: str) -> None:
    """Deletes one file."""
    if is_local(path):
        os.remove(path)
        return
    from apache_beam.io.filesystems import FileSystems

    FileSystems.delete([_literal(path)])


def delete_folder(folder: str) -> None:
    """Deletes a folder with all that is in it; one that is not there is none to delete."""
    if is_local(folder):
        if os.path.exists(folder):
            shutil.rmtree(folder)
        return
    from apache_beam.io.filesystems import FileSystems

    if has_folders(folder):
        if FileSystems.exists(folder):
            FileSystems.delete([_literal(folder)])
        return
    (match,) = FileSystems.match([f"{_literal(folder)}/**"])
    if match.metadata_list:
        FileSystems.delete([_literal(file.path) for file in match.metadata_list])


def has_folders(path: str) -> bool:
    """Whether folders exist by themselves where a path lies, and are renamed as one, unlike those of object stores."""
    if is_local(path):
        return True
    from apache_beam.io.filesystems import FileSystems

    return bool(FileSystems.get_filesystem(path).has_dirs())


def reason_of(error: OSError) -> str:
    """What went wrong, in one line."""
    details = getattr(error, "exception_details", None) or {}  # of BeamIOError: what went wrong with each file
    for cause in details.values():
        return reason_of(cause) if isinstance(cause, OSError) else one_line(cause)
    return error.strerror or one_line(error)


def _open(path: str) -> BinaryIO:
    if is_local(path):
        return open(path, "rb")
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _read_on(file: BinaryIO, head: bytes) -> bytes:
    data = head + file.read(MAX_FILE_BYTES + 1 - len(head))
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"is larger than {MAX_FILE_BYTES // 2**20} MB")
    return data


def _literal(path: str) -> str:
    """A pattern that matches this path alone."""
    return re.sub(r"([\[*?])", r"[\1]", path)
