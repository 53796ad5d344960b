"""Arrays with a header in one file: what is written is read back, and damage is told in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modules.network.settings import ModelSettings
from modules.npz import read_npz, write_npz
from modules.training.settings import TuneSettings

SETTINGS = ModelSettings(image_size=32, levels=2)
ARRAYS: dict[str, Any] = {"layer/0": np.arange(6, dtype=np.float16).reshape(2, 3), "layer/1": np.zeros(0, np.int64)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made" / "weights.npz"
    write_npz(path, SETTINGS, ARRAYS)
    return path


def test_what_is_written_is_read_back(file: Path) -> None:
    settings, arrays = read_npz(file, ModelSettings)
    assert settings == SETTINGS
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert np.array_equal(arrays[name], array)
    assert [path.name for path in file.parent.iterdir()] == ["weights.npz"]


def test_objects_are_not_written(file: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        write_npz(file, SETTINGS, {"objects": np.array([{}])})
    assert read_npz(file, ModelSettings)[0] == SETTINGS


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_file(file: Path, content: bytes | None) -> None:
    file.write_bytes(file.read_bytes()[:300] if content is None else content)
    with pytest.raises(ValueError, match=rf"^'{file}' cannot be read: ") as caught:
        read_npz(file, ModelSettings)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.npz' cannot be read: "):
        read_npz(tmp_path / "none.npz", ModelSettings)


def test_a_header_of_another_kind(file: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: ") as caught:
        read_npz(file, TuneSettings)
    assert "\n" not in str(caught.value)


def test_arrays_without_a_header(file: Path) -> None:
    np.savez(file, **ARRAYS)
    with pytest.raises(ValueError, match="cannot be read: 'settings"):
        read_npz(file, ModelSettings)


def test_weights_of_models_that_are_served_already(file: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "served.npz", settings=np.array(SETTINGS.model_dump_json()), **ARRAYS)
    assert read_npz(tmp_path / "served.npz", ModelSettings)[0] == SETTINGS
    assert (tmp_path / "served.npz").read_bytes() == file.read_bytes(), "an equal model is not pushed again"
