"""Damaged image files: small sound ones, mutated. Each is a function of its format and number alone.

>>> make_input("png", 17) == make_input("png", 17)
True
"""

import gzip
import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from medical_files import STREAMS, dicom_dataset, dicom_file, nifti_file, to_bytes
from PIL import Image, PngImagePlugin
from pydicom import uid

FORMATS = ("png", "jpeg", "tiff", "dicom", "nifti")

_NUMBERS = tuple(2**bits + delta for bits in (1, 3, 4, 7, 8, 12, 15, 16, 20, 26, 31, 32) for delta in (-2, -1, 0))
_PNG_CHUNKS = (
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL",
    b"fdAT", b"pHYs",
)  # fmt: skip
_HEADS = (40, 200, 700)  # where formats have most of their header, bytes
_ZIPPED_TEXT = b"k\0\0" + zlib.compress(bytes(2**22))  # four times what Pillow reads
_DEFLATED = b"1.2.840.10008.1.2.1.99"

Mutation = Callable[[bytearray, random.Random, list[bytes]], None]


def make_input(kind: str, number: int) -> bytes:
    """Mutates a sound file of a format in one to eight places."""
    rng = random.Random(f"{kind}/{number}")  # noqa: S311
    files = seeds(kind)
    data = bytearray(rng.choice(files))
    packed = rng.random() < 0.7
    if packed:
        data = bytearray(_unpack(kind, bytes(data)))
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        rng.choice(_MUTATIONS)(data, rng, files)
    return _repack(kind, bytes(data)) if packed else bytes(data)


@cache
def seeds(kind: str) -> list[bytes]:
    """Sound files of a format, in many of its modes."""
    return {"png": _png, "jpeg": _jpeg, "tiff": _tiff, "dicom": _dicom, "nifti": _nifti}[kind]()


def mask_for_nifti() -> bytes:
    """The mask that goes with a sound volume, or that is damaged in its place."""
    mask = np.zeros((9, 8, 6), np.uint8)
    mask[2:7, 2:6, 2:5] = 1
    return nifti_file(mask, np.diag([1.0, 1, 2, 1]))


def _pixels(dtype: Any = np.uint8, channels: int = 0) -> Any:
    rng = np.random.default_rng(0)
    shape = (12, 16, channels) if channels else (12, 16)
    return rng.integers(0, np.iinfo(dtype).max, shape).astype(dtype)


