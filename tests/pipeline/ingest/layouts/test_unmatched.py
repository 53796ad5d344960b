"""What a listing tells of files and rows that match nothing, and whose patient is not named."""

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from pipeline.ingest.metadata import UnnamedPatient

Find = Callable[..., Any]
NFC, NFD = unicodedata.normalize("NFC", "Übersicht é"), unicodedata.normalize("NFD", "Übersicht é")


@pytest.fixture
def touch(tmp_path: Path) -> Callable[..., Path]:
    """Creates empty files below tmp_path/data, and a metadata file; nothing here reads images."""

    def create(*names: str, metadata: str = "") -> Path:
        for name in names:
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        if metadata:
            (tmp_path / "data" / "metadata.csv").write_text(metadata)
        return tmp_path / "data"

    return create


def both(*stems: str) -> list[str]:
    return [f"{folder}/{stem}.png" for stem in stems for folder in ("images", "masks")]


def refused(listing: Any) -> dict[str, str]:
    return {rejection.file: rejection.reason for rejection in listing.rejections}


def test_rows_and_images_that_do_not_match_are_told(find: Find, touch: Callable[..., Path]) -> None:
    metadata = "image,patient_id\nimages/a.png,p1\nimages\\b.png,p2\nA3,p3\nz,p4\nd,nan\n"
    root = touch(*both("a", "b", "a3", "d"), metadata=metadata)
    listing = find("folder", root)
    assert listing.remarks == [
        "1 image without a row in metadata.csv, such as images/a3.png",
        "2 rows of metadata.csv without an image in images/, such as line 4 ('A3')",
    ]
    unnamed = {one.image_id: isinstance(one.description, UnnamedPatient) for one in listing.samples}
    assert unnamed == {"a": False, "a3": True, "b": False, "d": True}
    own = find("folder", root, refuses_unnamed=False)
    assert not any(isinstance(one.description, UnnamedPatient) for one in own.samples)


def test_without_a_column_for_patients_no_image_is_refused(find: Find, touch: Callable[..., Path]) -> None:
    listing = find("folder", touch(*both("a", "b"), metadata="image,sex\na,f\n"))
    assert not any(isinstance(one.description, UnnamedPatient) for one in listing.samples)
    assert listing.remarks == ["1 image without a row in metadata.csv, such as images/b.png"]


def test_a_row_cut_short_refuses_its_image(find: Find, touch: Callable[..., Path]) -> None:
    listing = find("folder", touch(*both("a", "b"), metadata="image,patient_id\na\nb,p\n"))
    assert refused(listing) == {"images/a.png": "has 1 cell in metadata.csv, line 2, not the 2 of the header"}


@pytest.mark.parametrize(
    "name",
    [
        "Metadata.csv", "metadata.CSV", "metadata.xlsx", "meta data.csv", "metadata.tsv", "metadata (1).csv",
        "metadata_v2.xlsx", "metadata.csv.txt", "metadata - Copy.csv",
    ],
)  # fmt: skip
def test_a_slip_in_the_name_of_the_metadata(find: Find, touch: Callable[..., Path], name: str) -> None:
    root = touch(*both("a"), name)
    with pytest.raises(UserError) as caught:
        find("folder", root)
    assert str(caught.value) == f"{root}/{name} is not read: save it as metadata.csv, a CSV file"


@pytest.mark.parametrize("layout", ["folder", "ct"])
def test_a_slip_in_the_name_of_a_column(find: Find, touch: Callable[..., Path], layout: str) -> None:
    root = touch(*both("a"), "volumes/a.nii", metadata="image,PatientID\na,1\n")
    with pytest.raises(UserError) as caught:
        find(layout, root)
    assert str(caught.value) == (
        f"{root}/metadata.csv, line 1: column 'PatientID' is unknown: did you mean 'patient_id'?"
    )


