import csv
import hashlib
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from pictures import read_picture
from PIL import Image

from pipeline.commands.phantoms import COLUMNS, phantom, write_phantoms
from pipeline.errors import UserError

COUNT, SEED, SIZE = 12, 4, 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("phantoms") / "new" / "set"
    write_phantoms(output, count=COUNT, seed=SEED, size=SIZE)
    return output


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def metadata(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_layout(folder: Path) -> None:
    names = [f"phantom-{number:04d}.png" for number in range(1, COUNT + 1)]
    assert sorted(path.name for path in folder.iterdir()) == ["README.txt", "images", "masks", "metadata.csv"]
    for part in ("images", "masks"):
        assert sorted(path.name for path in (folder / part).iterdir()) == names
    assert [path.name for path in folder.parent.iterdir()] == ["set"]  # no temporary folder is left


def test_everything_says_that_it_is_synthetic(folder: Path) -> None:
    assert "no patient's images" in (folder / "README.txt").read_text(encoding="utf-8")
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            assert image.mode == "L"
            assert image.size == (SIZE, SIZE)
            assert image.info["Description"].startswith("synthetic")
    for row in metadata(folder):
        assert row["finding"] == "synthetic"
        assert row["source"].startswith("phantom-")
        assert row["patient_id"].startswith("phantom-p")


def test_marker_is_burned_in() -> None:
    image, _ = phantom(seed=1, patient=1, image=1, size=256)
    assert (image[4:16] > 150).sum() > 60


def test_metadata(folder: Path) -> None:
    rows = metadata(folder)
    assert tuple(rows[0]) == COLUMNS
    assert [row["image"] for row in rows] == [f"phantom-{number:04d}" for number in range(1, COUNT + 1)]
    assert {row["source"] for row in rows} == {"phantom-a", "phantom-b"}
    assert {row["view"] for row in rows} == {"PA"}
    assert {row["sex"] for row in rows} == {"female", "male"}
    assert all(18 <= int(row["age"]) < 90 for row in rows)


def test_images_of_one_patient_share_what_describes_the_patient(folder: Path) -> None:
    rows = metadata(folder)
    patients: dict[str, list[tuple[str, ...]]] = {}
    for row in rows:
        patients.setdefault(row["patient_id"], []).append((row["source"], row["sex"], row["age"]))
    assert {len(images) for images in patients.values()} == {1, 2}
    assert all(len(set(images)) == 1 for images in patients.values())
    assert list(patients) == [f"phantom-p{number:03d}" for number in range(1, len(patients) + 1)]


def test_images_of_one_patient_differ_in_pose(folder: Path) -> None:
    rows = metadata(folder)
    first, second = next((a, b) for a, b in itertools.pairwise(rows) if a["patient_id"] == b["patient_id"])
    masks = [read_picture(folder / "masks" / f"{row['image']}.png") for row in (first, second)]
    assert (masks[0] != masks[1]).any()


def test_same_seed_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "again", count=COUNT, seed=SEED, size=SIZE)
    assert digests(tmp_path / "again") == digests(folder)


def test_fewer_images_are_the_first_of_more(folder: Path, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "few", count=5, seed=SEED, size=SIZE)
    few, many = digests(tmp_path / "few"), digests(folder)
    del few["metadata.csv"]
    assert len(few) == 2 * 5 + 1
    assert few.items() <= many.items()
    assert metadata(tmp_path / "few") == metadata(folder)[:5]


def test_another_seed_other_images() -> None:
    assert (phantom(1, 1, 1, SIZE)[0] != phantom(2, 1, 1, SIZE)[0]).any()


@pytest.mark.parametrize("size", [64, 100, 256])
@pytest.mark.parametrize("seed", range(8))
def test_mask_is_two_lungs_inside_the_image(seed: int, size: int) -> None:
    image, mask = phantom(seed, patient=1 + seed, image=1, size=size)
    assert image.shape == mask.shape == (size, size)
    assert image.dtype == mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 255}
    assert cv2.connectedComponents(mask)[0] - 1 == 2
    assert 0.15 < (mask > 0).mean() < 0.4
    assert not any(edge.any() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


@pytest.mark.parametrize("seed", range(8))
def test_lungs_are_darker_than_what_surrounds_them(seed: int) -> None:
    image, mask = phantom(seed, patient=1, image=1, size=128)
    around = (cv2.dilate(mask, np.ones((13, 13))) > 0) & (mask == 0)
    assert image[mask > 0].mean() + 15 < image[around].mean()
    assert np.mean(image == 255) < 0.01


def test_masks_follow_the_drawn_edge() -> None:
    """Moved by 2 % of the side in any direction, the mask separates dark from bright less well."""
    contrast = dict.fromkeys(((0, 0), (5, 0), (-5, 0), (0, 5), (0, -5)), 0.0)
    for seed in range(4):
        image, mask = phantom(seed, patient=1, image=1, size=256)
        for shift in contrast:
            moved = np.roll(mask, shift, axis=(0, 1))
            around = (cv2.dilate(moved, np.ones((9, 9))) > 0) & (moved == 0)
            contrast[shift] += image[around].mean() - image[moved > 0].mean()
    assert max(contrast, key=lambda shift: contrast[shift]) == (0, 0)


def test_progress_and_default_size(tmp_path: Path) -> None:
    seen: list[int] = []
    write_phantoms(tmp_path / "set", count=2, seed=0, progress=seen.append)
    assert seen == [1, 2]
    with Image.open(tmp_path / "set" / "images" / "phantom-0001.png") as image:
        assert image.size == (512, 512)


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    write_phantoms(tmp_path, count=1, seed=0, size=64)
    assert (tmp_path / "images" / "phantom-0001.png").is_file()


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "set", count=2, seed=0, size=64, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("parent", "problem"), [("/proc", "No such file or directory"), ("file", "File exists")])
def test_where_nothing_can_be_written(tmp_path: Path, parent: str, problem: str) -> None:
    (tmp_path / "file").touch()
    output = tmp_path / parent / "set"
    with pytest.raises(UserError) as error:
        write_phantoms(output, count=1, seed=0, size=64)
    assert str(error.value) == f"cannot write to '{output}': {problem}"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_existing_output_is_left_alone(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "set"
    if kind == "folder":
        output.mkdir()
        (output / "mine.txt").touch()
    else:
        output.touch()
    with pytest.raises(UserError) as error:
        write_phantoms(output, count=1, seed=0)
    expected = f"'{output}' exists and is not an empty folder: name another folder, or remove this one"
    assert str(error.value) == expected
    assert output.is_file() or [path.name for path in output.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("count", "seed", "size", "message"),
    [
        (0, 0, 64, "count is 0: choose 1 or more"),
        (1, -1, 64, "seed is -1: choose 0 or more"),
        (1, 0, 63, "size is 63: choose 64 or more"),
    ],
)
def test_numbers_out_of_range(tmp_path: Path, count: int, seed: int, size: int, message: str) -> None:
    with pytest.raises(UserError) as error:
        write_phantoms(tmp_path / "set", count=count, seed=seed, size=size)
    assert str(error.value) == message
    assert list(tmp_path.iterdir()) == []
