"""What is known of an image beside its pixels, and the CSV file that says so."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pipeline.errors import UserError
from pipeline.ingest.images import EXTENSIONS
from schema import features

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
_OLDEST: Final = 130


class CellError(ValueError):
    """A cell that cannot be taken; the message is one line that follows the image's name."""


@dataclass(frozen=True)
class Description:
    """What is known of one image; the fields are those of `schema.record.Record`."""

    patient_id: str
    source: str
    finding: str = features.UNKNOWN
    view: str = features.UNKNOWN
    sex: str = features.UNKNOWN
    age: float = features.UNKNOWN_AGE


@dataclass(frozen=True)
class Row:
    """One row of a metadata file.

    Attributes:
        place: file and line, for messages.
        cells: text by column name, stripped; empty cells left out.
    """

    place: str
    cells: dict[str, str]


def read_metadata(path: Path) -> dict[str, Row]:
    """Reads the rows of a CSV file by the stem of the image they describe.

    Raises:
        UserError: the file cannot be read, has no column `image`, or names an image never or twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            if _IMAGE not in header:
                raise UserError(f"{path}, line 1: has no column '{_IMAGE}', only: {', '.join(header)}")
            return _index(path, header, ((reader.line_num, cells) for cells in reader if cells))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no UTF-8 text") from error
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from error


def describe(row: Row, defaults: Description) -> Description:
    """Replaces what the row gives; cells left empty keep the defaults.

    Raises:
        CellError: sex or age is out of its domain.
    """
    known: dict[str, Any] = {name: row.cells[name] for name in _TEXTS if name in row.cells}
    if features.SEX in row.cells:
        known[features.SEX] = _sex(row)
    if features.AGE in row.cells:
        known[features.AGE] = _age(row)
    return replace(defaults, **known)


def _index(path: Path, header: list[str], lines: Iterable[tuple[int, list[str]]]) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for number, values in lines:
        stripped = {name: value.strip() for name, value in zip(header, values, strict=False)}
        cells = {name: value for name, value in stripped.items() if value}
        if _IMAGE not in cells:
            raise UserError(f"{path}, line {number}: column '{_IMAGE}' is empty")
        stem = _stem(cells[_IMAGE])
        if stem in rows:
            raise UserError(f"{path}, line {number}: image '{stem}' is listed twice")
        rows[stem] = Row(f"{path.name}, line {number}", cells)
    return rows


def _stem(name: str) -> str:
    """Drops an image extension only: what follows another dot may be part of a UID."""
    return name[: name.rindex(".")] if name.lower().endswith(EXTENSIONS) else name


def _sex(row: Row) -> str:
    given = row.cells[features.SEX]
    if given.lower() not in _SEXES:
        raise CellError(f"has the sex '{given}' in {row.place}: not female, male, other or unknown")
    return _SEXES[given.lower()]


def _age(row: Row) -> float:
    given = row.cells[features.AGE]
    try:
        age = float(given)
    except ValueError as error:
        raise CellError(f"has the age '{given}' in {row.place}: not a number") from error
    if not 0 <= age <= _OLDEST:
        raise CellError(f"has the age '{given}' in {row.place}: not within 0 to {_OLDEST}")
    return age
