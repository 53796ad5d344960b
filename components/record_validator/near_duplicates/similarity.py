"""Whether two images are the same one, however re-encoded, resized, exposed, or cropped by a few per cent.

Chest radiographs all look alike, so it takes two steps. The *descriptor* in an image's signature, some hundred bytes,
finds candidates among all images (`candidates`); its *thumbnail* decides on each of them, after one has been laid over
the other.

    >>> half = [cv2.resize(pixels, None, fx=0.5, fy=0.5) for pixels in (image, mask)]
    >>> similarity(compute_signature(image, mask).thumbnail, compute_signature(*half).thumbnail) > SIMILARITY_THRESHOLD
    True
"""

from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from schema.record import Pixels

FREQUENCIES: Final = 54
"""Values of a descriptor in one frame."""

_GRID: Final = 48
_SLOWEST, _FASTEST = 2, 8
_SCALE: Final = 254
"""From a unit vector to int8; none of its values comes near one half."""
_REACH: Final = 2.0
"""Half the lungs' frame in standard deviations of the lungs' pixels: all of the lungs, and some of the chest wall."""

_SIDE: Final = 64
_JPEG: Final = (cv2.IMWRITE_JPEG_QUALITY, 90)
_DETAIL: Final = 3.0
"""Sigma of the blur that is taken away before comparing, pixels: what is left are ribs and vessels."""
_EDGE: Final = 4
_STEPS: Final = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 1e-3)
_APART: Final = 0.55
"""Correlation without laying over, below which it is not worth while: crops by 2 % have 0.61 at least."""
_WARP: Final = 0.07
"""By how much one image may be stretched to lie over the other: a crop of 3 % on either side."""
_CLIPPED: Final = (3, 252)
"""Grey values beyond which an image may have been clipped."""

Floats = NDArray[np.float32]


def _ring() -> NDArray[np.intp]:
    """Return where in a DCT the frequencies of a descriptor stand."""
    y, x = np.mgrid[:_GRID, :_GRID]
    radius = np.hypot(y, x)
    return np.flatnonzero((radius >= _SLOWEST) & (radius <= _FASTEST))


_RING: Final = _ring()
_WEIGHTS: Final = np.hypot(*np.divmod(_RING, _GRID)).astype(np.float32)
"""The power of a radiograph falls with frequency; this evens it out."""


class ImageSignature(NamedTuple):
    """What is kept of an image to find copies of it by.

    Attributes:
        descriptor: What it looks like from afar, in two frames: all of it, and the lungs and what is around them, which
            stays the same where image and mask are cropped; int8 [2, FREQUENCIES], as bytes.
        thumbnail: A JPEG of 64 x 64 pixels.
    """

    descriptor: bytes
    thumbnail: bytes


def compute_signature(image: Pixels, mask: Pixels) -> ImageSignature:
    """Compute an image's signature, under two kB; grey values count by their rank alone.

    Args:
        image: uint8 [height, width].
        mask: 255 in the lungs, uint8 [height, width].
    """
    small, lungs = _shrink(image, 2 * _SIDE), _shrink(mask, 2 * _SIDE)
    frames = (_shrink(small, _GRID), _around(lungs, small))
    return ImageSignature(
        descriptor=b"".join(_low_frequencies(frame).tobytes() for frame in frames),
        thumbnail=cv2.imencode(".jpg", _shrink(small, _SIDE), _JPEG)[1].tobytes(),
    )


def unpack_descriptors(descriptors: bytes | bytearray) -> NDArray[np.int8]:
    """Return descriptors, one after another, as an array, int8 [n, 2, FREQUENCIES]."""
    return np.frombuffer(descriptors, np.int8).reshape(-1, 2, FREQUENCIES)


def similarity(first: bytes, second: bytes) -> float:
    """Correlate the fine structure of two thumbnails, once the second is laid over the first.

    The affine map is found with ECC (Evangelidis and Psarakis, 2008, doi 10.1109/TPAMI.2008.113), which exposure does
    not disturb.

    Returns:
        -1 to 1; 0 where the images are too far apart for it, or where it would distort more than cropping by a few per
        cent does.
    """
    image, other = _decode(first), _decode(second)
    even, other_even = _equalise(image), _equalise(other)
    seen = _unclipped(image) & _unclipped(other)
    if _correlation(_detail(even)[seen], _detail(other_even)[seen]) < _APART:
        return 0.0
    try:
        _, affine = cv2.findTransformECC(even, other_even, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, _STEPS)
    except cv2.error:  # it does not converge
        return 0.0
    warp = np.asarray(affine)
    if np.abs(warp[:, :2] - np.eye(2)).max() > _WARP:
        return 0.0
    seen = _unclipped(image) & (_lay_over(_unclipped(other).astype(np.uint8), warp) > 0)
    return _correlation(_detail(even)[seen], _detail(_lay_over(other_even, warp))[seen])


def _decode(jpeg: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)


def _equalise(image: Pixels) -> Pixels:
    return np.asarray(cv2.equalizeHist(image), np.uint8)


def _shrink(image: Pixels, side: int) -> Pixels:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _around(lungs: Pixels, image: Pixels) -> Pixels:
    """Cut the lungs' frame out, uint8 [_GRID, _GRID].

    It is found by the moments of their mask, which stray specks hardly move.
    """
    moments = cv2.moments(lungs)
    if not moments["mu20"] or not moments["mu02"]:
        return _shrink(image, _GRID)
    area = moments["m00"]
    centre = np.array([moments["m10"], moments["m01"]]) / area
    half = _REACH * np.sqrt(np.array([moments["mu20"], moments["mu02"]]) / area)
    step = 2 * half / _GRID
    start = centre - half + (step - 1) / 2
    return _lay_over(image, np.array([[step[0], 0, start[0]], [0, step[1], start[1]]]), _GRID)


def _lay_over(image: Pixels, warp: NDArray[Any], side: int = _SIDE) -> Pixels:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, warp, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _low_frequencies(small: Pixels) -> NDArray[np.int8]:
    spectrum = cv2.dct(_equalise(small).astype(np.float32)).ravel()[_RING] * _WEIGHTS
    length = float(np.linalg.norm(spectrum)) or 1.0
    return np.clip(np.rint(spectrum / length * _SCALE), -127, 127).astype(np.int8)


def _detail(even: Pixels) -> Floats:
    pixels = even.astype(np.float32)
    return pixels - np.asarray(cv2.GaussianBlur(pixels, (0, 0), _DETAIL))


def _unclipped(image: Pixels) -> NDArray[np.bool_]:
    """Mark pixels that hold detail, away from the image's edge and from what clipping may have flattened."""
    low, high = _CLIPPED
    inside = np.zeros(image.shape, bool)
    inside[_EDGE:-_EDGE, _EDGE:-_EDGE] = True
    return inside & (image > low) & (image < high)


def _correlation(first: Floats, second: Floats) -> float:
    if first.size < _SIDE:  # next to nothing can be compared
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / lengths if lengths else 0.0
