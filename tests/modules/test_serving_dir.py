"""Which pushed version is the newest."""

from pathlib import Path

import pytest

from modules.serving_dir import is_model, newest_version


def push(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "saved_model.pb").write_bytes(b"")


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["9", "10"], 10),
        (["1", "1700000000", "99"], 1700000000),
        (["3", "latest", "4.bak", "-5", ".6", "7 ", "007"], 3),
        (["latest"], None),
        ([], None),
    ],
    ids=str,
)
def test_the_highest_number_is_the_newest(tmp_path: Path, names: list[str], newest: int | None) -> None:
    push(tmp_path, *names)
    assert newest_version(str(tmp_path)) == newest


def test_a_folder_without_a_model_is_no_version(tmp_path: Path) -> None:
    push(tmp_path, "2")
    (tmp_path / "3" / "variables").mkdir(parents=True)
    assert newest_version(str(tmp_path)) == 2
    assert is_model(str(tmp_path / "2"))
    assert not is_model(str(tmp_path / "3"))


def test_a_file_is_no_version(tmp_path: Path) -> None:
    (tmp_path / "7").write_bytes(b"")
    assert newest_version(str(tmp_path)) is None


def test_a_missing_folder_holds_none(tmp_path: Path) -> None:
    assert newest_version(str(tmp_path / "missing")) is None
    assert not is_model(str(tmp_path / "missing"))


def test_a_file_in_place_of_the_folder_holds_none(tmp_path: Path) -> None:
    (tmp_path / "serving").write_bytes(b"")
    assert newest_version(str(tmp_path / "serving")) is None
