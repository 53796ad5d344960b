"""The masks of an image: of two, one may be empty, and a mask may be smaller or larger than its image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.ingest.metadata import Description, UnnamedPatient
from pipeline.ingest.pairing import Rejection
from pipeline.ingest.samples import ImageSample, ReadOptions
from pipeline.ingest.shard_writer import encode_sample
from schema.record import Pixels, Record, decode

Save = Callable[..., Path]


def read(tmp_path: Path, masks: int, description: Description | None = None) -> Record | Rejection:
    names = tuple(f"{index}.png" for index in range(masks))
    sample = ImageSample(str(tmp_path), "a.png", names, "a", description or Description("p", "clinic"))
    encoded = encode_sample(sample, ReadOptions(64))
    return encoded if isinstance(encoded, Rejection) else decode(encoded.records[0])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_lung(tmp_path: Path, save: Save, image: Pixels, mask: Pixels, order: tuple[int, int]) -> None:
    right = mask.copy()
    right[:, :24] = 0
    save("a.png", image)
    for index, pixels in zip(order, (mask * 0, right), strict=True):
        save(f"{index}.png", pixels)
    record = read(tmp_path, 2)
    assert isinstance(record, Record)
    assert not record.mask[:, :32].any()
    assert record.mask[:, 32:].any()


def test_no_lung(tmp_path: Path, save: Save, image: Pixels, mask: Pixels) -> None:
    for name, pixels in (("a", image), ("0", mask * 0), ("1", mask * 0)):
        save(f"{name}.png", pixels)
    assert read(tmp_path, 2) == Rejection("a.png", "has the mask 0.png, which is empty")
    assert read(tmp_path, 1) == Rejection("a.png", "has the mask 0.png, which is empty")


def disc(height: int, width: int) -> Pixels:
    rows, columns = np.mgrid[:height, :width]
    inside = ((rows + 0.5) / height - 0.5) ** 2 + ((columns + 0.5) / width - 0.4) ** 2 < 0.05
    return np.where(inside, np.uint8(255), np.uint8(0))


@pytest.mark.parametrize(
    ("size", "mask_size"),
    [((299, 299), (256, 256)), ((256, 256), (299, 299)), ((200, 301), (133, 200)), ((200, 301), (400, 602))],
)
def test_a_mask_of_the_same_aspect_ratio(
    tmp_path: Path, save: Save, size: tuple[int, int], mask_size: tuple[int, int]
) -> None:
    save("a.png", np.random.default_rng(1).integers(0, 256, size, np.uint8))
    save("0.png", disc(*size))
    same = read(tmp_path, 1)
    save("0.png", disc(*mask_size))
    other = read(tmp_path, 1)
    assert isinstance(same, Record)
    assert isinstance(other, Record)
    assert (other.mask != same.mask).mean() < 0.01


def test_masks_of_two_sizes_are_joined(tmp_path: Path, save: Save) -> None:
    save("a.png", np.random.default_rng(1).integers(0, 256, (100, 100), np.uint8))
    save("0.png", disc(50, 50))
    save("1.png", disc(100, 100)[:, ::-1])
    record = read(tmp_path, 2)
    assert isinstance(record, Record)
    assert (record.mask != record.mask[:, ::-1]).mean() < 0.01


@pytest.mark.parametrize("mask_size", [(256, 299), (299, 298), (256, 250), (298, 299)])
def test_a_mask_of_another_aspect_ratio(tmp_path: Path, save: Save, mask_size: tuple[int, int]) -> None:
    save("a.png", np.random.default_rng(1).integers(0, 256, (299, 299), np.uint8))
    save("0.png", disc(*mask_size))
    height, width = mask_size
    assert read(tmp_path, 1) == Rejection("a.png", f"is 299 x 299, but its mask 0.png is {width} x {height}")


def test_a_patient_that_is_not_named_though_others_are(tmp_path: Path, save: Save, image: Pixels, mask: Pixels) -> None:
    save("a.png", image)
    save("0.png", mask)
    assert read(tmp_path, 1, UnnamedPatient("", "clinic")) == Rejection(
        "a.png", "has no patient, for whom its table has a column: name one there, or give --unnamed-patients own"
    )
    named = read(tmp_path, 1, Description("", "clinic"))
    assert isinstance(named, Record)
    assert named.patient_id == "a"
