"""CSV files of what is known of images: one row an image, the first line names the columns.

>>> [row.cells for row in read_rows("clinic/metadata.csv", "image")]
[{'image': 'a', 'patient_id': 'p1'}]

What spreadsheets write is read as well: semicolons or tabs between the cells, a byte order mark, a line `sep=;`.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from pipeline.errors import UserError
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.storage.files import open_file

_DELIMITERS: Final = (",", ";", "\t")
_BLANKS: Final = frozenset({"", "-", "--", "nan", "nat", "null", "none", "nil", "na", "n/a", "n.a.", "#n/a", "<na>"})


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        path: Of the file.
        line: Of its last line in the file, from 1.
        cells: Text by column name, stripped; empty cells left out, and those that say that nothing is known: NaN, N/A.
        fault: What is wrong with the row as a whole, in the form of a `CellError`; empty where nothing is.
    """

    path: str
    line: int
    cells: dict[str, str]
    fault: str = ""

    @property
    def place(self) -> str:
        """Name of the file, and line, for messages."""
        return f"{file_name(self.path)}, line {self.line}"


def file_name(path: str) -> str:
    """Return the name of a table's file, for messages."""
    return path.rpartition("/")[2]


def read_rows(path: str, column: str) -> Iterator[Row]:
    """Read a table row by row; rows without a filled cell are passed over.

    Args:
        path: Of the file, in UTF-8.
        column: That must be there, once, and filled in each row.

    Raises:
        UserError: The file cannot be read, is no CSV file in UTF-8, or lacks the column or a cell of it.
    """
    with _open_table(path) as lines:
        header = _read_header(lines)
        if column not in header:
            raise UserError(f"{path}, line 1: has no column '{column}', only: {', '.join(header)}")
        for values in lines:
            stripped = [value.strip() for value in values]
            if not any(stripped):
                continue
            row = _read_row(path, lines.line_num, header, stripped)
            named = dict(zip(header, stripped, strict=False)).get(column)
            if not named:
                raise UserError(f"{path}, line {row.line}: column '{column}' is empty")
            yield replace(row, cells={**row.cells, column: named})  # a file may be called "na"


def read_columns(path: str, known: Sequence[str]) -> list[str]:
    """Read the names of the columns of a table.

    Args:
        path: Of the file.
        known: Names that mean something, so that no two columns may share one.

    Raises:
        UserError: The file cannot be read, is no CSV file in UTF-8, or gives two columns one of the known names.
    """
    with _open_table(path) as lines:
        header = _read_header(lines)
    for name, count in Counter(header).items():
        if count > 1 and name in known:
            raise UserError(f"{path}, line 1: has {count} columns '{name}': leave one")
    return header


def _read_row(path: str, line: int, header: list[str], values: list[str]) -> Row:
    """Make the row of a line; one that has not as many cells as the header may have them under wrong names."""
    row = Row(path, line, {name: value for name, value in zip(header, values, strict=False) if not is_blank(value)})
    if len(values) < len(header) or any(values[len(header) :]):
        cells = "1 cell" if len(values) == 1 else f"{len(values)} cells"
        fault = f"has {cells} in {row.place}, not the {len(header)} of the header"
        return Row(path, line, row.cells, fault)
    return row


def is_blank(value: str) -> bool:
    """Tell whether a cell is empty, or filled with what spreadsheets and statistics programs write for nothing."""
    return value.casefold() in _BLANKS


@contextmanager
def _open_table(path: str) -> Iterator[Any]:
    """Yield the `csv.reader` of a file."""
    lines = None
    try:
        with open_file(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            first = text.readline()
            delimiter = _find_delimiter(first)
            # What is no CSV is refused, for a quote that is never closed would swallow all rows behind it.
            lines = csv.reader(chain([first], text), delimiter=delimiter, strict=True)
            if first.startswith("sep="):
                next(lines)
            yield lines
    except ImageError as error:
        raise UserError(f"{path} {error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no UTF-8 text: save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise UserError(f"{path}, line {lines.line_num if lines else 1}: {error}") from error


def _find_delimiter(first: str) -> str:
    """Return what stands between the cells: of comma, semicolon and tab the first that divides the first line."""
    if first.startswith("sep="):
        return first[4:5].strip("\r\n") or _DELIMITERS[0]
    for delimiter in _DELIMITERS:
        if len(next(csv.reader([first], delimiter=delimiter), [])) > 1:
            return delimiter
    return _DELIMITERS[0]


def _read_header(lines: Iterator[list[str]]) -> list[str]:
    return [name.strip() for name in next(lines, [])]
