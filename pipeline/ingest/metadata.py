"""What is known of an image beside its pixels, and the CSV file that says so.

>>> [describe(row, Description(patient_id="", source="clinic")).age for row in read_metadata("clinic/metadata.csv")]
[47.0, 12.5]
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any, Final
from unicodedata import category, normalize

from pipeline.errors import UserError
from pipeline.ingest.columns import COLUMNS, IMAGE, TEXTS, describe_slips
from pipeline.ingest.formats.extensions import stem_of
from pipeline.ingest.plausibility import (
    MAX_AGE,
    MAX_PIXEL_SPACING,
    is_plausible_age,
    is_plausible_spacing,
    parse_age_string,
)  # fmt: skip
from pipeline.ingest.storage.files import exists, is_local, join, list_files
from pipeline.ingest.table import Row, is_blank, read_columns, read_rows
from schema import features

_METADATA_FILE: Final = "metadata.csv"
_LIKE_METADATA: Final = re.compile(
    r"meta[ _-]?data((\.csv)?\.txt)?|meta[ _-]?data.*\.(csv|tsv|xlsx?|ods)", re.IGNORECASE
)
_SEXES: Final = {
    "f": "female",
    "female": "female",
    "m": "male",
    "male": "male",
    "o": "other",
    "other": "other",
    "unknown": features.UNKNOWN,
}
# What stands for a patient who is not named: of a finding or a sex, "unknown" is something to say.
_NOBODY: Final = frozenset({
    "unknown", "unk", "not known", "n/k", "missing", "not available", "not applicable", "undefined", "unspecified",
    "anonymous", "anonymized", "anonymised", "anonym", "anon", "de-identified", "deidentified", "redacted", "removed",
    "empty", "blank", "\\n", "#value!", "#ref!", "#name?", "#null!", "#div/0!", "#num!",
})  # fmt: skip


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


class UnnamedPatient(Description):
    """What is known of an image whose patient a table has a column for and does not name: only DICOM headers may."""


@dataclass(frozen=True)
class Metadata:
    """A metadata file.

    Attributes:
        path: Of the file.
        names_patients: Whether it has a column for them.
    """

    path: str
    names_patients: bool

    @classmethod
    def open(cls, path: str) -> "Metadata":
        """Read which columns a metadata file has.

        Raises:
            UserError: It cannot be read, or the name of a column is a slip.
        """
        columns = read_columns(path, COLUMNS)
        if slips := describe_slips(columns):
            raise UserError(f"{path}, line 1: {slips}")
        return cls(path, features.PATIENT_ID in columns)


def find_metadata(root: str) -> Metadata | None:
    """Find the metadata file of an input folder, and read which columns it has.

    Returns:
        None where there is none.

    Raises:
        UserError: It cannot be read, or the name of a column is a slip; or its own name is.
    """
    path = join(root, _METADATA_FILE)
    if exists(path):
        return Metadata.open(path)
    if is_local(root):
        with suppress(OSError):  # what lies deeper may be read all the same
            for name in filter(_LIKE_METADATA.fullmatch, sorted(list_files(root))):
                raise UserError(f"{join(root, name)} is not read: save it as {_METADATA_FILE}, a CSV file")
    return None


def read_metadata(path: str) -> Iterator[Row]:
    """Read the rows of a metadata file.

    Raises:
        UserError: As `read_rows`.
    """
    return read_rows(path, IMAGE)


def image_stem(row: Row) -> str:
    """Return the stem of the image that a row of `metadata.csv` describes, by its name or by a path to it."""
    return stem_of(re.split(r"[/\\]", row.cells[IMAGE])[-1])


def describe(row: Row, defaults: Description) -> Description:
    """Describe an image by a row of a table; what its cells leave empty keeps the defaults.

    Raises:
        CellError: Sex, age or pixel spacing is out of its domain, or the row has too few cells or too many.
    """
    if row.fault:
        raise CellError(row.fault)
    known: dict[str, Any] = {name: row.cells[name] for name in TEXTS if name in row.cells}
    if patient := read_patient(known.pop(features.PATIENT_ID, "")):
        known[features.PATIENT_ID] = patient
    if features.SEX in row.cells:
        known[features.SEX] = _read_sex(row)
    if features.AGE in row.cells:
        known[features.AGE] = _read_age(row)
    if features.PIXEL_SPACING in row.cells:
        known[features.PIXEL_SPACING] = _read_spacing(row)
    return replace(defaults, **known)


def require_patient(description: Description) -> Description:
    """Return what is known of an image that is refused where neither this nor a DICOM header names the patient."""
    return description if description.patient_id else UnnamedPatient(**vars(description))


def read_patient(cell: str) -> str:
    """Return the name of a patient; "" where a cell or a header says that it is not known, or names all alike.

    What looks the same is the same patient: letters are composed, what has no width is left out, and white space is one
    space.
    """
    visible = "".join(character for character in cell if category(character) != "Cf")
    patient = " ".join(normalize("NFC", visible).split())
    name = patient.casefold().strip("()[]<> ")
    return "" if is_blank(name) or name in _NOBODY or not any(map(str.isalnum, name)) else patient


@dataclass(frozen=True)
class DescribeByRow:
    """Describes images by their rows in a metadata file, and by their names.

    Attributes:
        by_name: What the stem of an image's name tells; must be picklable.
        metadata: The file of the rows, if there is one.
        refuses_unnamed: Whether an image whose patient it does not name is to be refused, if it names patients.
    """

    by_name: Callable[[str], Description]
    metadata: Metadata | None = None
    refuses_unnamed: bool = True

    def __call__(self, stem: str, row: Row | None) -> Description:
        """Describe the image of a stem.

        Raises:
            CellError: As `describe`.
        """
        is_required = self.refuses_unnamed and self.metadata is not None and self.metadata.names_patients
        defaults = self.by_name(stem)
        if is_required:
            defaults = replace(defaults, patient_id="")
        description = describe(row, defaults) if row else defaults
        return require_patient(description) if is_required else description


def describe_by_source(source: str, stem: str) -> Description:  # noqa: ARG001
    """Describe an image whose name tells nothing."""
    return Description(patient_id="", source=source or features.UNKNOWN)


def _read_sex(row: Row) -> str:
    given = row.cells[features.SEX]
    if given.lower() not in _SEXES:
        raise CellError(f"has the sex '{given}' in {row.place}: not female, male, other or unknown")
    return _SEXES[given.lower()]


def _read_age(row: Row) -> float:
    coded = parse_age_string(row.cells[features.AGE].upper())
    age = _read_number(row, features.AGE, "age") if coded is None else coded
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
