r"""Files and folders by local path or URL (gs://, s3://, hdfs://, ...), through Beam's FileSystems.

>>> read_file("gs://clinic/images/a.png")[:4]
b'\x89PNG'

Beam takes seconds to import: what a local path needs is done without it.
"""

import errno
import os
import posixpath
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final

from pipeline.errors import UserError, one_line
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.storage.errors import error_reason

MAX_FILE_BYTES: Final = 2**29
"""Larger files are refused unread."""


def is_local(path: str) -> bool:
    """Tell whether a path is one of this machine, not a URL."""
    return "://" not in path


def join(folder: str, name: str) -> str:
    """Return the path of a name below a folder; an absolute path or URL stays as it is."""
    if not is_local(name):
        return name
    return os.path.join(folder, name) if is_local(folder) else posixpath.join(folder, name)


def absolute(path: str) -> str:
    """Return a path as other processes find it; a URL stays as it is."""
    return os.path.join(os.getcwd(), path) if is_local(path) else path


def base_name(path: str) -> str:
    """Return the name of a file or folder: the last part of its path or URL."""
    return os.path.basename(os.path.realpath(path) if is_local(path) else path.rstrip("/"))


def exists(path: str) -> bool:
    """Tell whether there is such a file or folder; stores that know no folders are asked for a file below it.

    Raises:
        UserError: The store cannot be reached.
    """
    if is_local(path):
        return os.path.exists(path)
    from apache_beam.io.filesystems import FileSystems

    try:
        return bool(FileSystems.exists(path) or FileSystems.match([f"{_escape(path)}/**"], [1])[0].metadata_list)
    except Exception as error:  # the client of each store has its own
        raise UserError(f"{path} cannot be reached: {one_line(error)}") from error


def is_file(path: str) -> bool:
    """Tell whether there is such a file."""
    if is_local(path):
        return os.path.isfile(path)
    from apache_beam.io.filesystems import FileSystems

    # To a store that knows folders, a folder exists as well.
    return bool(FileSystems.exists(path) and not FileSystems.match([f"{_escape(path)}/*"], [1])[0].metadata_list)


