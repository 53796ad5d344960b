"""Reading masks: any two levels, antialiasing, labels, and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.masks import decode_mask
from schema.record import Pixels

SHARED = Path(__file__).resolve().parents[5] / "shared" / "data"

Save = Callable[..., Path]


def read_mask(path: Path) -> Pixels:
    return decode_mask(path.read_bytes())


def reason(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_mask(path)
    return str(caught.value)


def test_gif(save: Save, mask: Pixels) -> None:
    data = save("a.gif", mask).read_bytes()
    assert data.startswith(b"GIF")
    assert np.array_equal(decode_mask(data), mask)


@pytest.mark.parametrize(("low", "high"), [(-5, 70_000), (0, 2**31 - 1)])
def test_levels_too_far_apart(save: Save, mask: Pixels, low: int, high: int) -> None:
    stored = np.where(mask > 0, high, low).astype(np.int32)
    assert reason(save("a.tif", stored)) == f"has levels from {low} to {high}: save it as 8-bit grey"


@pytest.mark.parametrize("low", [-7, 100_000])
def test_32_bits_of_any_height(save: Save, mask: Pixels, low: int) -> None:
    stored = np.where(mask > 0, low + 300, low).astype(np.int32)
    assert np.array_equal(read_mask(save("a.tif", stored)), mask)


def test_no_mask(save: Save, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    assert reason(tmp_path / "a.png") == "is no readable PNG, JPEG, TIFF or GIF"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(levels=st.lists(st.integers(0, 65535), min_size=2, max_size=2, unique=True).map(sorted))
def test_any_two_levels(save: Save, mask: Pixels, levels: list[int]) -> None:
    dtype = np.uint8 if levels[1] <= 255 else np.uint16
    stored = np.where(mask > 0, levels[1], levels[0]).astype(dtype)
    assert np.array_equal(read_mask(save("a.png", stored)), mask)


@pytest.mark.parametrize("stored", [np.bool_, np.int32], ids=["1-bit", "32-bit"])
def test_other_depths(save: Save, mask: Pixels, stored: type) -> None:
    assert np.array_equal(read_mask(save("a.tif", (mask > 0).astype(stored))), mask)


def test_colour_and_palette(save: Save, tmp_path: Path, mask: Pixels) -> None:
    assert np.array_equal(read_mask(save("a.png", np.dstack([mask, mask, 0 * mask]))), mask)
    paletted = Image.fromarray(mask // 255, mode="P")
    paletted.putpalette([0, 0, 0, 128, 0, 0])
    paletted.save(tmp_path / "p.png")
    assert np.array_equal(read_mask(tmp_path / "p.png"), mask)


@pytest.mark.parametrize(("low", "high"), [(0, 255), (40, 200)])
@pytest.mark.parametrize("zoom", [0.5, 2.5, 4])
def test_antialiased_edges_are_cut_half_way(save: Save, mask: Pixels, low: int, high: int, zoom: float) -> None:
    large = np.where(np.kron(mask, np.ones((10, 10), np.uint8)) > 0, high, low).astype(np.uint8)
    soft = cv2.resize(large, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(read_mask(save("a.png", soft)), np.where(soft > (low + high) / 2, 255, 0))


def test_a_stray_pixel_does_not_move_the_threshold(save: Save, mask: Pixels) -> None:
    stored = mask // 255
    stored[0, 0] = 255
    expected = mask.copy()
    expected[0, 0] = 255
    assert np.array_equal(read_mask(save("a.png", stored)), expected)


def test_lungs_too_thin_for_a_region(save: Save) -> None:
    thin = np.zeros((20, 20), np.uint8)
    thin[3:18, 5:7] = 9
    assert np.array_equal(read_mask(save("a.png", thin)), np.where(thin > 0, 255, 0))


@pytest.mark.parametrize("quality", [20, 50, 75, 95])
def test_jpeg_ringing_is_no_label(save: Save, quality: int) -> None:
    rows, columns = np.indices((512, 512))
    lungs = np.hypot((rows - 250) / 170, (np.abs(columns - 256) - 110) / 75) < 1
    soft = cv2.GaussianBlur(np.where(lungs, np.uint8(255), np.uint8(0)), (0, 0), 1)
    read = read_mask(save("a.jpg", soft, quality=quality))
    assert np.count_nonzero((read > 0) != lungs) < 0.005 * lungs.size


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_labels_too_close_for_jpeg(save: Save, mask: Pixels, quality: int) -> None:
    labels = np.kron(mask // 255, np.ones((8, 8), np.uint8))
    labels[:, 192:] *= 3
    line = r"has levels from 0 to \d, which JPEG does not keep apart: save the original as PNG"
    assert re.fullmatch(line, reason(save("a.jpg", labels, quality=quality)))


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_label_map(save: Save, mask: Pixels, name: str) -> None:
    large = np.kron(mask, np.ones((8, 8), np.uint8))
    large[:, 192:][large[:, 192:] > 0] = 128
    assert (
        reason(save(name, large)) == "is a label map of 3 levels (0, 128, 255): name those that are lung with --labels"
    )


@pytest.mark.parametrize("side", [5, 8])
def test_a_small_label_is_found(save: Save, side: int) -> None:
    labels = np.zeros((512, 512), np.uint8)
    labels[100:400, 100:200] = 1
    labels[300 : 300 + side, 400 : 400 + side] = 2
    assert (
        reason(save("a.png", labels)) == "is a label map of 3 levels (0, 1, 2): name those that are lung with --labels"
    )


def test_many_labels_are_named_in_part(save: Save) -> None:
    labels = np.repeat(np.arange(9, dtype=np.uint16) * 1000, 5)[:, None] * np.ones(20, np.uint16)
    expected = (
        "is a label map of 9 levels (0, 1000, 2000, 3000, 4000, 5000, ...): name those that are lung with --labels"
    )
    assert reason(save("a.png", labels)) == expected


def test_empty(save: Save) -> None:
    assert reason(save("a.png", np.zeros((9, 9), np.uint8))) == "is empty"


@pytest.mark.parametrize("level", [1, 255])
def test_full(save: Save, level: int) -> None:
    assert reason(save("a.png", np.full((9, 9), level, np.uint8))) == "covers the whole image"


def test_truncated(save: Save, mask: Pixels) -> None:
    path = save("a.png", mask)
    path.write_bytes(path.read_bytes()[:70])
    assert reason(path).startswith("is truncated or damaged: ")


@pytest.mark.parametrize("name", ["shenzhen", "hannover"])
def test_hand_drawn_masks_are_no_label_maps(name: str) -> None:
    masks = SHARED / name / "masks"
    if not masks.is_dir():
        pytest.skip(f"{masks} is not there")
    for path in sorted(masks.iterdir())[::25]:
        assert 0.03 < (read_mask(path) > 0).mean() < 0.7, path.name


def radiograph_and_lungs(side: int = 256) -> tuple[Pixels, Pixels]:
    rows, columns = np.indices((side, side)) / side
    lungs = np.hypot((rows - 0.5) / 0.33, (np.abs(columns - 0.5) - 0.22) / 0.15) < 1
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 60, (side, side)), (0, 0), 3)
    tissue = np.where(lungs, 90, 170) + 40 * np.sin(9 * rows) + noise
    return tissue.clip(0, 255).astype(np.uint8), np.where(lungs, np.uint8(255), np.uint8(0))


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("kind", ["radiograph", "overlay", "white lungs", "cut-out"])
def test_a_picture_is_no_mask(save: Save, kind: str, name: str) -> None:
    """AMICO #212, EGE-UNet #13: what is drawn upon a radiograph, or cut out of it, lies in the masks' place."""
    image, lungs = radiograph_and_lungs()
    pictures = {
        "radiograph": image,
        "overlay": np.where(lungs > 0, image // 2 + 127, image),
        "white lungs": np.maximum(image, lungs),
        "cut-out": np.minimum(image, lungs),
    }
    assert reason(save(name, pictures[kind])).startswith("is no mask: ")


@pytest.mark.parametrize("sigma", [1, 2, 4, 8])
def test_a_blurred_mask_is_cut_half_way(save: Save, sigma: int) -> None:
    _, lungs = radiograph_and_lungs(512)
    read = read_mask(save("a.png", cv2.GaussianBlur(lungs, (0, 0), sigma)))
    assert np.count_nonzero(read != lungs) < 0.01 * lungs.size


@pytest.mark.parametrize("method", list(Image.Resampling), ids=lambda method: method.name)
@pytest.mark.parametrize("side", [64, 128, 200])
def test_a_mask_that_was_small_for_a_time_is_read(save: Save, method: Image.Resampling, side: int) -> None:
    _, lungs = radiograph_and_lungs(512)
    small = Image.fromarray(lungs).resize((side, side), method)
    read = read_mask(save("a.png", np.asarray(small.resize((512, 512), method))))
    assert np.count_nonzero(read != lungs) < 0.03 * lungs.size


def test_jpeg_of_the_lowest_quality_is_read(save: Save) -> None:
    _, lungs = radiograph_and_lungs()
    data = cv2.imencode(".jpg", lungs, [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    again = save("b.png", cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))  # which then is JPEG in all but name
    assert np.count_nonzero(read_mask(again) != lungs) < 0.02 * lungs.size


def test_white_around_black_lungs_is_refused(save: Save) -> None:
    _, lungs = radiograph_and_lungs()
    expected = "is white along 100% of its border, which lungs are not: invert it if they are black"
    assert reason(save("a.png", 255 - lungs)) == expected


def test_white_around_black_lungs_is_refused_within_margins(save: Save) -> None:
    _, lungs = radiograph_and_lungs()
    margins = {"letterbox": ((0, 0), (150, 150)), "frame": ((4, 4), (4, 4))}
    for name, widths in margins.items():
        expected = (
            "is white along 100% of its border within black margins, which lungs are not: "
            "cut the margins off, and invert it if the lungs are black"
        )
        assert reason(save(f"{name}.png", np.pad(255 - lungs, widths))) == expected, name
        assert np.array_equal(read_mask(save(f"{name}.png", np.pad(lungs, widths))), np.pad(lungs, widths)), name


def test_lungs_cropped_to_their_bounding_box_are_read(save: Save) -> None:
    _, lungs = radiograph_and_lungs()
    tight = lungs[np.ix_(lungs.any(1), lungs.any(0))]
    for cropped in (tight, tight[:, : tight.shape[1] // 2]):
        assert np.array_equal(read_mask(save("a.png", cropped)), cropped)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("heart", [(0, 130, 0), (0, 128, 0), (0, 60, 255)])
def test_labels_of_colours_that_are_one_grey_level(save: Save, name: str, heart: tuple[int, int, int]) -> None:
    _, lungs = radiograph_and_lungs()
    colours = np.where(lungs[..., None] > 0, np.array([255, 0, 0], np.uint8), np.uint8(0))
    assert np.count_nonzero(read_mask(save(name, colours)) != lungs) < 0.02 * lungs.size
    colours[200:240, 100:156] = heart
    assert reason(save(name, colours)).startswith("is a label map of ")


def test_colours_of_a_palette_that_are_one_grey_level(tmp_path: Path) -> None:
    _, lungs = radiograph_and_lungs()
    labels = lungs // 255
    labels[200:240, 100:156] = 2
    paletted = Image.fromarray(labels)
    paletted.putpalette([0, 0, 0, 255, 0, 0, 0, 130, 0])
    paletted.save(tmp_path / "a.png", transparency=bytes([0, 255, 255]))
    assert reason(tmp_path / "a.png") == (
        "is a label map of colours that are alike as grey levels (about (4, 132, 4) and (252, 4, 4)): "
        "save it as grey levels, and name those that are lung with --labels"
    )


@pytest.mark.parametrize("under", ["white", "lungs", "black"])
def test_a_shape_in_the_alpha_channel(save: Save, tmp_path: Path, under: str) -> None:
    """sd-webui #560, ComfyUI #2539."""
    _, lungs = radiograph_and_lungs()
    grey = {"white": np.where(lungs > 0, np.uint8(0), np.uint8(255)), "lungs": lungs, "black": 0 * lungs}[under]
    Image.fromarray(np.dstack([grey, grey, grey, lungs])).save(tmp_path / "a.png")
    if under == "lungs":
        assert np.array_equal(read_mask(tmp_path / "a.png"), lungs)
    else:
        assert "without alpha" in reason(tmp_path / "a.png")
