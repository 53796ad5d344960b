"""Reading image files: formats, depths, and what is refused."""

import io
import math
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import DTypeLike
from PIL import Image, PngImagePlugin, TiffImagePlugin

from modules.grey_range import grey_range
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.png import decode_plain_png
from pipeline.ingest.formats.raster import decode_grey, decode_raster
from schema.record import MAX_PIXELS, Pixels

Save = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[4]


def read_image(path: Path) -> Pixels:
    return decode_raster(path.read_bytes()).pixels


def reason(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.tiff", "a.PNG"])
def test_8_bit_grey_is_kept(save: Save, image: Pixels, name: str) -> None:
    read = read_image(save(name, image))
    assert read.dtype == np.uint8
    assert np.array_equal(read, image)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_compressed_tiff_is_kept(save: Save, image: Pixels, compression: str) -> None:
    assert np.array_equal(read_image(save("a.tif", image, compression=compression)), image)


def test_jpeg(save: Save) -> None:
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    read = read_image(save("a.jpg", ramp, quality=95))
    assert read.shape == ramp.shape
    assert np.abs(read.astype(int) - ramp).max() <= 4


def test_colour_becomes_luminance(save: Save) -> None:
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[:, :2, 0] = rgb[:, 2:4, 1] = rgb[:, 4:, 2] = 255
    assert read_image(save("a.png", rgb))[0].tolist() == [76, 76, 150, 150, 29, 29]


def test_transparency_is_dropped(save: Save, image: Pixels) -> None:
    rgba = np.dstack([image] * 3 + [np.full_like(image, 9)])
    assert np.array_equal(read_image(save("a.png", rgba)), image)


@pytest.mark.parametrize("transparency", [None, bytes([0, 128, 255])])
def test_palette_is_looked_up(tmp_path: Path, transparency: bytes | None) -> None:
    paletted = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="P")
    paletted.putpalette([10] * 3 + [200] * 3 + [90] * 3)
    options: dict[str, Any] = {} if transparency is None else {"transparency": transparency}
    paletted.save(tmp_path / "a.png", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.png").tolist() == [[10, 200], [90, 200]]


def test_1_bit(save: Save) -> None:
    assert read_image(save("a.png", np.array([[True, False]]))).tolist() == [[255, 0]]


@pytest.mark.parametrize(
    ("name", "dtype"), [("a.png", np.uint16), ("a.tif", np.uint16), ("a.tif", ">u2"), ("a.tif", np.int32)]
)
def test_deep_grey_is_stretched_from_its_own_range(save: Save, name: str, dtype: np.dtype) -> None:
    twelve_bits = np.array([[100, 4095], [2097, 100]]).astype(dtype)
    assert read_image(save(name, twelve_bits)).tolist() == [[0, 255], [127, 0]]


@given(low=st.integers(0, 65534), span=st.integers(1, 65535), seed=st.integers(0, 99))
def test_stretching_keeps_the_order_and_fills_the_range(low: int, span: int, seed: int) -> None:
    high = min(low + span, 65535)
    deep = np.random.default_rng(seed).integers(low, high, 64, np.uint16, endpoint=True)
    deep[:2] = low, high
    file = io.BytesIO()
    Image.fromarray(deep.reshape(8, 8)).save(file, "PNG")
    read = decode_raster(file.getvalue()).pixels.ravel()
    assert (read.min(), read.max()) == (0, 255)
    assert (np.diff(read[np.argsort(deep, kind="stable")].astype(int)) >= 0).all()


@given(
    values=st.lists(st.integers(0, 65535), min_size=2, max_size=64, unique=True),
    dtype=st.sampled_from([np.uint16, np.int32]),
)
def test_stretching_is_that_of_the_formula_to_the_bit(values: list[int], dtype: DTypeLike) -> None:
    deep = np.array([values], dtype)
    file = io.BytesIO()
    Image.fromarray(deep).save(file, "TIFF")
    low, high = map(float, grey_range(*np.unique(deep.astype(np.int64), return_counts=True)))
    expected = np.rint((deep.astype(np.float64) - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
    assert np.array_equal(decode_raster(file.getvalue()).pixels, expected)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_applied(tmp_path: Path, name: str, orientation: int) -> None:
    shown = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 50, np.ones((16, 16), np.uint8))
    turns = {
        1: shown, 2: shown[:, ::-1], 3: shown[::-1, ::-1], 4: shown[::-1], 5: shown.T, 6: np.rot90(shown),
        7: shown[::-1, ::-1].T, 8: np.rot90(shown, 3),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(turns[orientation])).save(tmp_path / name, exif=exif)
    assert np.allclose(read_image(tmp_path / name).astype(int), shown, atol=3)


@pytest.mark.parametrize("after_pixels", [b"eXIf", b"tEXt"])
def test_what_follows_the_pixels_of_a_png_is_read(image: Pixels, after_pixels: bytes) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    data = cv2.imencode(".png", image)[1].tobytes()
    texts = {
        b"eXIf": exif.tobytes()[6:],
        b"tEXt": b"Raw profile type exif\0\nexif\n8\n" + exif.tobytes().hex().encode(),
    }
    turned = data[:-12] + png_chunk(after_pixels, texts[after_pixels]) + data[-12:]
    assert np.array_equal(decode_raster(turned).pixels, image[::-1, ::-1])


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_several_pages_are_refused(tmp_path: Path, image: Pixels, name: str) -> None:
    others = [Image.fromarray(255 - image), Image.fromarray(image // 2)]
    Image.fromarray(image).save(tmp_path / name, save_all=True, append_images=others)
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / name)
    assert str(caught.value) == "holds 3 pictures: save each as a file of its own"


def test_smaller_copies_behind_a_page_are_passed_over(tmp_path: Path, image: Pixels) -> None:
    file = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(file, new=True) as writer:
        Image.fromarray(image).save(writer, "TIFF")
        writer.newFrame()
        Image.fromarray(image[::2, ::2].copy()).save(writer, "TIFF", tiffinfo={254: 1})
    assert np.array_equal(decode_raster(file.getvalue()).pixels, image)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_truncated_file(save: Save, name: str, share: float) -> None:
    path = save(name, np.random.default_rng(0).integers(0, 256, (100, 100), np.uint8))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert reason(path).startswith("is truncated or damaged: image file is truncated")


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}])
def test_truncated_tiff(save: Save, image: Pixels, options: dict[str, str]) -> None:
    path = save("a.tif", image, **options)
    path.write_bytes(path.read_bytes()[:-400])
    assert reason(path).startswith(("is truncated or damaged: ", "is no readable PNG, JPEG or TIFF"))


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_damaged_byte_raises_nothing_but_image_error(position: int, value: int) -> None:
    file = io.BytesIO()
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(file, "PNG")
    damaged = bytearray(file.getvalue())
    damaged[position % len(damaged)] = value
    try:
        read = decode_raster(bytes(damaged)).pixels
    except ImageError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert read.dtype == np.uint8