def list_files(folder: str, levels: int = 1) -> Iterator[str]:
    """Yield the names of the files in a folder, and of those in its folders where `levels` is 2, with forward slashes.

    A local folder is listed as it is read. What a store answers is held in memory, a few hundred bytes a file.

    Raises:
        OSError: The folder cannot be read.
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
        (match,) = FileSystems.match([f"{_escape(folder)}/{'*/' * level}*"])
        yield from ("/".join(file.path.rsplit("/", level + 1)[1:]) for file in match.metadata_list)


def list_dangling_links(folder: str) -> Iterator[str]:
    """Yield the names of the links in a local folder that lead to nothing, as those of git-annex before `get` do."""
    for entry in os.scandir(folder) if is_local(folder) else ():
        if entry.is_symlink() and not os.path.exists(entry.path):
            yield entry.name


def match_files(pattern: str) -> list[str]:
    """Return the files of a store that a pattern matches, sorted; `*` is a part of a name, `**` crosses folders too.

    Raises:
        UserError: The store cannot be reached.
    """
    from apache_beam.io.filesystems import FileSystems

    try:
        (match,) = FileSystems.match([pattern])
    except Exception as error:  # the client of each store has its own
        reason = error_reason(error) if isinstance(error, OSError) else one_line(error)
        raise UserError(f"'{pattern}' cannot be reached: {reason}") from error
    return sorted(file.path for file in match.metadata_list)


def version_of(path: str) -> tuple[int, float]:
    """Return the size of a file, bytes, and when it was changed: nanoseconds of a local one, seconds in a store.

    Raises:
        OSError: It is gone, or its store cannot be reached.
    """
    if is_local(path):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    from apache_beam.io.filesystems import FileSystems

    (match,) = FileSystems.match([_escape(path)], [1])
    if not match.metadata_list:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    [file] = match.metadata_list
    return file.size_in_bytes, file.last_updated_in_seconds


def list_folders(folder: str) -> list[str]:
    """Return the names of the folders in a local folder that can be read; of a store none, which only files tell."""
    with suppress(OSError):
        return [entry.name for entry in os.scandir(folder) if entry.is_dir()] if is_local(folder) else []
    return []


def file_sizes(folder: str) -> dict[str, int]:
    """Return the sizes of the files directly in a folder, bytes, by name."""
    if is_local(folder):
        return {entry.name: entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()}
    from apache_beam.io.filesystems import FileSystems

    (match,) = FileSystems.match([f"{_escape(folder)}/*"])
    return {posixpath.basename(file.path): file.size_in_bytes for file in match.metadata_list}


@contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """Open a file to read its bytes as they are stored, compressed or not.

    Raises:
        ImageError: It cannot be opened or read.
    """
    try:
        with _open(path) as file:
            yield file
    except OSError as error:
        raise ImageError(f"cannot be read: {error_reason(error)}") from error


def read_file(path: str) -> bytes:
    """Read a whole file.

    Raises:
        ImageError: It cannot be read, or is larger than `MAX_FILE_BYTES`.
    """
    with open_file(path) as file:
        return read_rest(file, b"")


def read_head(path: str, size: int = 256) -> bytes:
    """Read how a file begins, by which formats are known.

    Raises:
        ImageError: It cannot be read.
    """
    with open_file(path) as file:
        return read_some(file, size)


def read_rest(file: BinaryIO, head: bytes) -> bytes:
    """Read the rest of an open file, and return all of it.

    Args:
        file: Read up to the end of `head`.
        head: What has been read.

    Raises:
        ImageError: The file is larger than `MAX_FILE_BYTES`.
    """
    data = head + read_some(file, MAX_FILE_BYTES + 1 - len(head))
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"is larger than {MAX_FILE_BYTES // 2**20} MB")
    return data


def read_some(file: BinaryIO, size: int) -> bytes:
    """Read up to so many bytes of an open file.

    Raises:
        ImageError: The client of its store fails.
        OSError: It cannot be read.
    """
    try:
        return file.read(size)
    except OSError:
        raise
    except Exception as error:  # the client of each store has its own
        raise ImageError(f"cannot be read: {one_line(error)}") from error


@contextmanager
def replace_file(path: str) -> Iterator[BinaryIO]:
    """Open a file to write; it appears, in place of what is there, only when the context ends without an error.

    Raises:
        OSError: It cannot be written.
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
    """Rename a file, in place of what is there.

    Raises:
        OSError: It cannot be renamed.
    """
    if is_local(source):
        os.replace(source, target)
        return
    from apache_beam.io.filesystems import FileSystems

    if FileSystems.exists(target):  # HDFS renames onto no file
        delete_file(target)
    FileSystems.rename([source], [target])


def make_folder(path: str) -> None:
    """Make a folder, with those above it, where folders exist by themselves.

    Raises:
        OSError: It cannot be made.
    """
    if is_local(path):
        os.makedirs(path)
    elif supports_directories(path):
        from apache_beam.io.filesystems import FileSystems

        FileSystems.mkdirs(path)


def delete_file(path: str) -> None:
    """Delete one file."""
    if is_local(path):
        os.remove(path)
        return
    from apache_beam.io.filesystems import FileSystems

    FileSystems.delete([_escape(path)])


def delete_folder(folder: str) -> None:
    """Delete a folder with all that is in it; one that is not there is none to delete."""
    if is_local(folder):
        if os.path.exists(folder):
            shutil.rmtree(folder)
        return
    from apache_beam.io.filesystems import FileSystems

    if supports_directories(folder):
        if FileSystems.exists(folder):
            FileSystems.delete([_escape(folder)])
        return
    (match,) = FileSystems.match([f"{_escape(folder)}/**"])
    if match.metadata_list:
        FileSystems.delete([_escape(file.path) for file in match.metadata_list])


def supports_directories(path: str) -> bool:
    """Tell whether folders exist by themselves where a path lies and are renamed as one, unlike in object stores."""
    if is_local(path):
        return True
    from apache_beam.io.filesystems import FileSystems

    return bool(FileSystems.get_filesystem(path).has_dirs())


def _open(path: str) -> BinaryIO:
    if "\0" in path:  # Python answers with a ValueError, which readers of a file's content raise as well
        raise OSError(errno.EINVAL, "its path has a NUL byte: write the path anew", path)
    if is_local(path):
        return open(path, "rb")
    from pipeline.ingest.storage.stores import open_in_store

    return open_in_store(path)


def _escape(path: str) -> str:
    """Return a pattern that matches this path alone."""
    return re.sub(r"([\[*?])", r"[\1]", path)
