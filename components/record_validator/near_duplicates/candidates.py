"""Which of many images might be the same: locality-sensitive hashing of their descriptors.

A hash is one side or the other of some random planes (Charikar, 2002, doi 10.1145/509907.509965); images that fall
together in one of the tables are compared. Descriptors are set against the mean of all first, as chests look alike.

    >>> descriptors = b"".join(compute_signature(image, mask).descriptor for image, mask in images)
    >>> find_candidates(unpack_descriptors(descriptors)).pairs.tolist()
    [[0, 7]]
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.record_validator.near_duplicates.similarity import FREQUENCIES

TABLES: Final = 16
"""For each of the frames of a descriptor."""
PLANES: Final = 16
WINDOW: Final = 16
"""Images of one hash that an image is compared with on either side, so that the work grows in proportion with the
images. Images of one hash stand in the order of a further projection, so that those most alike are near."""
NEAREST: Final = 4
"""Images that an image is a candidate with at most, beside those for which it is itself among the nearest: so many
where there may be several copies of it, else one."""
COPY: Final = 98
"""Cosine of two descriptors, per cent, from which one may be a copy of the other."""
CANDIDATE: Final = 0.87
"""Cosine of two descriptors from which they are candidates.

566 + 77 radiographs of two hospitals: 2e-4 of all pairs. 120 of them against copies of themselves: 0.94 where grey
values change; cropped by 2 % all around, mask and all, 0.97, the worst three below 0.9.
"""

_BLOCK: Final = 1 << 16
"""Pairs compared at a time; bounds the memory."""

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]
Hashes = NDArray[np.int64]


class Candidates(NamedTuple):
    """Pairs that may be one image.

    Attributes:
        pairs: two rows each, the lower first; int32 [n, 2], ascending.
        left_out: comparisons that were not made, as too many images share a hash.
    """

    pairs: Indices
    left_out: int


def find_candidates(descriptors: NDArray[np.int8]) -> Candidates:
    """Find pairs among all descriptors, in time and memory that grow in proportion with them.

    That is some 500 bytes each, and 1,400 where each has many copies.

    Args:
        descriptors: int8 [n, frames, FREQUENCIES]. Of several images that are equally near, the first counts.
    """
    nearest, left_out = _Pairs.none(), 0
    for frame in range(descriptors.shape[1] if len(descriptors) else 0):
        directions = descriptors[:, frame] - descriptors[:, frame].mean(axis=0, dtype=np.float64).astype(np.float32)
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1)
        for table in range(TABLES):
            projected = directions @ _planes(table)
            keys = (projected[:, 1:] > 0) @ (1 << np.arange(PLANES, dtype=np.int64))
            order = np.lexsort((projected[:, 0], keys)).astype(np.int32)
            alike = [_compare(directions, *pair) for pair in _neighbours(keys[order], order)]
            nearest = _nearest(_Pairs.join([nearest, *alike]))
            left_out += _count_beyond_window(keys)
    pairs = np.stack([np.minimum(nearest.row, nearest.other), np.maximum(nearest.row, nearest.other)], axis=1)
    return Candidates(np.unique(pairs, axis=0), left_out)


class _Pairs(NamedTuple):
    """Pairs of rows, int32 [n] each, and the cosine of their descriptors, int8 [n]."""

    row: Indices
    other: Indices
    per_cent: NDArray[np.int8]

    @classmethod
    def none(cls) -> "_Pairs":
        return cls(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int8))

    @classmethod
    def join(cls, parts: "Sequence[_Pairs]") -> "_Pairs":
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _planes(table: int) -> Floats:
    """Draw normals of random planes, all 1 and -1, one to order by and PLANES to hash by; float32 [FREQUENCIES, n]."""
    size = FREQUENCIES * (1 + PLANES)
    drawn = hashlib.shake_256(f"table {table}".encode()).digest(size // 8 + 1)
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8))[:size]
    return (2 * bits.astype(np.float32) - 1).reshape(FREQUENCIES, 1 + PLANES)


def _neighbours(keys: Hashes, order: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Yield blocks of pairs of rows with equal keys that are no further apart than the window."""
    for offset in range(1, min(WINDOW, len(keys) - 1) + 1):
        (equal,) = np.nonzero(keys[offset:] == keys[:-offset])
        for start in range(0, len(equal), _BLOCK):
            block = equal[start : start + _BLOCK]
            yield order[block], order[block + offset]


def _compare(directions: Floats, first: Indices, second: Indices) -> _Pairs:
    """Return the pairs that are alike, either way round."""
    cosine = np.einsum("ij,ij->i", directions[first], directions[second])
    alike = cosine >= CANDIDATE
    first, second, per_cent = first[alike], second[alike], np.rint(100 * cosine[alike]).astype(np.int8)
    return _Pairs(np.concatenate([first, second]), np.concatenate([second, first]), np.tile(per_cent, 2))


def _nearest(pairs: _Pairs) -> _Pairs:
    """Return of each row the nearest others, each once."""
    order = np.lexsort((pairs.other, -pairs.per_cent, pairs.row))
    row, other, per_cent = (column[order] for column in pairs)
    again = (row[1:] == row[:-1]) & (other[1:] == other[:-1]) & (per_cent[1:] == per_cent[:-1])
    fresh = np.concatenate([np.ones(min(1, len(row)), bool), ~again])
    row, other, per_cent = row[fresh], other[fresh], per_cent[fresh]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    near = rank < np.where(per_cent >= COPY, NEAREST, 1)
    return _Pairs(row[near], other[near], per_cent[near])


def _count_beyond_window(keys: Hashes) -> int:
    """Count pairs of equal keys that are further apart than the window."""
    _, sizes = np.unique(keys, return_counts=True)
    beyond = np.maximum(sizes - 1 - WINDOW, 0)
    return int((beyond * (beyond + 1) // 2).sum())
