"""What there is to segment: images, and volumes of one file or of a series of files.

>>> list_inputs(["s3://clinic/a.png", "ct/1.dcm", "ct/2.dcm"])
[Input(name='a', path='s3://clinic/a.png', kind='raster', ...), Input(name='ct', path='ct', ...)]
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pydicom.datadict import tag_for_keyword
from pydicom.uid import CTImageStorage

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.dicom.parser import get_text, hide_values, is_dicom, parse_header
from pipeline.ingest.formats.extensions import VOLUME_EXTENSIONS
from pipeline.ingest.formats.nifti import is_nifti
from pipeline.ingest.storage.files import open_file, read_file, read_some
from pipeline.prediction.names import distinct_names, to_text
from schema.reports.prediction import Kind

_HEAD: Final = 2**12
_DICOM_HEAD: Final = 2**16
_SERIES: Final = tag_for_keyword("SeriesInstanceUID") or 0


@dataclass(frozen=True)
class Input:
    """An image or a volume; small, and picklable.

    Attributes:
        name: What the names of its results begin with; no two inputs share one.
        path: Its file, or the folder of a series; a path or URL, as the user has it.
        kind: What its content is.
        files: All that is read: the slices of a series, in any order.
    """

    name: str
    path: str
    kind: Kind
    files: tuple[str, ...]

    @property
    def label(self) -> str:
        """What tables and messages call it."""
        return to_text(self.path)


class _Looked(NamedTuple):
    """What the beginning of a file tells: its kind, and which series it is a slice of."""

    kind: Kind
    series_uid: str = ""


def list_inputs(files: Sequence[str]) -> list[Input]:
    """Group files to inputs: CT slices in DICOM of one folder and series are one, any other file is one of its own.

    A series is called after its folder where all files of it are its slices, otherwise after its first file.

    Args:
        files: Paths and URLs, no two alike.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    kinds: dict[tuple[str, str], Kind] = {}
    for file in files:
        kind, series_uid = _look(file)
        key = (folder_of(file), series_uid) if kind == "series" else (file, "")
        groups.setdefault(key, []).append(file)
        kinds[key] = kind
    shared = Counter(folder_of(group[0]) for group in groups.values())
    paths = [
        folder_of(group[0]) if kinds[key] == "series" and shared[folder_of(group[0])] == 1 else group[0]
        for key, group in groups.items()
    ]
    # A folder called `.` has a name as well.
    names = distinct_names([os.getcwd() if path == os.curdir else path for path in paths])
    return [
        Input(name, path, kinds[key], tuple(group))
        for name, path, (key, group) in zip(names, paths, groups.items(), strict=True)
    ]


def folder_of(file: str) -> str:
    """Return the folder that a file lies in."""
    return os.path.dirname(file) or os.curdir


def _look(file: str) -> _Looked:
    """Tell what a file is; one that cannot be read is taken for an image, and reading it says what is wrong."""
    try:
        with open_file(file) as opened:
            head = read_some(opened, _HEAD)
            if is_dicom(head):
                head += read_some(opened, _DICOM_HEAD)
                return _look_at_dicom(file, head)
    except ImageError:
        return _Looked("raster")
    if is_nifti(head) or file.lower().endswith(VOLUME_EXTENSIONS):
        return _Looked("nifti")
    return _Looked("raster")


def _look_at_dicom(file: str, head: bytes) -> _Looked:
    try:
        return _look_at_header(head)
    except ImageError:  # cut off within a long element
        try:
            return _look_at_header(read_file(file))
        except ImageError:
            return _Looked("radiograph")


def _look_at_header(data: bytes) -> _Looked:
    with hide_values():
        header = parse_header(data, _SERIES)
        if get_text(header, "SOPClassUID") == CTImageStorage or get_text(header, "Modality") == "CT":
            return _Looked("series", get_text(header, "SeriesInstanceUID"))
        return _Looked("radiograph")
