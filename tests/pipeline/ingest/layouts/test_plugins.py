"""Layouts of other packages, through their entry points."""

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from textwrap import dedent

import pytest

from pipeline.errors import UserError
from pipeline.ingest.layouts import base as layout
from pipeline.ingest.layouts.registry import find_layout
from pipeline.ingest.samples import ImageSample

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution `clinic-layouts` with a module `clinic_layouts`: install(code, value of the entry)."""
    site = tmp_path / "site"

    def write(code: str, value: str) -> None:
        info = site / "clinic_layouts-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: clinic-layouts\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[lungseg.layouts]\nflat = {value}\n")
        (site / "clinic_layouts.py").write_text(code)

    monkeypatch.syspath_prepend(site)
    yield write
    sys.modules.pop("clinic_layouts", None)


def example() -> str:
    """The code in the docstring that tells how to write a layout."""
    _, _, code = (layout.__doc__ or "").partition("all in one folder\n")
    return dedent(code[: code.index("\n`find` gives")])


def test_the_documented_example_works(install: Install, tmp_path: Path, find: Callable[..., object]) -> None:
    install(example(), "clinic_layouts:FLAT")
    assert distribution("clinic-layouts").version == "1.0"
    (tmp_path / "set").mkdir()
    for name in ("a.png", "a-lungs.png", "b-lungs.png", "c.png"):
        (tmp_path / "set" / name).touch()
    listing = find("flat", tmp_path / "set")
    (sample,) = listing.samples  # type: ignore[attr-defined]
    assert isinstance(sample, ImageSample)
    assert sample.files == (f"{tmp_path}/set/a.png", f"{tmp_path}/set/a-lungs.png")
    assert (sample.image_id, sample.description.source) == ("a", "clinic")
    assert [rejection.file for rejection in listing.rejections] == ["b-lungs.png"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("code", "value", "problem"),
    [
        ("1 / 0", "clinic_layouts:FLAT",
         "cannot be loaded from clinic_layouts:FLAT: ZeroDivisionError: division by zero"),
        ("", "clinic_layouts:FLAT",
         "cannot be loaded from clinic_layouts:FLAT: AttributeError: module 'clinic_layouts' has no attribute 'FLAT'"),
        ("", "no_such_module:FLAT",
         "cannot be loaded from no_such_module:FLAT: ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_named(install: Install, tmp_path: Path, code: str, value: str, problem: str) -> None:
    install(code, value)
    with pytest.raises(UserError) as caught:
        find_layout("flat", str(tmp_path))
    assert str(caught.value) == f"layout 'flat' of clinic-layouts {problem}"


def test_what_is_no_layout_is_named(install: Install, tmp_path: Path) -> None:
    install("FLAT = 3", "clinic_layouts:FLAT")
    with pytest.raises(UserError) as caught:
        find_layout("flat", str(tmp_path))
    assert str(caught.value) == "layout 'flat' of clinic-layouts: clinic_layouts:FLAT is a int, not a Layout"


def test_plug_ins_are_listed_and_not_loaded(install: Install, tmp_path: Path) -> None:
    install("1 / 0", "clinic_layouts:FLAT")
    with pytest.raises(UserError, match=r"csv, ct, flat; did you mean 'flat'\?$"):
        find_layout("flatt", str(tmp_path))
    with pytest.raises(UserError, match=r"does not fit the layout 'folder'"):
        find_layout("folder", str(tmp_path))
