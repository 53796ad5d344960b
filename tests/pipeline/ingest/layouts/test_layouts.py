"""Finding samples: each layout, what is refused by name, and folders that do not fit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from pipeline.ingest.metadata import Description

Find = Callable[..., Any]
FOLDER = "images/ and masks/ (or mask/, or lung masks/), or folders of classes with these"
TABLE = "; `--layout csv` takes files wherever they lie, by a table of their paths"
Stopped = Callable[[str, Path], str]


@pytest.fixture
def touch(tmp_path: Path) -> Callable[..., Path]:
    """Creates empty files below tmp_path/data; nothing here reads images."""

    def create(*names: str) -> Path:
        for name in names:
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "data"

    return create


@pytest.fixture
def stopped(find: Find) -> Stopped:
    """What stops a run, with D for the input folder."""

    def call(layout: str, root: Path) -> str:
        with pytest.raises(UserError) as caught:
            find(layout, root)
        return str(caught.value).replace(str(root), "D")

    return call


def pairs(listing: Any) -> list[tuple[str, ...]]:
    return [(sample.name, *sample.masks) for sample in listing.samples]


def refused(listing: Any) -> dict[str, str]:
    return {rejection.file: rejection.reason for rejection in listing.rejections}


def test_folder(find: Find, touch: Callable[..., Path]) -> None:
    root = touch("images/b.jpg", "images/a.PNG", "masks/a.tif", "masks/b.png")
    listing = find("folder", root)
    assert pairs(listing) == [("images/a.PNG", "masks/a.tif"), ("images/b.jpg", "masks/b.png")]
    assert [sample.image_id for sample in listing.samples] == ["a", "b"]
    assert listing.samples[0].description == Description(patient_id="", source="data")
    assert refused(listing) == {}
    assert listing.found == 2


def test_other_files_are_passed_over(find: Find, touch: Callable[..., Path]) -> None:
    root = touch("images/a.png", "images/Thumbs.db", "images/.b.png", "images/._a.png", "images/sub.png/x",
                 "masks/a.png", "masks/readme.txt")  # fmt: skip
    listing = find("folder", root)
    assert pairs(listing) == [("images/a.png", "masks/a.png")]
    assert listing.found == 1


def test_source_of_metadata_then_of_the_caller_then_of_the_folder(find: Find, touch: Callable[..., Path]) -> None:
    root = touch("images/a.png", "images/b.png", "masks/a.png", "masks/b.png")
    (root / "metadata.csv").write_text("image,source\na,Bonn\nb,\n")
    assert [sample.description.source for sample in find("folder", root, "Essen").samples] == ["Bonn", "Essen"]
    assert [sample.description.source for sample in find("folder", root).samples] == ["Bonn", "data"]


def test_a_bad_cell_refuses_its_image_alone(find: Find, touch: Callable[..., Path]) -> None:
    root = touch("images/a.png", "images/b.png", "masks/a.png", "masks/b.png")
    (root / "metadata.csv").write_text("image,age\na,old\nb,50\n")
    listing = find("folder", root)
    assert refused(listing) == {"images/a.png": "has the age 'old' in metadata.csv, line 2: not a number"}
    assert [sample.image_id for sample in listing.samples] == ["b"]


def test_metadata_of_other_images_stops_the_run(stopped: Stopped, touch: Callable[..., Path]) -> None:
    root = touch("images/a.png", "masks/a.png")
    (root / "metadata.csv").write_text("image,patient_id\nc,1\nd,1\n")
    assert stopped("folder", root) == "D/metadata.csv lists 2 images, none of which is in D/images with a mask"


def test_metadata_is_not_blamed_for_missing_masks(find: Find, touch: Callable[..., Path]) -> None:
    root = touch("images/a.png", "masks/b.png")
    (root / "metadata.csv").write_text("image,patient_id\na,1\n")
    assert list(refused(find("folder", root))) == ["images/a.png", "masks/b.png"]


def test_montgomery(find: Find, touch: Callable[..., Path]) -> None:
    names = [f"{folder}/M_{end}.png" for folder in ("CXR_png", "ManualMask/leftMask", "ManualMask/rightMask")
             for end in ("1_0", "2_1", "3")]  # fmt: skip
    listing = find("montgomery", touch(*names))
    assert pairs(listing)[0] == ("CXR_png/M_1_0.png", "ManualMask/leftMask/M_1_0.png", "ManualMask/rightMask/M_1_0.png")
    assert [sample.description for sample in listing.samples] == [
        Description("M_1_0", "montgomery", "normal"),
        Description("M_2_1", "montgomery", "tuberculosis"),
        Description("M_3", "montgomery", "unknown"),
    ]


def test_montgomery_needs_both_lungs(find: Find, touch: Callable[..., Path]) -> None:
    root = touch("CXR_png/a.png", "CXR_png/b.png", "ManualMask/leftMask/a.png", "ManualMask/rightMask/b.png",
                 "ManualMask/leftMask/c.png", "ManualMask/rightMask/c.png")  # fmt: skip
    listing = find("montgomery", root)
    assert refused(listing) == {
        "CXR_png/a.png": "has no mask in ManualMask/rightMask/",
        "CXR_png/b.png": "has no mask in ManualMask/leftMask/",
        "ManualMask/leftMask/c.png": "is a mask without an image in CXR_png/",
        "ManualMask/rightMask/c.png": "is a mask without an image in CXR_png/",
    }
    assert listing.found == 4


@pytest.mark.parametrize("image_folder", ["CXR_png", "images"])
@pytest.mark.parametrize("mask_folder", ["mask", "masks"])
@pytest.mark.parametrize("suffix", ["", "_mask"])
def test_shenzhen(find: Find, touch: Callable[..., Path], image_folder: str, mask_folder: str, suffix: str) -> None:
    stems = ["CHNCXR_0001_0", "CHNCXR_0002_1"]
    names = [f"{image_folder}/{stem}.png" for stem in stems] + [f"{mask_folder}/{stem}{suffix}.png" for stem in stems]
    listing = find("shenzhen", touch(*names), source="Ward 3")
    assert [sample.masks[0] for sample in listing.samples] == [f"{mask_folder}/{stem}{suffix}.png" for stem in stems]
    assert [sample.description for sample in listing.samples] == [
        Description("CHNCXR_0001_0", "Ward 3", "normal"),
        Description("CHNCXR_0002_1", "Ward 3", "tuberculosis"),
    ]


def test_refused_by_name(find: Find, touch: Callable[..., Path]) -> None:
    root = touch("images/alone.png", "images/twin.png", "images/twin.jpg", "images/two.png",
                 "masks/orphan.png", "masks/twin.png", "masks/two.png", "masks/two.tif")  # fmt: skip
    listing = find("folder", root)
    twins = "is one of 2 images named 'twin': images/twin.jpg, images/twin.png"
    assert refused(listing) == {
        "images/alone.png": "has no mask in masks/",
        "images/twin.jpg": twins,
        "images/twin.png": twins,
        "images/two.png": "has 2 masks in masks/: two.png, two.tif",
        "masks/orphan.png": "is a mask without an image in images/",
    }
    assert listing.found == 5


def test_unknown_layout(stopped: Stopped, tmp_path: Path) -> None:
    known = "known are folder, montgomery, shenzhen, jsrt, csv, ct"
    assert stopped("shenzen", tmp_path) == f"unknown layout 'shenzen': {known}; did you mean 'shenzhen'?"
    assert stopped("xyz", tmp_path) == f"unknown layout 'xyz': {known}"


def test_missing_folder(stopped: Stopped, tmp_path: Path) -> None:
    assert stopped("folder", tmp_path / "none") == "D does not exist"
    (tmp_path / "file").touch()
    assert stopped("folder", tmp_path / "file") == "D is not a folder"


@pytest.mark.parametrize("content", [(), ("images/Thumbs.db",)])
def test_no_images(stopped: Stopped, touch: Callable[..., Path], content: tuple[str, ...]) -> None:
    root = touch("images/.keep", "masks/a.png", *content)
    assert stopped("folder", root) == "D/images holds no images (.png, .jpg, .jpeg, .tif, .tiff, .dcm, .dicom, .ima)"


@pytest.mark.parametrize(
    ("layout", "looks_for", "folders", "hint"),
    [
        ("folder", FOLDER, (), TABLE),
        ("folder", FOLDER, ("images",), TABLE),
        ("folder", FOLDER, ("CXR_png", "mask"), "; the layout 'shenzhen' would fit"),
        ("shenzhen", "CXR_png/ and mask/, or images/ and masks/",
         ("CXR_png", "ManualMask/leftMask", "ManualMask/rightMask"), "; the layout 'montgomery' would fit"),
        ("montgomery", "CXR_png/, ManualMask/leftMask/ and ManualMask/rightMask/", ("images", "masks"),
         "; the layout 'folder' would fit"),
    ],
)  # fmt: skip
def test_layout_that_does_not_fit(
    stopped: Stopped, tmp_path: Path, layout: str, looks_for: str, folders: tuple[str, ...], hint: str
) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    assert stopped(layout, tmp_path) == f"D does not fit the layout '{layout}', which looks for {looks_for}{hint}"


def test_folder_that_cannot_be_read(
    stopped: Stopped, touch: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = touch("images/a.png", "masks/a.png")

    def denied(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.scandir", denied)
    assert stopped("folder", root) == "cannot read D/images: Permission denied"


@pytest.mark.parametrize(
    ("layout", "name", "images", "patients"), [("folder", "hannover", 77, 43), ("shenzhen", "shenzhen", 566, 566)]
)
def test_published_data_sets_are_listed_whole(find: Find, layout: str, name: str, images: int, patients: int) -> None:
    root = Path(__file__).resolve().parents[5] / "shared" / "data" / name
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    listing = find(layout, root)
    assert (len(listing.samples), listing.found) == (images, images)
    assert len({sample.description.patient_id for sample in listing.samples}) == patients
