"""What there is to segment: images, and volumes of one file or of a series of files.

>>> list_inputs([Path("a.png"), Path("ct/1.dcm"), Path("ct/2.dcm")])
[Input(name='a', path=PosixPath('a.png'), kind='raster', ...), Input(name='ct', path=PosixPath('ct'), ...)]
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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
        path: Its file, or the folder of a series.
        kind: What its content is.
        files: All that is read: the slices of a series, in any order.
    """

    name: str
    path: Path
    kind: Kind
    files: tuple[Path, ...]

    @property
    def label(self) -> str:
        """What tables and messages call it."""
        return to_text(self.path)


class _Looked(NamedTuple):
    """What the beginning of a file tells: its kind, and which series it is a slice of."""

    kind: Kind
    series_uid: str = ""


def list_inputs(files: Sequence[Path]) -> list[Input]:
    """Group files to inputs: CT slices in DICOM of one folder and series are one, any other file is one of its own.

    A series is called after its folder where all files of it are its slices, otherwise after its first file.

    Args:
        files: No two alike.
    """
    groups: dict[tuple[Path, str], list[Path]] = {}
    kinds: dict[tuple[Path, str], Kind] = {}
    for file in files:
        kind, series_uid = _look(file)
        key = (file.parent, series_uid) if kind == "series" else (file, "")
        groups.setdefault(key, []).append(file)
        kinds[key] = kind
    shared = Counter(group[0].parent for group in groups.values())
    paths = [
        group[0].parent if kinds[key] == "series" and shared[group[0].parent] == 1 else group[0]
        for key, group in groups.items()
    ]
    # A folder called `.` has a name as well.
    names = distinct_names([path if path.name else path.resolve() for path in paths])
    return [
        Input(name, path, kinds[key], tuple(group))
        for name, path, (key, group) in zip(names, paths, groups.items(), strict=True)
    ]


def _look(file: Path) -> _Looked:
    """Tell what a file is; one that cannot be read is taken for an image, and reading it says what is wrong."""
    try:
        with open_file(str(file)) as opened:
            head = read_some(opened, _HEAD)
            if is_dicom(head):
                head += read_some(opened, _DICOM_HEAD)
                return _look_at_dicom(file, head)
    except ImageError:
        return _Looked("raster")
    if is_nifti(head) or file.name.lower().endswith(VOLUME_EXTENSIONS):
        return _Looked("nifti")
    return _Looked("raster")


def _look_at_dicom(file: Path, head: bytes) -> _Looked:
    try:
        return _look_at_header(head)
    except ImageError:  # cut off within a long element
        try:
            return _look_at_header(read_file(str(file)))
        except ImageError:
            return _Looked("radiograph")


def _look_at_header(data: bytes) -> _Looked:
    with hide_values():
        header = parse_header(data, _SERIES)
        if get_text(header, "SOPClassUID") == CTImageStorage or get_text(header, "Modality") == "CT":
            return _Looked("series", get_text(header, "SeriesInstanceUID"))
        return _Looked("radiograph")
