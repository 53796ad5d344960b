"""Writes TFRecord files without TensorFlow, which takes seconds to import and 600 MB of a worker's memory."""

import struct
from typing import BinaryIO, Final

import google_crc32c

_MASK_DELTA: Final = 0xA282EAD8  # of TensorFlow's masked checksums


def write_record(file: BinaryIO, data: bytes) -> int:
    """Append a record to an uncompressed TFRecord file: length, its checksum, data, their checksum.

    Returns:
        Bytes written.
    """
    length = struct.pack("<Q", len(data))
    framed = (length, _checksum(length), data, _checksum(data))
    file.writelines(framed)
    return sum(map(len, framed))


def _checksum(data: bytes) -> bytes:
    """Return the CRC-32C, rotated right by 15 bits, plus a constant."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)
