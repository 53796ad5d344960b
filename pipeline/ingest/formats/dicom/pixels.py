"""Pixels of a DICOM image as stored, whatever the transfer syntax.

Compressed pixels are decoded by libjpeg-turbo, CharLS and OpenJPEG (through imagecodecs). Their streams are held
against the header first: one of a few bytes may claim any number of pixels.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, uid
from pydicom.encaps import get_frame
from pydicom.pixels.common import PhotometricInterpretation

from pipeline.ingest.formats.base import ImageError, refuse_large

Codes = NDArray[np.uint16]

DARK_IS_HIGH: Final = "MONOCHROME1"
BRIGHT_IS_HIGH: Final = "MONOCHROME2"
NATIVE_SYNTAXES: Final = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
_LOSSY: Final = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000)
_END_OF_IMAGE: Final = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000 alike
_PADDED_END: Final = 16
_J2K_START: Final = b"\xff\x4f\xff\x51"
_JP2_START: Final = b"\0\0\0\x0cjP  "
_J2K_SIZE: Final = struct.Struct(">8I")  # of image and tiles, from byte 8
_NO_FRAME_HEADERS: Final = (0xC4, 0xC8, 0xCC)  # among the markers 0xC0 to 0xCF
_JPEG_LS_FRAME: Final = 0xF7
_START_OF_SCAN: Final = 0xDA
_MOST_TILES: Final = 2**16


@dataclass(frozen=True)
class PixelFormat:
    """How pixels are stored (PS3.3 C.7.6.3).

    Attributes:
        rows: Height, pixels.
        columns: Width, pixels.
        bits_allocated: 8 or 16.
        bits_stored: 2 to `bits_allocated`.
        high_bit: The highest bit in use, from 0.
        is_signed: Whether values are two's complement.
    """

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool

    def values(self) -> NDArray[np.int32]:
        """Return the value that each code stands for, int32 [2**bits_stored]."""
        values = np.arange(2**self.bits_stored, dtype=np.int32)
        if self.is_signed:
            values[len(values) // 2 :] -= len(values)
        return values


def read_format(dataset: Dataset) -> PixelFormat:
    """Read the elements that describe the pixels.

    Raises:
        ImageError: There is no image, or it has more than `MAX_PIXELS`, several frames, colour or more than 16 bits.
    """
    if "Rows" not in dataset:
        raise ImageError("holds no image")
    # Some devices write 0 or nothing for the one frame; that its pixels are all there is checked as they are read.
    frames = _read_integer(dataset, "NumberOfFrames", 1) or 1
    if frames != 1:
        raise ImageError(f"has {frames} frames: save each as a file of its own")
    colours, taken = read_photometric(dataset), f"only {DARK_IS_HIGH} and {BRIGHT_IS_HIGH} are taken"
    if _read_integer(dataset, "SamplesPerPixel", 1) != 1:
        raise ImageError(f"is in colour, as screenshots are: {taken}")
    if colours not in (DARK_IS_HIGH, BRIGHT_IS_HIGH):
        # What the standard does not know may be anything, a name as well.
        name = colours if colours in {known.value for known in PhotometricInterpretation} else "unknown"
        raise ImageError(f"has the PhotometricInterpretation {name}: {taken}")
    rows, columns = _read_integer(dataset, "Rows"), _read_integer(dataset, "Columns")
    if rows < 1 or columns < 1:
        raise ImageError(f"has {columns} x {rows} pixels")
    refuse_large(columns, rows)
    allocated, stored = _read_integer(dataset, "BitsAllocated"), _read_integer(dataset, "BitsStored")
    high = _read_integer(dataset, "HighBit", stored - 1)
    if allocated not in (8, 16) or not 2 <= stored <= high + 1 <= allocated:
        raise ImageError(f"stores {stored} bits of {allocated}, up to bit {high}: only 2 to 16 of 8 or 16 are taken")
    return PixelFormat(rows, columns, allocated, stored, high, _read_integer(dataset, "PixelRepresentation", 0) == 1)


def read_photometric(dataset: Dataset) -> str:
    """Return the PhotometricInterpretation, which old devices leave out of grey images, or write in lower case."""
    return read_code(dataset, "PhotometricInterpretation") or BRIGHT_IS_HIGH


def read_code(dataset: Dataset, keyword: str) -> str:
    """Return a coded string (PS3.5 6.2, VR CS) in upper case, as the standard has it; "" where there is none."""
    return str(dataset.get(keyword) or "").strip("\0 ").upper()


def decode_codes(dataset: Dataset, syntax: uid.UID, pixels: PixelFormat) -> Codes:
    """Decode the pixels as codes: the bits stored, freed of overlays and signs.

    Args:
        dataset: With the pixels.
        syntax: Its transfer syntax.
        pixels: What `read_format` found.

    Returns:
        uint16 [rows, columns], below 2**bits_stored; `pixels.values()` tells what they stand for.

    Raises:
        ImageError: The pixels are truncated, damaged, deeper or otherwise others than the header says, or in an unknown
            syntax.
    """
    if "PixelData" not in dataset:
        raise ImageError("has no pixels")
    if syntax in NATIVE_SYNTAXES:
        stored = _read_native(dataset, syntax, pixels)
    elif syntax in _DECODERS:
        stored = _DECODERS[syntax](get_frame(dataset.PixelData, 0, number_of_frames=1), pixels)
    else:
        raise ImageError("has a transfer syntax that is not supported: save it uncompressed or as JPEG 2000")
    if stored.shape != (pixels.rows, pixels.columns):
        raise ImageError("has compressed pixels of another size than its header says")
    codes = stored.astype(np.uint16)  # two's complement where they are negative
    if syntax in (*NATIVE_SYNTAXES, uid.RLELossless):  # JPEG has the bits at the lowest, whatever the header says
        codes >>= pixels.high_bit + 1 - pixels.bits_stored
        _refuse_deeper(codes, pixels)
    highest = 2**pixels.bits_stored - 1
    if syntax in _LOSSY and not pixels.is_signed:
        return np.minimum(codes, highest, out=codes)  # a lossy stream of more bits may overshoot
    codes &= highest
    return codes


def _refuse_deeper(codes: Codes, pixels: PixelFormat) -> None:
    """Refuse pixels of more bits than are said to be stored: cut off, their values would begin anew again and again.

    The bits above those stored may be overlays, a sign, or anything; but where they go on with the grey values, the
    image is smoother with them than without.
    """
    deepest = int(codes.max())
    if deepest >= 2**pixels.bits_stored and _roughness(codes) < _roughness(codes % 2**pixels.bits_stored):
        raise ImageError(
            f"has values up to {deepest}, of {deepest.bit_length()} bits, where BitsStored is {pixels.bits_stored}: "
            "correct BitsStored and HighBit"
        )


def _roughness(codes: Codes) -> int:
    return int(np.abs(np.diff(codes.astype(np.int32), axis=1)).sum(dtype=np.int64))


def _read_integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    value = dataset.get(keyword)
    if value is None and default is not None:
        return default
    if not isinstance(value, int):
        raise ImageError(f"has no {keyword}" if value is None else f"has a {keyword} that is no whole number")
    return int(value)


def _read_native(dataset: Dataset, syntax: uid.UID, pixels: PixelFormat) -> NDArray[Any]:
    """Read uncompressed pixels as unsigned numbers."""
    count = pixels.rows * pixels.columns
    data, needed = dataset.PixelData, count * pixels.bits_allocated // 8
    if len(data) < needed:
        raise ImageError(f"is truncated: it has {len(data)} of {needed} bytes of pixels")
    order = "<" if syntax.is_little_endian else ">"
    if order == ">" and pixels.bits_allocated == 8 and dataset["PixelData"].VR == "OW":
        data, order = np.frombuffer(data, ">u2").astype("<u2").tobytes(), "<"  # PS3.5 8.1.1: bytes lie in words
    return np.frombuffer(data, f"{order}u{pixels.bits_allocated // 8}", count).reshape(pixels.rows, pixels.columns)


def _decode_rle(frame: bytes, pixels: PixelFormat) -> NDArray[Any]:
    import imagecodecs

    dtype = np.dtype(f"<u{pixels.bits_allocated // 8}")
    size = pixels.rows * pixels.columns * dtype.itemsize
    # Given where to write, the decoder stops at its end: 2 bytes of a run yield up to 128. It says nothing of segments
    # that end early, which leave the rest as it was.
    decoded, again = bytearray(size), bytearray(b"\xff" * size)
    for target in (decoded, again):
        imagecodecs.dicomrle_decode(frame, dtype, out=target)
    if decoded != again:
        raise ImageError("is truncated: its compressed pixels end early")
    return np.frombuffer(decoded, dtype).reshape(pixels.rows, pixels.columns)


def _decode_jpeg(frame: bytes, pixels: PixelFormat) -> NDArray[Any]:
    import imagecodecs

    _check_stream(frame, _read_jpeg_size(frame), pixels)
    return np.asarray(imagecodecs.jpeg8_decode(frame))


def _decode_jpeg_ls(frame: bytes, pixels: PixelFormat) -> NDArray[Any]:
    import imagecodecs

    _check_stream(frame, _read_jpeg_size(frame), pixels)
    return np.asarray(imagecodecs.jpegls_decode(frame))


def _decode_jpeg_2000(frame: bytes, pixels: PixelFormat) -> NDArray[Any]:
    import imagecodecs

    stream = frame
    if frame.startswith(_JP2_START):  # a whole JP2 file, in which the standard wants the stream alone
        stream = frame[max(0, frame.find(_J2K_START)) :]
    _check_stream(stream, _read_jpeg_2000_size(stream), pixels)
    return np.asarray(imagecodecs.jpeg2k_decode(frame))


_DECODERS: Final[dict[uid.UID, Callable[[bytes, PixelFormat], NDArray[Any]]]] = {
    uid.RLELossless: _decode_rle,
    uid.JPEGBaseline8Bit: _decode_jpeg,
    uid.JPEGExtended12Bit: _decode_jpeg,
    uid.JPEGLossless: _decode_jpeg,
    uid.JPEGLosslessSV1: _decode_jpeg,
    uid.JPEGLSLossless: _decode_jpeg_ls,
    uid.JPEGLSNearLossless: _decode_jpeg_ls,
    uid.JPEG2000Lossless: _decode_jpeg_2000,
    uid.JPEG2000: _decode_jpeg_2000,
}


def _check_stream(stream: bytes, size: tuple[int, int, int], pixels: PixelFormat) -> None:
    """Raise ImageError where a stream is cut off or claims another size (width, height, components)."""
    if size != (pixels.columns, pixels.rows, 1):
        raise ImageError("has compressed pixels of another size than its header says")
    # libjpeg fills what is missing with grey. What follows the end is padding, of one byte or a few.
    if _END_OF_IMAGE not in stream[-_PADDED_END:]:
        raise ImageError("is truncated: its compressed pixels have no end")


def _read_jpeg_size(stream: bytes) -> tuple[int, int, int]:
    """Return width, height and components as the frame header of JPEG (ITU-T T.81 B.2.2) or JPEG-LS (T.87) says."""
    position = 2
    while True:
        lead, marker, length = struct.unpack_from(">BBH", stream, position)
        if lead != 0xFF or marker == _START_OF_SCAN:
            raise ImageError("is damaged: its compressed pixels have no header")
        if marker == _JPEG_LS_FRAME or (marker >> 4 == 0xC and marker not in _NO_FRAME_HEADERS):
            height, width, components = struct.unpack_from(">HHB", stream, position + 5)
            return width, height, components
        position += 1 if marker == 0xFF else 2 + length


def _read_jpeg_2000_size(stream: bytes) -> tuple[int, int, int]:
    """Return width, height and components as the SIZ segment says (ITU-T T.800 A.5.1); refuse absurd tiles."""
    if not stream.startswith(_J2K_START):
        raise ImageError("is damaged: its compressed pixels have no header")
    right, bottom, left, top, tile_width, tile_height, _, _ = _J2K_SIZE.unpack_from(stream, 8)
    (components,) = struct.unpack_from(">H", stream, 40)
    width, height = right - left, bottom - top
    if not tile_width or not tile_height or (width // tile_width + 1) * (height // tile_height + 1) > _MOST_TILES:
        raise ImageError("is damaged: its compressed pixels lie in too many tiles")
    return width, height, components