@pytest.mark.parametrize(
    ("layout", "images", "masks"),
    [
        ("shenzhen", "CXR_png/{}.png", ["mask/{}_mask.png"]),
        ("montgomery", "CXR_png/{}.png", ["ManualMask/leftMask/{}.png", "ManualMask/rightMask/{}.png"]),
        ("jsrt", "images/{}.IMG", ["masks/left lung/{}.gif", "masks/right lung/{}.gif"]),
    ],
)
def test_metadata_beside_published_data_count_more_than_names(
    find: Find, touch: Callable[..., Path], layout: str, images: str, masks: list[str]
) -> None:
    stems = ("JPCLN001_1", "JPCLN002_1", "JPCLN003_1")
    names = [name.format(stem) for stem in stems for name in (images, *masks)]
    root = touch(*names, metadata="image,patient_id,finding,sex\nJPCLN001_1,p,effusion,f\nJPCLN002_1,,,\n")

    def known(listing: Any) -> list[tuple[str, bool, str]]:
        found = sorted(listing.samples, key=lambda one: str(one.image_id))
        told = [one.description for one in found]
        return [(one.patient_id, isinstance(one, UnnamedPatient), one.sex) for one in told]

    unnamed = ("", True, "unknown")
    assert known(find(layout, root)) == [("p", False, "female"), unnamed, unnamed]
    own = find(layout, root, refuses_unnamed=False)
    assert known(own) == [("p", False, "female"), *((stem, False, "unknown") for stem in stems[1:])]
    findings = {one.image_id: one.description.finding for one in own.samples}
    assert findings.pop(stems[0]) == "effusion"
    assert set(findings.values()) == {"nodule" if layout == "jsrt" else "tuberculosis"}
    assert own.remarks == ["1 image without a row in metadata.csv, such as " + images.format(stems[2])]


def test_files_of_other_endings_are_told(find: Find, touch: Callable[..., Path]) -> None:
    root = touch(*both("a"), "images/x.bmp", "masks/x.png", "images/y.png", "masks/y.webp", "images/Thumbs.db")
    listing = find("folder", root)
    assert refused(listing) == {
        "images/y.png": "has no mask in masks/ (passed over for the ending of its name: masks/y.webp)",
        "masks/x.png": "is a mask without an image in images/ (passed over for the ending of its name: images/x.bmp)",
    }
    images, masks = listing.remarks
    assert images.startswith("1 file passed over, such as images/x.bmp: names must end in one of .png, ")
    assert masks.startswith("1 file passed over, such as masks/y.webp: names must end in one of .png, ")


def test_folders_below_and_links_that_lead_to_nothing_are_told(find: Find, touch: Callable[..., Path]) -> None:
    root = touch(*both("a"), "images/more/b.png", "images/more/deep/c.png", "images/more/notes.txt",
                 "masks/more/b.png", "images/.cache/d.png")  # fmt: skip
    for link in ("images/x.png", "images/y.png", "masks/x.png", "masks/.z.png"):
        (root / link).symlink_to(root / ".git/annex/objects/x")
    (root / "images/e.png").symlink_to(root / "images/a.png")
    listing = find("folder", root)
    assert (len(listing.samples), refused(listing)) == (1, {"images/e.png": "has no mask in masks/"})
    fetch = "fetch what they link to, with `git annex get` or the like"
    assert listing.remarks == [
        "1 file not read in folders below masks/, such as masks/more/b.png: files must lie in masks/ itself",
        f"1 link in masks/ that leads to no file, such as masks/x.png: {fetch}",
        "2 files not read in folders below images/, such as images/more/b.png: files must lie in images/ itself",
        f"2 links in images/ that lead to no file, such as images/x.png: {fetch}",
    ]


def test_a_volume_of_another_ending_is_told(find: Find, touch: Callable[..., Path]) -> None:
    listing = find("ct", touch("volumes/b.nii", "masks/b.nii", "volumes/a.mha", "masks/a.nii"))
    assert refused(listing) == {
        "masks/a.nii": "is a mask without an image in volumes/ (passed over for the ending of its name: volumes/a.mha)"
    }


