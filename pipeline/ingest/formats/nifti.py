"""Decodes volumes from NIfTI-1 files, compressed or not.

>>> volume = decode_nifti(read_file("a.nii.gz"))
>>> volume.slice(0)
"""

import gzip
import io
import zlib
from typing import Final

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.nifti1 import unit_codes

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.volume import Volume, check_geometry

_GZIP: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_HEADER: Final = 348
_MAGIC: Final = (344, b"n+1\0")
_SPATIAL: Final = 7  # of xyzt_units, the bits of the unit of length
_MILLIMETRES: Final = {unit_codes["meter"]: 1000.0, unit_codes["micron"]: 0.001}  # others say mm, or nothing
_MAX_OFFSET: Final = 2**20  # of the voxels, behind the header's extensions
_MAX_BYTES: Final = 2**30


def is_nifti(head: bytes) -> bool:
    """Tell by its first 4 kB whether a file is NIfTI-1 in one file, compressed or not."""
    start, magic = _MAGIC
    try:
        zipped = head.startswith(_GZIP)
        return (zlib.decompressobj(_GZIP_WINDOW).decompress(head, _HEADER) if zipped else head[:_HEADER])[
            start:
        ] == magic
    except zlib.error:
        return False


def decode_nifti(data: bytes) -> Volume:
    """Decode a volume; its voxels are scaled slice by slice, when they are asked for.

    Raises:
        ImageError: The file is no NIfTI-1 volume of three axes and plain numbers, truncated, damaged, too large,
            or does not say how it lies in space.
    """
    # nibabel answers a damaged header with nearly any exception.
    try:
        return _decode(data)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"is truncated or damaged NIfTI ({type(error).__name__})") from error


def _decode(data: bytes) -> Volume:
    zipped = data.startswith(_GZIP)
    head = _inflate(data, _HEADER) if zipped else data[:_HEADER]
    start, magic = _MAGIC
    if head[start:] != magic:
        raise ImageError("is no NIfTI-1 volume in one file")
    header = nib.Nifti1Header(head, check=False)  # what matters is checked here, and nibabel would mend the rest
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise ImageError(f"has {len(shape)} axes, not 3")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ImageError("holds no plain numbers")
    if not (header["sform_code"] or header["qform_code"]):
        raise ImageError("does not say how it lies in space: sform_code and qform_code are 0")
    affine = np.asarray(header.get_best_affine(), np.float64)
    affine[:3] *= _MILLIMETRES.get(int(header["xyzt_units"]) & _SPATIAL, 1.0)
    check_geometry(shape, affine)
    offset = header.get_data_offset()
    length = offset + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if not _HEADER <= offset <= _MAX_OFFSET or length > _MAX_BYTES:
        raise ImageError(f"is larger than {_MAX_BYTES // 2**20} MB")
    whole = _inflate(data, length) if zipped else data
    if len(whole) < length:
        raise ImageError(f"is truncated: {len(whole)} of {length} bytes")
    slope, intercept = header.get_slope_inter()
    layout = shape, dtype, offset, 1 if slope is None else slope, intercept or 0
    return Volume(ArrayProxy(io.BytesIO(whole), layout), affine)


def _inflate(data: bytes, length: int) -> bytes:
    """Return the first bytes of a gzip file; one more is asked for, since the checksum is compared at the end only."""
    with gzip.open(io.BytesIO(data)) as file:
        return file.read(length + 1)[:length]
