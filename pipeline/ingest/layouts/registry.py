"""The layouts by name: those that are known, and those of other packages (see `layout`)."""

from difflib import get_close_matches
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final

from pipeline.errors import UserError
from pipeline.ingest.layouts.base import Input, Layout, has_folders
from pipeline.ingest.layouts.csv_table import CSV
from pipeline.ingest.layouts.ct import CT
from pipeline.ingest.layouts.jsrt import JSRT
from pipeline.ingest.metadata import Description, Row, describe_by_row, find_metadata
from pipeline.ingest.storage.files import exists, is_file, join, name_of
from schema import features

if TYPE_CHECKING:
    import apache_beam as beam

PLUGINS: Final = "lungseg.layouts"
"""Group of the entry points of other packages' layouts."""

_LUNG_FOLDERS: Final = ("ManualMask/leftMask", "ManualMask/rightMask")
_MASK_SUFFIX: Final = "_mask"
# Both data sets of the National Library of Medicine end an image's name so.
_FINDINGS: Final = {"_0": "normal", "_1": "tuberculosis"}


def find_layout(name: str, root: str) -> Layout:
    """Finds a layout and makes sure that an input fits it.

    Raises:
        UserError: the layout is unknown or cannot be loaded; the input is missing or does not fit.
    """
    layout = _load(name)
    if not exists(root):
        raise UserError(f"{root} does not exist")
    if is_file(root) != layout.is_file:
        raise UserError(f"{root} is not a {'file' if layout.is_file else 'folder'}")
    if not layout.fits(root):
        fitting = [other for other, one in LAYOUTS.items() if one.is_file == layout.is_file and one.fits(root)]
        hint = f"; the layout '{fitting[0]}' would fit" if fitting else ""
        raise UserError(f"{root} does not fit the layout '{name}', which looks for {layout.looks_for}{hint}")
    return layout


def _load(name: str) -> Layout:
    if name in LAYOUTS:
        return LAYOUTS[name]
    plugins = {point.name: point for point in entry_points(group=PLUGINS)}
    if name in plugins:
        return _load_plugin(plugins[name])
    known = [*LAYOUTS, *sorted(plugins)]
    nearest = get_close_matches(name, known, n=1)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
    raise UserError(f"unknown layout '{name}': known are {', '.join(known)}{hint}")


def _load_plugin(point: EntryPoint) -> Layout:
    package = f" of {point.dist.name}" if point.dist else ""
    try:
        layout = point.load()
    except Exception as error:  # whatever a module of others raises when it is imported
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"layout '{point.name}'{package} cannot be loaded from {point.value}: {cause}") from error
    if not isinstance(layout, Layout):
        raise UserError(f"layout '{point.name}'{package}: {point.value} is a {type(layout).__name__}, not a Layout")
    return layout


def _find_folder(given: Input) -> "beam.PTransform":
    from pipeline.ingest.beam.file_listing import PairByName, Role

    return PairByName(
        given.root,
        Role.of("images"),
        [Role.of("masks")],
        partial(describe_by_row, given.source or name_of(given.root)),
        metadata=find_metadata(given.root),
    )


def _find_montgomery(given: Input) -> "beam.PTransform":
    from pipeline.ingest.beam.file_listing import PairByName, Role

    description = partial(_described_by_name, given.source or "montgomery")
    return PairByName(given.root, Role.of("CXR_png"), [Role.of(folder) for folder in _LUNG_FOLDERS], description)


def _find_shenzhen(given: Input) -> "beam.PTransform":
    from pipeline.ingest.beam.file_listing import PairByName, Role

    images, masks = _shenzhen_folders(given.root)
    description = partial(_described_by_name, given.source or "shenzhen")
    return PairByName(given.root, Role.of(images[0]), [Role.of(masks[0], _MASK_SUFFIX)], description)


def _shenzhen_folders(root: str) -> tuple[list[str], list[str]]:
    """Image and mask folders that are there: copies of the data set name them in two ways."""
    images = [name for name in ("CXR_png", "images") if exists(join(root, name))]
    masks = [name for name in ("mask", "masks") if exists(join(root, name))]
    return images, masks


def _described_by_name(source: str, stem: str, row: Row | None) -> Description:  # noqa: ARG001
    """For data sets with one image a patient and the finding at the end of its name."""
    return Description(patient_id=stem, source=source, finding=_FINDINGS.get(stem[-2:], features.UNKNOWN))


LAYOUTS: Final = {
    "folder": Layout("images/ and masks/", has_folders("images", "masks"), _find_folder),
    "montgomery": Layout(
        f"CXR_png/, {_LUNG_FOLDERS[0]}/ and {_LUNG_FOLDERS[1]}/",
        has_folders("CXR_png", *_LUNG_FOLDERS),
        _find_montgomery,
    ),
    "shenzhen": Layout(
        "CXR_png/ and mask/, or images/ and masks/", lambda root: all(_shenzhen_folders(root)), _find_shenzhen
    ),
    "jsrt": JSRT,
    "csv": CSV,
    "ct": CT,
}
"""The known layouts by name."""