def _save(pixels: Any, kind: str, mode: str | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def _png() -> list[bytes]:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "a" * 50, zip=True)
    text.add_itxt("Title", "b" * 50, zip=True)
    frames = [Image.fromarray(_pixels() // 2)]
    grey = [_save(_pixels(dtype), "PNG") for dtype in (np.uint8, np.uint16)]
    modes = [_save(_pixels(), "PNG", mode) for mode in ("1", "P", "LA")]
    colours = [_save(_pixels(channels=channels), "PNG") for channels in (3, 4)]
    return [
        *grey, *modes, *colours, _save(_pixels(), "PNG", pnginfo=text, icc_profile=bytes(80)),
        _save(_pixels(), "PNG", save_all=True, append_images=frames),
        *(_save(_mask() // part, "PNG") for part in (1, 2, 255)), _save(_mask(), "PNG", "1"),
    ]  # fmt: skip


def _mask() -> Any:
    """Two lungs, of which noise in the masks' place has none."""
    return np.kron([[0, 0, 0, 0, 0], [0, 255, 0, 255, 0], [0, 0, 0, 0, 0]], np.ones((8, 8))).astype(np.uint8)


def _jpeg() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    options: list[dict[str, Any]] = [
        {"quality": 75},
        {"quality": 20},
        {"progressive": True},
        {"restart_marker_rows": 1},
        {"exif": exif},
        {"icc_profile": bytes(90)},
    ]
    grey = [_save(_pixels(), "JPEG", **each) for each in options]
    colour = [_save(_pixels(channels=3), "JPEG", subsampling=each) for each in (0, 1, 2)]
    return [*grey, *colour, _save(_pixels(channels=3), "JPEG", "CMYK")]


def _tiff() -> list[bytes]:
    compressions = (None, "tiff_lzw", "tiff_deflate", "packbits", "tiff_adobe_deflate", "jpeg")
    grey = [_save(_pixels(), "TIFF", compression=each) for each in compressions]
    deep = [_save(_pixels(dtype), "TIFF") for dtype in (np.uint16, ">u2", np.int32)]
    bilevel = [_save(_pixels(), "TIFF", "1", compression=each) for each in (None, "group3", "group4")]
    colours = [_save(_pixels(channels=each), "TIFF", compression="tiff_lzw") for each in (3, 4)]
    pages = _save(_pixels(), "TIFF", save_all=True, append_images=[Image.fromarray(_pixels())])
    return [*grey, *deep, *bilevel, *colours, pages, _save(_pixels(), "TIFF", "P")]


def _dicom() -> list[bytes]:
    twelve = _pixels(np.uint16) >> 4
    place = {
        "ImagePositionPatient": [0, 0, 1], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1],
        "SeriesInstanceUID": "1.2", "RescaleSlope": 1, "RescaleIntercept": -1024, "BitsStored": 12,
    }  # fmt: skip
    native = (
        uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian, uid.RLELossless,
    )  # fmt: skip
    table = dicom_dataset(twelve, WindowCenter=[100, 200], WindowWidth=[300, 9], PixelPaddingValue=7)
    table.add_new("VOILUTSequence", "SQ", [])
    return [
        *(dicom_file(twelve, syntax, **place) for syntax in native),
        *(dicom_file(_pixels(), syntax) for syntax in STREAMS),
        *(dicom_file(twelve, syntax, BitsStored=12) for syntax in STREAMS if syntax != uid.JPEGBaseline8Bit),
        dicom_file(_pixels(np.int16), PixelRepresentation=1, PhotometricInterpretation="MONOCHROME1"),
        to_bytes(table),
    ]


def _nifti() -> list[bytes]:
    affine = np.diag([1.0, 1, 2, 1])
    voxels = np.random.default_rng(0).integers(-1300, 300, (9, 8, 6))
    plain = [nifti_file(voxels.astype(dtype), affine) for dtype in (np.int16, np.int32, np.float32, np.float64)]
    scaled = nifti_file((voxels + 1300).astype(np.uint16), affine, scl_slope=1, scl_inter=-1300)
    turned = nifti_file(voxels.astype(np.int16), affine[[1, 2, 0, 3]])
    return [*plain, scaled, turned, nifti_file(voxels.astype(np.int16), affine, zipped=True)]


def _unpack(kind: str, data: bytes) -> bytes:
    """Takes off what would hide a mutation from the decoder: compression of the whole."""
    if kind == "nifti" and data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if kind == "dicom" and _DEFLATED in data:
        start = _end_of_meta(data)
        return data[:start] + zlib.decompress(data[start:], -zlib.MAX_WBITS)
    return data


def _repack(kind: str, data: bytes) -> bytes:
    """Compresses again what `_unpack` took, and mends a PNG's checksums."""
    if kind == "nifti":
        return gzip.compress(data, 1, mtime=0)
    if kind == "dicom" and _DEFLATED in data:
        start = _end_of_meta(data)
        compressor = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        return data[:start] + compressor.compress(data[start:]) + compressor.flush()
    return _mend_checksums(data) if kind == "png" else data


def _end_of_meta(data: bytes) -> int:
    """Where the file meta information of a DICOM file ends, as its first element says."""
    return 144 + int.from_bytes(data[140:144], "little")


def _mend_checksums(data: bytes) -> bytes:
    mended, position = bytearray(data), 8
    while position + 12 <= len(mended):
        (length,) = struct.unpack_from(">I", mended, position)
        end = position + 8 + length
        if end + 4 > len(mended):
            break
        struct.pack_into(">I", mended, end, zlib.crc32(mended[position + 4 : end]))
        position = end + 4
    return bytes(mended)


def _somewhere(data: bytearray, rng: random.Random) -> int:
    return rng.randrange(min(len(data), rng.choice((*_HEADS, len(data))))) if data else 0


def _flip_bit(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    if data:
        data[_somewhere(data, rng)] ^= 1 << rng.randrange(8)


def _truncate(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    del data[_somewhere(data, rng) :]


def _remove(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    start = _somewhere(data, rng)
    del data[start : start + rng.randrange(1, 40)]


def _repeat(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    start = _somewhere(data, rng)
    data[start:start] = data[start : start + rng.randrange(1, 40)] * rng.choice((1, 1, 2, 100))


def _insert_noise(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    start = _somewhere(data, rng)
    data[start:start] = rng.randbytes(rng.choice((1, 2, 4, 9, 100)))


def _splice(data: bytearray, rng: random.Random, files: list[bytes]) -> None:
    other = rng.choice(files)
    data[_somewhere(data, rng) :] = other[rng.randrange(len(other)) :]


def _set_number(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    """Lengths, dimensions, tags and offsets are whole numbers of 1 to 4 bytes in either order."""
    size = rng.choice((1, 2, 4))
    start = _somewhere(data, rng)
    number = rng.choice(_NUMBERS) % 2 ** (8 * size)
    data[start : start + size] = number.to_bytes(size, rng.choice(("big", "little")))


def _set_real(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    start = _somewhere(data, rng) & ~3
    real = rng.choice((0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"), float("-inf")))
    data[start : start + 4] = struct.pack("<f", real)


def _insert_chunk(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    if data.startswith(b"\x89PNG"):
        body = rng.choice(_PNG_CHUNKS) + rng.choice((rng.randbytes(13), _ZIPPED_TEXT))
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        data[33:33] = chunk
    elif data.startswith(b"\xff\xd8"):
        segment = rng.randbytes(rng.randrange(60))
        data[2:2] = bytes((0xFF, rng.randrange(0xC0, 0xFF))) + struct.pack(">H", len(segment) + 2) + segment
    else:
        _insert_noise(data, rng, [])


_MUTATIONS: tuple[Mutation, ...] = (
    _flip_bit, _flip_bit, _truncate, _remove, _repeat, _insert_noise, _splice, _set_number, _set_number, _set_number,
    _set_real, _insert_chunk,
)  # fmt: skip
