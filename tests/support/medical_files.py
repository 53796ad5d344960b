"""Makes DICOM and NIfTI files of given pixels, as bytes."""

import gzip
import io
from collections.abc import Callable, Mapping
from typing import Any, Literal

import imagecodecs
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate

Array = NDArray[Any]

_NIFTI_HEADER = 348
RADIOGRAPH = uid.DigitalXRayImageStorageForPresentation


def _jpeg(codes: Array, bits: int) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(codes, level=95, bitspersample=8 if bits <= 8 else 12))


def _jpeg_lossless(predictor: int) -> Callable[[Array, int], bytes]:
    def encode(codes: Array, bits: int) -> bytes:
        return bytes(imagecodecs.jpeg8_encode(codes, lossless=True, predictor=predictor, bitspersample=bits))

    return encode


def _jpeg_2000(codes: Array, bits: int) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(codes, level=0, reversible=True, codecformat="j2k", bitspersample=bits))


STREAMS: Mapping[str, Callable[[Array, int], bytes]] = {
    uid.JPEGBaseline8Bit: _jpeg,
    uid.JPEGExtended12Bit: _jpeg,
    uid.JPEGLossless: _jpeg_lossless(4),
    uid.JPEGLosslessSV1: _jpeg_lossless(1),
    uid.JPEGLSLossless: lambda codes, bits: bytes(imagecodecs.jpegls_encode(codes)),
    uid.JPEGLSNearLossless: lambda codes, bits: bytes(imagecodecs.jpegls_encode(codes, level=2)),
    uid.JPEG2000Lossless: _jpeg_2000,
    uid.JPEG2000: _jpeg_2000,
}
"""Encoders of compressed transfer syntaxes: codes and bits stored to a stream."""


def dicom_dataset(pixels: Array, syntax: str = uid.ExplicitVRLittleEndian, **elements: Any) -> Dataset:
    """A radiograph.

    Args:
        pixels: uint8, int8, uint16 or int16 [rows, columns].
        syntax: transfer syntax.
        elements: by keyword; an element that is None is left out.
    """
    bits = 8 * pixels.dtype.itemsize
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    defaults = {
        "SOPClassUID": RADIOGRAPH, "SOPInstanceUID": "1.2.3.4", "PatientID": "P1", "Rows": pixels.shape[0],
        "Columns": pixels.shape[1], "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits, "BitsStored": bits, "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }  # fmt: skip
    described = {**defaults, **elements}
    stored = described["BitsStored"]
    described.setdefault("HighBit", stored - 1)
    for keyword, value in described.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if syntax in STREAMS:
        codes = pixels.view(f"u{pixels.dtype.itemsize}") & (2**stored - 1)
        dataset.PixelData = encapsulate([STREAMS[syntax](codes.astype(np.uint8 if stored <= 8 else np.uint16), stored)])
    else:
        order: Literal[">", "<"] = ">" if syntax == uid.ExplicitVRBigEndian else "<"
        dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    if syntax == uid.RLELossless:
        dataset.compress(uid.RLELossless, pixels, generate_instance_uid=False)
    return dataset


def to_bytes(dataset: Dataset) -> bytes:
    """The file of a data set."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def dicom_file(pixels: Array, syntax: str = uid.ExplicitVRLittleEndian, **elements: Any) -> bytes:
    """The file of a radiograph, see `dicom_dataset`."""
    return to_bytes(dicom_dataset(pixels, syntax, **elements))


def nifti_file(voxels: Array, affine: Array, *, zipped: bool = False, **header: Any) -> bytes:
    """A NIfTI-1 file.

    Args:
        voxels: as stored.
        affine: from indices to mm, RAS.
        zipped: whether it is compressed.
        header: fields to overwrite, such as scl_slope.
    """
    data = nib.Nifti1Image(voxels, affine).to_bytes()
    edited = nib.Nifti1Header(data[:_NIFTI_HEADER])
    for field, value in header.items():
        edited[field] = value
    data = edited.binaryblock + data[_NIFTI_HEADER:]
    return gzip.compress(data, mtime=0) if zipped else data
