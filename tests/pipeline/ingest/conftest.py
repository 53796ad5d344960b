"""Small image folders to ingest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.ingest.images import Pixels

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Saves pixels below tmp_path: save("images/a.png", pixels, quality=50)."""

    def write(name: str, pixels: NDArray[Any], **options: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **options)
        return path

    return write


@pytest.fixture
def image() -> Pixels:
    """A grey image, uint8 [40, 48]."""
    return np.random.default_rng(7).integers(0, 256, (40, 48), np.uint8)


@pytest.fixture
def mask() -> Pixels:
    """Two lungs of 255 in 0, uint8 [40, 48]."""
    pixels = np.zeros((40, 48), np.uint8)
    pixels[8:32, 6:20] = pixels[8:32, 28:42] = 255
    return pixels


@pytest.fixture
def folder(tmp_path: Path, save: Save, image: Pixels, mask: Pixels) -> Path:
    """Ten images a to j with masks in the layout `folder`."""
    for index, stem in enumerate("abcdefghij"):
        save(f"clinic/images/{stem}.png", np.roll(image, index))
        save(f"clinic/masks/{stem}.png", mask)
    return tmp_path / "clinic"
