"""An object store for tests, which Beam's FileSystems know: bucket://NAME/OBJECT.

>>> ROOT[:] = [tmp_path]
>>> read_file("bucket://clinic/a.png") == (tmp_path / "clinic" / "a.png").read_bytes()
True
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem

ROOT: list[Path] = []
"""Where the objects of the test's store lie."""

FAILING: set[str] = set()
"""Objects that cannot be written."""


class Bucket(FileSystem):
    """An object store, bucket://NAME: no folders, and nothing is there before it is closed; kept in a folder."""

    @classmethod
    def scheme(cls) -> str:
        return "bucket"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join((basepath.rstrip("/"), *paths))

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path: str) -> None:
        raise AssertionError("an object store has no folders")

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for file in sorted(ROOT[0].rglob("*")):
            if file.is_file() and url(file).startswith(dir_or_prefix):
                yield self.metadata(url(file))

    def create(self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO) -> BinaryIO:
        assert compression_type == CompressionTypes.UNCOMPRESSED
        if any(path.endswith(name) for name in FAILING):
            raise OSError(f"403 Forbidden: {path}")
        local(path).parent.mkdir(parents=True, exist_ok=True)
        return local(path).open("wb")

    def open(self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO) -> BinaryIO:
        assert compression_type == CompressionTypes.UNCOMPRESSED
        return local(path).open("rb")

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        raise NotImplementedError

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            if any(destination.endswith(name) for name in FAILING):
                raise OSError(f"403 Forbidden: {destination}")
            local(destination).parent.mkdir(parents=True, exist_ok=True)
            local(source).replace(local(destination))

    def exists(self, path: str) -> bool:
        return local(path).is_file()

    def size(self, path: str) -> int:
        return local(path).stat().st_size

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, self.size(path), self.last_updated(path))

    def last_updated(self, path: str) -> float:
        return local(path).stat().st_mtime

    def checksum(self, path: str) -> str:
        raise NotImplementedError

    def delete(self, paths: list[str]) -> None:
        for match in self.match(paths):
            for file in match.metadata_list:
                local(file.path).unlink()


def local(path: str) -> Path:
    return ROOT[0] / path.removeprefix("bucket://")


def url(path: Path) -> str:
    return f"bucket://{path.relative_to(ROOT[0]).as_posix()}"
