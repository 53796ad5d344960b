"""Finds the files that a user means: named, in folders, or by patterns.

>>> find_files(["scans", "s3://clinic/more/*.png"], recursive=True)
['scans/a.dcm', 'scans/2026/b.png', 's3://clinic/more/c.png']
"""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pipeline.errors import UserError
from pipeline.ingest.formats.extensions import IMAGE_EXTENSIONS, VOLUME_EXTENSIONS, is_bare_dicom
from pipeline.ingest.storage.files import is_local, match_files, read_head

_EXTENSIONS: Final = (*IMAGE_EXTENSIONS, *VOLUME_EXTENSIONS)
_OTHER_EXTENSIONS: Final = (
    ".bmp", ".gif", ".webp", ".jp2", ".j2k", ".jfif", ".heic", ".avif", ".pgm", ".ppm", ".mha", ".mhd", ".nrrd",
)  # fmt: skip
_DIRECTORY: Final = "DICOMDIR"  # the table of contents of a disc, which is DICOM as well


def find_files(paths: Sequence[str], *, recursive: bool = False, without: Path | None = None) -> list[str]:
    """Return the files of images and volumes, in the order given, each once.

    A file that is named is taken whatever its name. In folders, and of what a pattern matches, those are taken that
    have the extension of an image or a volume, or are DICOM without one; they are sorted, and hidden ones passed over.
    A URL that holds `*`, `?` or `[` is a pattern.

    Args:
        paths: Files, folders, and patterns such as `scans/**/*.dcm`; also as URLs of a store.
        recursive: Whether folders in folders are looked into.
        without: A folder that is passed over, with all that is in it.

    Raises:
        UserError: A path does not exist, a folder or pattern leads to no image, or a store cannot be reached.
    """
    found: dict[str, None] = {}
    for path in paths:
        if is_local(path):
            files = [str(file) for file in _find(Path(path), recursive, without)]
        else:
            files = _find_in_store(path, recursive)
        if not files:
            deeper = " below it" if recursive else ""
            raise UserError(f"'{path}' holds no images ({', '.join(_EXTENSIONS)}){deeper}")
        found.update(dict.fromkeys(files))
    return list(found)


def name_left_out(paths: Sequence[str], *, recursive: bool = False, without: Path | None = None) -> Iterator[str]:
    """Yield a line for each local folder that holds what a user may have meant and `find_files` does not take.

    Args:
        paths: As those of `find_files`; stores are not searched, for listing them again takes long.
        recursive: Likewise.
        without: Likewise.
    """
    for path in paths:
        if is_local(path) and os.path.isdir(path):
            left_out: dict[str, list[str]] = {}
            for kind, name in _find_left_out(Path(path), recursive, without):
                left_out.setdefault(kind, []).append(name)
            kinds = [f"{kind} ({len(names)}, such as {min(names)})" for kind, names in sorted(left_out.items())]
            if kinds:
                yield f"of '{path}' are left out: {'; '.join(kinds)}"


def _find_left_out(root: Path, recursive: bool, without: Path | None) -> Iterator[tuple[str, str]]:
    for folder, folders, names in os.walk(root):
        inner = Path(folder)
        folders[:] = [name for name in folders if not name.startswith(".") and not _is_same(inner / name, without)]
        for name in names:
            if kind := _kind_left_out(inner / name, is_searched=recursive or inner == root):
                yield kind, str((inner / name).relative_to(root))


def _kind_left_out(file: Path, *, is_searched: bool) -> str:
    """Return what a file is that is not taken, in the plural; "" where it is taken, or nobody would think it was."""
    name = file.name.lower()
    if name.startswith("."):
        return ""
    if not file.exists():
        return "links that lead to no file"
    if name.endswith(_OTHER_EXTENSIONS):
        return "files of formats that are not read"
    return "" if is_searched or not name.endswith(_EXTENSIONS) else "images in its folders, which --recursive takes"


def _find(path: Path, recursive: bool, without: Path | None) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from _list_folder(path, recursive, without)
    elif glob.has_magic(str(path)):
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
        if not matches:
            raise UserError(f"pattern '{path}' matches nothing")
        for match in matches:
            if without is not None and match.resolve().is_relative_to(without.resolve()):
                continue
            if match.is_dir() and "**" not in path.parts:  # what is in it is matched there
                yield from _list_folder(match, recursive, without)
            elif _is_image(match):
                yield match
    else:
        raise UserError(f"image '{path}' does not exist")


def _find_in_store(url: str, recursive: bool) -> list[str]:
    matched, is_pattern = match_files(url), glob.has_magic(url)
    if not is_pattern:
        inside = match_files(f"{url.rstrip('/')}/{'**' if recursive else '*'}")
        if matched and not inside:
            return matched
        matched = inside
    if not matched:
        missing = f"pattern '{url}' matches nothing" if is_pattern else f"'{url}' is no file, and no folder with files"
        raise UserError(missing)
    return [file for file in matched if "/." not in file and _looks_like_image(file)]


def _list_folder(folder: Path, recursive: bool, without: Path | None) -> Iterator[Path]:
    """Yield the images in a folder, then those of its folders."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"folder '{folder}' cannot be read: {error.strerror}") from error
    for entry in entries:
        if _is_image(folder / entry.name):
            yield folder / entry.name
    for entry in entries:
        inner = folder / entry.name
        if recursive and entry.is_dir() and not entry.name.startswith(".") and not _is_same(inner, without):
            yield from _list_folder(inner, recursive, without)


def _is_same(folder: Path, other: Path | None) -> bool:
    return other is not None and folder.resolve() == other.resolve()


def _is_image(file: Path) -> bool:
    return not file.name.startswith(".") and file.is_file() and _looks_like_image(str(file))


def _looks_like_image(file: str) -> bool:
    name = os.path.basename(file)
    if not name or name.upper() == _DIRECTORY:  # of a store, a folder may be an object without a name
        return False
    return name.lower().endswith(_EXTENSIONS) or is_bare_dicom(name, lambda: read_head(file))
