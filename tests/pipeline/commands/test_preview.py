"""The contact sheet of a policy."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from medical_files import dicom_file

from pipeline.commands.phantoms import write_phantoms
from pipeline.commands.preview import find_mask, write_preview
from pipeline.errors import UserError

SIDE, CAPTION = 320, 51


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("preview") / "phantoms"
    write_phantoms(folder, 2, seed=0, size=96)
    return sorted((folder / "images").iterdir())


def test_a_row_an_image_and_a_column_a_copy(images: list[Path], tmp_path: Path) -> None:
    done: list[int] = []
    output = tmp_path / "new" / "sheet.png"
    write_preview("chest", images, output, copies=3, size=96, progress=done.append)
    sheet = cv2.imread(str(output))
    assert sheet is not None
    assert sheet.shape == (2 * (SIDE + CAPTION), 4 * SIDE, 3)
    assert done == [1, 2]
    first = sheet[:SIDE, :SIDE]
    assert (np.abs(first.astype(int) - (0, 220, 255)).max(axis=2) < 60).any(), "the mask's outline"
    captions = sheet[SIDE : SIDE + CAPTION]
    assert all((captions[:, column * SIDE : (column + 1) * SIDE] < 128).any() for column in range(4))
    tiles = [sheet[:SIDE, column * SIDE : (column + 1) * SIDE] for column in range(4)]
    assert not any(np.array_equal(tiles[0], tile) for tile in tiles[1:])


def test_the_same_policy_makes_the_same_sheet(images: list[Path], tmp_path: Path) -> None:
    sheets = [tmp_path / "a.png", tmp_path / "b.png"]
    for sheet in sheets:
        write_preview("chest", images, sheet, copies=2, size=96)
    assert sheets[0].read_bytes() == sheets[1].read_bytes()


def test_a_copy_that_is_left_out_is_shown_as_such(images: list[Path], tmp_path: Path) -> None:
    policy = tmp_path / "away.yaml"
    policy.write_text(
        "name: away\ncopies: {train: 1}\nmax_lung_loss: 0\nredraws: 0\ntransforms:\n"
        "  - {name: Affine, arguments: {scale: 0.5}, p: 1}\n"
    )
    write_preview(str(policy), images[:1], tmp_path / "sheet.png", copies=1, size=96)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert not sheet[:SIDE, SIDE:].any()


def test_masks_of_another_folder_and_with_a_suffix(images: list[Path], tmp_path: Path) -> None:
    beside = images[0].parent.parent / "masks" / images[0].name
    assert find_mask(images[0], None) == beside
    masks = tmp_path / "mine"
    masks.mkdir()
    named = masks / f"{images[0].stem}_mask.png"
    named.write_bytes(beside.read_bytes())
    assert find_mask(images[0], masks) == named


def test_an_image_is_not_its_own_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("a.png", "a_mask.png"):
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    assert find_mask(Path("a.png"), Path()) == Path("a_mask.png")


@pytest.mark.parametrize("name", ["masks/a.PNG", "masks/a.gif", "mask/a_mask.GIF", "lung masks/a.tif"])
def test_a_mask_is_found_as_at_ingest(tmp_path: Path, name: str) -> None:
    for file in ("images/a.png", "masks/b.png", name):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert find_mask(tmp_path / "images/a.png", None) == tmp_path / name


def test_dicom_with_a_mask_of_its_stem(images: list[Path], tmp_path: Path) -> None:
    pixels = cv2.imread(str(images[0]), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    for folder in ("images", "masks", "plain/images"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "images" / "1.2.840.dcm").write_bytes(dicom_file(pixels, WindowCenter=128, WindowWidth=256))
    (tmp_path / "plain" / "images" / "1.2.840.png").write_bytes(images[0].read_bytes())
    mask = images[0].parent.parent / "masks" / images[0].name
    (tmp_path / "masks" / "1.2.840.png").write_bytes(mask.read_bytes())
    sheets = [tmp_path / "dicom.png", tmp_path / "plain.png"]
    for folder, sheet in zip(("images/1.2.840.dcm", "plain/images/1.2.840.png"), sheets, strict=True):
        write_preview("chest", [tmp_path / folder], sheet, masks=tmp_path / "masks", copies=2, size=96)
    assert sheets[0].read_bytes() == sheets[1].read_bytes()


def test_what_is_wrong_is_told(images: list[Path], tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    with pytest.raises(UserError, match=r"^image 'nowhere\.png' does not exist$"):
        write_preview("chest", [Path("nowhere.png")], sheet)
    with pytest.raises(UserError) as caught:
        write_preview("chest", images[:1], sheet, masks=tmp_path)
    assert str(caught.value) == f"image '{images[0]}' has no mask in {tmp_path}: name the folder with --masks"
    with pytest.raises(UserError, match=r"^augmentation policy 'chst' is neither a file nor one of: "):
        write_preview("chst", images[:1], sheet)
    broken = tmp_path / "images" / "a.png"
    broken.parent.mkdir()
    broken.write_bytes(images[0].read_bytes()[:500])
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        write_preview("chest", [broken], sheet)
    assert str(caught.value).startswith(f"'{broken}' is truncated or damaged")
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as caught:
        write_preview("chest", images[:1], tmp_path / "file" / "sheet.png", copies=1, size=96)
    assert str(caught.value).startswith(f"'{tmp_path}/file/sheet.png' cannot be written: ")
    assert not sheet.exists()
