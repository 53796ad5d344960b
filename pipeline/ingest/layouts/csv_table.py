"""A CSV file with one row an image, and a YAML file that names its columns.

    # mapping.yaml: what the record calls it, and which column holds it
    image: ImagePath            # relative to the CSV file's folder, absolute, or a URL of a bucket
    mask: [LeftLung, RightLung] # one column or several, whose masks are joined
    patient_id: SubjectID
    sex: Gender

What may be named beside image and mask: image_id (by default the image's path without its extension), patient_id,
source, finding, view, sex, age and pixel_spacing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from os.path import dirname, exists, normpath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import yaml

from pipeline.errors import UserError, one_line
from pipeline.ingest.columns import meant_by
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.extensions import stem_of
from pipeline.ingest.layouts.base import Input, Layout
from pipeline.ingest.metadata import CellError, Description, describe, require_patient
from pipeline.ingest.pairing import Rejection, stem_key
from pipeline.ingest.samples import ImageSample
from pipeline.ingest.storage.files import is_file, is_local, join, read_file
from pipeline.ingest.table import Row, file_name, read_columns, read_rows
from schema import features
from schema.suggestions import did_you_mean

if TYPE_CHECKING:
    import apache_beam as beam

_IMAGE, _MASK = "image", "mask"
_MOST_NAMED: Final = 3
_OPTIONAL: Final = (
    features.IMAGE_ID, features.PATIENT_ID, features.SOURCE, features.FINDING, features.VIEW, features.SEX,
    features.AGE, features.PIXEL_SPACING,
)  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """The columns of a table.

    Attributes:
        image: That of the image's path.
        masks: Those of the masks' paths.
        others: By the names that records give them.
    """

    image: str
    masks: tuple[str, ...]
    others: dict[str, str]


def read_mapping(path: str) -> Columns:
    """Read the YAML file that names the columns.

    Raises:
        UserError: The file cannot be read, is no YAML mapping of names, holds an unknown key, or lacks image or mask.
    """
    try:
        content = yaml.safe_load(read_file(path))
    except ImageError as error:
        raise UserError(f"{path} {error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is no YAML: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping such as `image: COLUMN`")
    for key in content:
        if key not in (_IMAGE, _MASK, *_OPTIONAL):
            raise UserError(f"{path}: unknown key '{key}'{_suggest(str(key), [_IMAGE, _MASK, *_OPTIONAL])}")
    for key in (_IMAGE, _MASK):
        if not content.get(key):
            raise UserError(f"{path}: names no column for '{key}'")
    masks = content.pop(_MASK)
    masks = masks if isinstance(masks, list) else [masks]
    for key, column in [*content.items(), *((_MASK, mask) for mask in masks)]:
        if not isinstance(column, str):
            raise UserError(f"{path}: '{key}' must name a column, is {column}")
    return Columns(content.pop(_IMAGE), tuple(masks), content)


def _find(input_: Input) -> "beam.PTransform":
    import apache_beam as beam

    if input_.mapping is None:
        raise UserError("the layout 'csv' needs to know the columns: name a YAML file with --mapping")
    columns = read_mapping(input_.mapping)
    named = (columns.image, *columns.masks, *columns.others.values())
    available = read_columns(input_.root, named)
    for column in named:
        if column not in available:
            hint = _suggest(column, available)
            raise UserError(f"{input_.root} has no column '{column}', which {input_.mapping} names{hint}")
    if input_.refuses_unnamed and features.PATIENT_ID not in columns.others:
        _refuse_forgotten_patients(input_, available)
    return (
        beam.Create([input_])
        | "Read table" >> beam.FlatMap(_find_samples, columns)
        | "Group by image" >> beam.GroupByKey()
        | "Refuse repeated images" >> beam.FlatMap(_refuse_repeated, file_name(input_.root))
    )


def _refuse_forgotten_patients(input_: Input, available: list[str]) -> None:
    """Raise UserError where a table has a column that seems to name patients, for which the mapping has no use."""
    for column in available:
        if features.PATIENT_ID in (column, meant_by(column)):
            raise UserError(
                f"{input_.root} has the column '{column}', but {input_.mapping} names none for patients: add "
                f"`{features.PATIENT_ID}: {column}`, or give --unnamed-patients own"
            )


def _find_samples(input_: Input, columns: Columns) -> Iterator[tuple[bytes, bytes]]:
    """Yield what the rows list, by the path of the image: its line, its image and itself, packed."""
    from pipeline.ingest.beam.pickling import pack

    folder = dirname(input_.root)
    try:
        for row in read_rows(input_.root, columns.image):
            image = _read_path(row.cells[columns.image], folder)
            path = normpath(join(folder, image))
            yield stem_key(path), pack((row.line, image, _find_sample(row, image, columns, input_)))
    except UserError as error:
        yield b"", pack((0, "", error))


def _refuse_repeated(
    grouped: tuple[bytes, Iterable[bytes]], table: str
) -> Iterator[ImageSample | Rejection | UserError]:
    """Yield what one row lists; where several list one image, which of them is right cannot be told."""
    from pipeline.ingest.beam.pickling import unpack

    rows = sorted(map(unpack, grouped[1]), key=itemgetter(0))
    if len(rows) == 1:
        [(_, _, listed)] = rows
        yield listed
        return
    lines = ", ".join(str(line) for line, *_ in rows[:_MOST_NAMED]) + ", ..." * (len(rows) > _MOST_NAMED)
    for _, image, _ in rows:
        yield Rejection(image, f"is listed {len(rows)} times: leave one of lines {lines} of {table}")


def _find_sample(row: Row, image: str, columns: Columns, input_: Input) -> ImageSample | Rejection:
    folder = dirname(input_.root)
    named = replace(row, cells={key: row.cells[name] for key, name in columns.others.items() if name in row.cells})
    try:
        description = describe(named, Description(patient_id="", source=input_.source or _source_of(input_.root)))
    except CellError as error:
        return Rejection(image, str(error))
    for column in columns.masks:
        if column not in row.cells:
            return Rejection(image, f"has no mask in column '{column}', line {row.line}")
    if input_.refuses_unnamed and features.PATIENT_ID in columns.others:
        description = require_patient(description)
    image_id = named.cells.get(features.IMAGE_ID, stem_of(image))
    masks = tuple(_read_path(row.cells[column], folder) for column in columns.masks)
    return ImageSample(folder, image, masks, image_id, description)


def _read_path(cell: str, folder: str) -> str:
    """Return the path or URL that a cell names: file:// as a local path, and backslashes as slashes if it exists so."""
    if cell.lower().startswith("file:///"):
        return unquote(urlsplit(cell).path)
    slashed = cell.replace("\\", "/")
    is_windows = slashed != cell and is_local(folder) and is_local(cell)
    return slashed if is_windows and not exists(join(folder, cell)) and exists(join(folder, slashed)) else cell


def _source_of(path: str) -> str:
    """Return the name of a CSV file without its extension: the source of its images where none is named."""
    return path.rpartition("/")[2].removesuffix(".csv") or features.UNKNOWN


def _suggest(name: str, known: list[str]) -> str:
    return did_you_mean(name, known) or f": known are {', '.join(known)}"


CSV: Final = Layout("a CSV file with one row an image", is_file, _find, is_file=True)
"""The layout of a CSV file, whose columns `Input.mapping` names."""
