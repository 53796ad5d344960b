"""The layouts by name: those that are known, and those of other packages (see `base`)."""

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from pipeline.errors import UserError, one_line
from pipeline.ingest.layouts.base import Layout
from pipeline.ingest.layouts.csv_table import CSV
from pipeline.ingest.layouts.ct import CT
from pipeline.ingest.layouts.folder import FOLDER
from pipeline.ingest.layouts.jsrt import JSRT
from pipeline.ingest.layouts.nlm import MONTGOMERY, SHENZHEN
from pipeline.ingest.storage.files import exists, is_file
from schema.suggestions import did_you_mean

PLUGINS: Final = "lungseg.layouts"
"""Group of the entry points of other packages' layouts."""

LAYOUTS: Final = {
    "folder": FOLDER,
    "montgomery": MONTGOMERY,
    "shenzhen": SHENZHEN,
    "jsrt": JSRT,
    "csv": CSV,
    "ct": CT,
}
"""The known layouts by name."""

_HINT_AT_TABLE: Final = "; `--layout csv` takes files wherever they lie, by a table of their paths"


def find_layout(name: str, root: str) -> Layout:
    """Find a layout and make sure that an input fits it.

    Raises:
        UserError: The layout is unknown or cannot be loaded; the input is missing or does not fit.
    """
    layout = _load(name)
    if not exists(root):
        raise UserError(f"{root} does not exist")
    if is_file(root) != layout.is_file:
        raise UserError(f"{root} is not a {'file' if layout.is_file else 'folder'}")
    if not layout.fits(root):
        fitting = [key for key, other in LAYOUTS.items() if other.is_file == layout.is_file and other.fits(root)]
        hint = f"; the layout '{fitting[0]}' would fit" if fitting else _HINT_AT_TABLE if not layout.is_file else ""
        raise UserError(f"{root} does not fit the layout '{name}', which looks for {layout.looks_for}{hint}")
    return layout


def _load(name: str) -> Layout:
    if name in LAYOUTS:
        return LAYOUTS[name]
    plugins = {point.name: point for point in entry_points(group=PLUGINS)}
    if name in plugins:
        return _load_plugin(plugins[name])
    known = [*LAYOUTS, *sorted(plugins)]
    raise UserError(f"unknown layout '{name}': known are {', '.join(known)}{did_you_mean(name, known)}")


def _load_plugin(point: EntryPoint) -> Layout:
    package = f" of {point.dist.name}" if point.dist else ""
    try:
        layout = point.load()
    except Exception as error:  # whatever a module of others raises when it is imported
        cause = one_line(f"{type(error).__name__}: {error}")
        raise UserError(f"layout '{point.name}'{package} cannot be loaded from {point.value}: {cause}") from error
    if not isinstance(layout, Layout):
        raise UserError(f"layout '{point.name}'{package}: {point.value} is a {type(layout).__name__}, not a Layout")
    return layout
