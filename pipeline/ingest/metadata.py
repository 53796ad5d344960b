"""What is known of an image beside its pixels, and the CSV file that says so.

>>> [describe(row, Description(patient_id="", source="clinic")).age for row in read_rows("clinic/metadata.csv")]
[47.0, 12.5]
"""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from pipeline.errors import UserError
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.extensions import stem_of
from pipeline.ingest.plausibility import MAX_AGE, MAX_PIXEL_SPACING, is_plausible_age, is_plausible_spacing
from pipeline.ingest.storage.files import exists, join, open_file
from schema import features

_METADATA_FILE: Final = "metadata.csv"
_IMAGE: Final = "image"
_TEXTS: Final = (features.PATIENT_ID, features.SOURCE, features.FINDING, features.VIEW)
_SEXES: Final = {
    "f": "female",
    "female": "female",
    "m": "male",
    "male": "male",
    "o": "other",
    "other": "other",
    "unknown": features.UNKNOWN,
}


class CellError(ValueError):
    """A cell that cannot be taken; the message is one line that follows the image's name."""


@dataclass(frozen=True)
class Description:
    """What is known of one image; the fields are those of `schema.record.Record`, `patient_id` empty if not known."""

    patient_id: str
    source: str
    finding: str = features.UNKNOWN
    view: str = features.UNKNOWN
    sex: str = features.UNKNOWN
    age: float = features.UNKNOWN_AGE
    pixel_spacing: float = features.UNKNOWN_SPACING

    def or_else(self, other: "Description") -> "Description":
        """Return what is known here, and elsewhere what `other` knows."""
        nothing = Description(patient_id="", source="")
        names = [field.name for field in fields(self)]
        return replace(self, **{name: getattr(other, name) for name in names
                                if getattr(self, name) == getattr(nothing, name)})  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row of a metadata file.

    Attributes:
        path: Of the file.
        line: Of its last line in the file, from 1.
        cells: Text by column name, stripped; empty cells left out.
    """

    path: str
    line: int
    cells: dict[str, str]

    @property
    def place(self) -> str:
        """Name of the file, and line, for messages."""
        return f"{self.path.rpartition('/')[2]}, line {self.line}"


def find_metadata(root: str) -> str | None:
    """Return the path of the metadata file of an input folder; None where there is none."""
    path = join(root, _METADATA_FILE)
    return path if exists(path) else None


def read_rows(path: str, column: str = _IMAGE) -> Iterator[Row]:
    """Read a CSV file row by row; the first line names the columns, blank lines are passed over.

    Args:
        path: Of the file, in UTF-8.
        column: That must be there, and filled in each row.

    Raises:
        UserError: The file cannot be read, is no CSV file in UTF-8, or lacks the column or a cell of it.
    """
    with _open_table(path) as lines:
        header = _read_header(lines)
        if column not in header:
            raise UserError(f"{path}, line 1: has no column '{column}', only: {', '.join(header)}")
        for values in lines:
            if not values:
                continue
            stripped = {name: value.strip() for name, value in zip(header, values, strict=False)}
            row = Row(path, lines.line_num, {name: value for name, value in stripped.items() if value})
            if column not in row.cells:
                raise UserError(f"{path}, line {row.line}: column '{column}' is empty")
            yield row


def read_columns(path: str) -> list[str]:
    """Read the names of the columns of a CSV file.

    Raises:
        UserError: The file cannot be read, or is no CSV file in UTF-8.
    """
    with _open_table(path) as lines:
        return _read_header(lines)


def image_stem(row: Row) -> str:
    """Return the stem of the image that a row of `metadata.csv` describes."""
    return stem_of(row.cells[_IMAGE])


def describe(row: Row, defaults: Description) -> Description:
    """Describe an image by a row of a table; what its cells leave empty keeps the defaults.

    Raises:
        CellError: Sex, age or pixel spacing is out of its domain.
    """
    known: dict[str, Any] = {name: row.cells[name] for name in _TEXTS if name in row.cells}
    if features.SEX in row.cells:
        known[features.SEX] = _read_sex(row)
    if features.AGE in row.cells:
        known[features.AGE] = _read_age(row)
    if features.PIXEL_SPACING in row.cells:
        known[features.PIXEL_SPACING] = _read_spacing(row)
    return replace(defaults, **known)


def describe_by_row(source: str, stem: str, row: Row | None) -> Description:  # noqa: ARG001
    """Describe an image for layouts with a metadata file: without a row, nothing but the source is known.

    Raises:
        CellError: As `describe`.
    """
    defaults = Description(patient_id="", source=source or features.UNKNOWN)
    return describe(row, defaults) if row else defaults


@contextmanager
def _open_table(path: str) -> Iterator[Any]:
    """Yield the `csv.reader` of a file."""
    lines = None
    try:
        with open_file(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            lines = csv.reader(text)
            yield lines
    except ImageError as error:
        raise UserError(f"{path} {error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no UTF-8 text") from error
    except csv.Error as error:
        raise UserError(f"{path}, line {lines.line_num if lines else 1}: {error}") from error


def _read_header(lines: Iterator[list[str]]) -> list[str]:
    return [name.strip() for name in next(lines, [])]


def _read_sex(row: Row) -> str:
    given = row.cells[features.SEX]
    if given.lower() not in _SEXES:
        raise CellError(f"has the sex '{given}' in {row.place}: not female, male, other or unknown")
    return _SEXES[given.lower()]


def _read_age(row: Row) -> float:
    age = _read_number(row, features.AGE, "age")
    if not is_plausible_age(age):
        raise CellError(f"has the age '{row.cells[features.AGE]}' in {row.place}: not within 0 to {MAX_AGE}")
    return age


def _read_spacing(row: Row) -> float:
    spacing = _read_number(row, features.PIXEL_SPACING, "pixel spacing")
    if not is_plausible_spacing(spacing):
        given = row.cells[features.PIXEL_SPACING]
        raise CellError(f"has the pixel spacing '{given}' in {row.place}: not above 0 and up to {MAX_PIXEL_SPACING} mm")
    return spacing


def _read_number(row: Row, column: str, name: str) -> float:
    given = row.cells[column]
    try:
        return float(given)
    except ValueError as error:
        raise CellError(f"has the {name} '{given}' in {row.place}: not a number") from error
