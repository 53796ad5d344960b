"""Small image folders to ingest, and what a layout finds in them."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import apache_beam as beam
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.beam.settings import BeamSettings
from pipeline.errors import UserError
from pipeline.ingest.layouts.base import Input
from pipeline.ingest.layouts.registry import find_layout
from pipeline.ingest.pairing import Rejection, Remark
from pipeline.ingest.samples import Sample
from schema.record import Pixels

Save = Callable[..., Path]


@dataclass(frozen=True)
class Listing:
    """What a layout finds, in the order of the names."""

    samples: list[Sample]
    rejections: list[Rejection]
    remarks: list[str]

    @property
    def found(self) -> int:
        """Images, and masks without one."""
        return len(self.samples) + len(self.rejections)


@pytest.fixture
def find(tmp_path: Path) -> Callable[..., Listing]:
    """Lists an input: find("folder", root, source=None, mapping=None); what stops a run is raised."""

    def call(
        layout: str, root: object, source: str | None = None, mapping: str | None = None, **options: bool
    ) -> Listing:
        transform = find_layout(layout, str(root)).find(Input(str(root), source, mapping, **options))
        folder = tmp_path / f"found-{uuid4().hex}"
        folder.mkdir()
        with beam.Pipeline(argv=BeamSettings().arguments()) as pipeline:
            _ = pipeline | transform | "Keep" >> beam.Map(keep, folder)
        items = [pickle.loads(path.read_bytes()) for path in folder.iterdir()]  # noqa: S301
        errors = sorted(str(item) for item in items if isinstance(item, UserError))
        if errors:
            raise UserError(errors[0])
        rejections = sorted(item for item in items if isinstance(item, Rejection))
        remarks = sorted(item.text for item in items if isinstance(item, Remark))
        samples = [item for item in items if not isinstance(item, Rejection | Remark)]
        return Listing(sorted(samples, key=lambda sample: sample.name), rejections, remarks)

    return call


def keep(element: object, folder: Path) -> None:
    """Pipelines hand nothing back but files."""
    (folder / uuid4().hex).write_bytes(pickle.dumps(element))


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