@pytest.mark.parametrize("content", [b"", b"no image", b"GIF89a" + bytes(40), b"\x89PNG\r\n\x1a\n"])
def test_file_that_is_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert reason(tmp_path / "a.png") == "is no readable PNG, JPEG or TIFF"


def test_other_formats_are_not_tried(tmp_path: Path, image: Pixels) -> None:
    Image.fromarray(image).save(tmp_path / "a.png", format="BMP")
    assert reason(tmp_path / "a.png") == "is no readable PNG, JPEG or TIFF"


@pytest.mark.parametrize(("dtype", "value"), [(np.uint8, 0), (np.uint8, 37), (np.uint16, 4095)])
def test_constant_image(save: Save, dtype: type, value: int) -> None:
    assert reason(save("a.png", np.full((4, 4), value, dtype))) == f"is constant: every pixel is {value}"


def test_decompression_bomb(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
        + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )  # fmt: skip
    assert reason(tmp_path / "a.png").startswith("is too large: Image size (3600000000 pixels) exceeds limit")


def png_chunk(kind: bytes, data: bytes) -> bytes:
    file = io.BytesIO()
    PngImagePlugin.putchunk(file, kind, data)
    return file.getvalue()


def test_too_many_pixels_are_refused_from_the_header(tmp_path: Path) -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8193, 8192, 8, 0, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", b""))
    assert reason(tmp_path / "a.png") == f"is too large: 8193 x 8192 is more than {MAX_PIXELS} pixels"