@pytest.mark.parametrize(("image", "mask", "row"), [(NFC, NFD, NFD), (NFD, NFC, NFC), (NFD, NFD, NFC)])
def test_names_of_the_same_letters_pair(
    find: Find, touch: Callable[..., Path], image: str, mask: str, row: str
) -> None:
    root = touch(f"images/{image}.png", f"masks/{mask}.png", metadata=f"image,patient_id\n{row}.png,p1\n")
    (sample,) = find("folder", root).samples
    assert (sample.image_id, sample.description.patient_id) == (image, "p1")


@pytest.mark.parametrize(
    ("layout", "image", "masks"),
    [
        ("folder", "images/a.png", ["masks/a.gif"]),
        ("folder", "images/a.png", ["mask/a.GIF"]),
        ("folder", "images/a.png", ["lung masks/a.png"]),
        ("shenzhen", "CXR_png/a.png", ["mask/a_mask.gif"]),
        ("montgomery", "CXR_png/a.png", ["ManualMask/leftMask/a.gif", "ManualMask/rightMask/a.gif"]),
    ],
)
def test_masks_that_are_gif_or_lie_elsewhere(
    find: Find, touch: Callable[..., Path], layout: str, image: str, masks: list[str]
) -> None:
    (sample,) = find(layout, touch(image, *masks)).samples
    assert (sample.name, sample.masks) == (image, tuple(masks))


def test_folders_of_classes(find: Find, touch: Callable[..., Path]) -> None:
    root = touch("COVID-19/images/a.png", "COVID-19/lung masks/a.png", "COVID-19/infection masks/a.png",
                 "Normal/images/b (1).png", "Normal/lung masks/b (1).png", "Other/images/c.png",
                 metadata="image,patient_id,finding\na,p1,\nNormal/images/b (1).png,p2,healthy\nc,p3,\n")  # fmt: skip
    listing = find("folder", root)
    assert [(one.name, one.masks[0], one.image_id, one.description.finding) for one in listing.samples] == [
        ("COVID-19/images/a.png", "COVID-19/lung masks/a.png", "a", "COVID-19"),
        ("Normal/images/b (1).png", "Normal/lung masks/b (1).png", "b (1)", "healthy"),
    ]
    assert refused(listing) == {"Other/images/c.png": "has no mask in lung masks/"}


@pytest.mark.parametrize(("given", "sources"), [(None, ["shenzhen", "montgomery", "shenzhen"]), ("X", ["X", "X", "X"])])
def test_montgomery_and_shenzhen_in_one_folder(
    find: Find, touch: Callable[..., Path], given: str | None, sources: list[str]
) -> None:
    names = ["CHNCXR_0001_0", "MCUCXR_0001_1", "other_1"]
    root = touch(*(f"CXR_png/{name}.png" for name in names), "masks/CHNCXR_0001_0_mask.png",
                 "masks/MCUCXR_0001_1.png", "masks/other_1.png")  # fmt: skip
    found = find("shenzhen", root, given).samples
    assert [(one.image_id, one.description.source) for one in found] == list(zip(names, sources, strict=True))


def test_a_column_of_patients_that_the_mapping_forgot(find: Find, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,lungs,Patient ID\na.png,m.png,1\n")
    (tmp_path / "map.yaml").write_text("image: file\nmask: lungs\n")
    with pytest.raises(UserError) as caught:
        find("csv", tmp_path / "t.csv", mapping=f"{tmp_path}/map.yaml")
    assert str(caught.value).replace(str(tmp_path), "D") == (
        "D/t.csv has the column 'Patient ID', but D/map.yaml names none for patients: add `patient_id: Patient ID`, or "
        "give --unnamed-patients own"
    )
    assert len(find("csv", tmp_path / "t.csv", mapping=f"{tmp_path}/map.yaml", refuses_unnamed=False).samples) == 1
