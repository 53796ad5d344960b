"""Masks as NIfTI-1, on the geometry of their volumes."""

import gzip
from typing import Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

_SCANNER: Final = 1
"""Code of coordinates that the scanner gave."""


def encode_nifti(mask: NDArray[np.uint8], affine: NDArray[np.float64]) -> bytes:
    """Encode a mask as compressed NIfTI-1. Nothing of the volume's own header is taken over but where voxels lie.

    Args:
        mask: 1 in the lungs and 0 outside, in the order of the volume's voxels.
        affine: From indices to mm, RAS, float64 [4, 4].
    """
    image = nib.Nifti1Image(mask, affine)
    # Quaternions cannot tell of gantries that were tilted: affines alone are exact.
    image.set_sform(affine, _SCANNER)
    image.set_qform(None, 0)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), mtime=0)