def tiled_tiff(side: int) -> bytes:
    """A grey TIFF of 100 x 100 pixels in one tile of `side` x `side`, all 0 but the first."""
    tile = zlib.compress(b"\1" + bytes(min(side, 256) ** 2 - 1))
    tags = {256: 100, 257: 100, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 134, 325: len(tile)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + tile


def test_tiles_larger_than_the_image() -> None:
    assert decode_grey(tiled_tiff(256)).values.sum() == 1
    with pytest.raises(ImageError) as caught:
        decode_raster(tiled_tiff(20_000))
    assert str(caught.value) == "is damaged: its tiles of 20000 x 20000 pixels are larger than the image"


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (33, 20), (300, 200)])
@pytest.mark.parametrize("before_pixels", [b"", png_chunk(b"tEXt", b"name\0text")])
def test_a_plain_png_is_what_pillow_makes_of_it(shape: tuple[int, int], before_pixels: bytes) -> None:
    """It is decoded by another library, unless anything stands before its pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    data = data[:33] + before_pixels + data[33:]
    assert (decode_plain_png(data) is None) == bool(before_pixels)
    grey = decode_grey(data)
    assert np.array_equal(grey.values, np.asarray(Image.open(io.BytesIO(data))))
    assert not grey.is_lossy
    damaged = bytearray(data)
    damaged[-20] ^= 1
    with pytest.raises(ImageError, match=r"^is truncated or damaged"):
        decode_grey(bytes(damaged))


def test_a_plain_png_that_poses_as_dicom_is_no_larger_than_others() -> None:
    side = math.isqrt(MAX_PIXELS) + 1
    header = png_chunk(b"IHDR", struct.pack(">II", side, side) + b"\x08\0\0\0\0")
    pixels = png_chunk(b"IDAT", bytes(128 - 41) + b"DICM" + zlib.compress(bytes(side * (side + 1))))
    data = b"\x89PNG\r\n\x1a\n" + header + pixels + png_chunk(b"IEND", b"")
    assert data[128:132] == b"DICM"
    with pytest.raises(ImageError, match=r"^is too large"):
        decode_grey(data)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_zipped_text_is_inflated_within_bounds(save: Save, image: Pixels, kind: bytes) -> None:
    data = save("a.png", image).read_bytes()
    bomb = png_chunk(kind, b"name\0\0" + zlib.compress(bytes(2**26)))
    after_header = 8 + 25
    with pytest.raises(ImageError, match=r"^is truncated or damaged: Decompressed data too large"):
        decode_raster(data[:after_header] + bomb + data[after_header:])


MEASURE = """
import sys
from pathlib import Path
from PIL import Image, TiffImagePlugin
from pipeline.ingest.formats.masks import decode_mask
from pipeline.ingest.formats.raster import decode_raster

def kilobytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

data = Path(sys.argv[2]).read_bytes()
Image.init()
before = kilobytes("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
decode_raster(data) if sys.argv[1] == "image" else decode_mask(data)
print(1024 * (kilobytes("VmHWM") - before) / 4000**2)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux tells it")
@pytest.mark.parametrize(("kind", "dtype", "most"), [("image", np.uint16, 4.5), ("image", np.uint8, 3.5),
                                                     ("mask", np.uint16, 8), ("mask", np.uint8, 5)])  # fmt: skip
def test_memory_of_a_large_image(save: Save, kind: str, dtype: type[np.unsignedinteger[Any]], most: float) -> None:
    pixels = np.zeros((4000, 4000), dtype)
    pixels[1000:3000, 1000:3000] = np.iinfo(dtype).max
    path = save("a.png", pixels, compress_level=1)
    command = [sys.executable, "-c", MEASURE, kind, str(path)]
    measured = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(measured.stdout) < most


def test_floating_point_tiff(save: Save) -> None:
    path = save("a.tif", np.eye(4, dtype=np.float32))
    assert reason(path) == "has the pixel format 'F', which is not supported: save it as 8- or 16-bit grey"


def test_deep_colour_is_refused(tmp_path: Path) -> None:
    # Pillow writes no 16-bit colour; a single row of one pixel is quickly put together.
    file = io.BytesIO()
    PngImagePlugin.putchunk(file, b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    PngImagePlugin.putchunk(file, b"IDAT", zlib.compress(b"\0" + struct.pack(">6H", 1, 2, 3, 4, 5, 6)))
    PngImagePlugin.putchunk(file, b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + file.getvalue())
    assert reason(tmp_path / "a.png") == (
        "has 16 bits a channel in colour or with transparency: save it as 16-bit grey"
    )


def test_deep_tiff_with_white_as_zero_is_refused(tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    Image.fromarray(np.array([[1, 2]], np.uint16)).save(tmp_path / "a.tif", tiffinfo=tags)
    content = (tmp_path / "a.tif").read_bytes()
    black_is_zero = struct.pack("<HHII", 262, 3, 1, 1)
    assert black_is_zero in content
    (tmp_path / "a.tif").write_bytes(content.replace(black_is_zero, struct.pack("<HHII", 262, 3, 1, 0)))
    assert reason(tmp_path / "a.tif") == "is a 16-bit TIFF in which 0 is white: save it with 0 as black"
