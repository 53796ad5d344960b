"""CT volumes as axial slices, displayed as radiologists do.

>>> volume = Volume(voxels, affine)
>>> apply_lung_window(volume.slice(0)).shape == volume.slice_shape
True
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Final, Protocol

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.plausibility import square_spacing
from schema.record import MAX_PIXELS, Pixels

MAX_VOXELS: Final = 4 * MAX_PIXELS
"""Larger volumes are refused from the header; a CT of 512 x 512 x 600 has half as many."""

_LEVEL: Final = -600
_WIDTH: Final = 1500
_TOLERANCE: Final = 0.1  # of a voxel's shortest side, by which two grids may be apart


class Voxels(Protocol):
    """An array or what is sliced like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of voxels along the three axes."""

    def __getitem__(self, index: Any) -> Any:
        """Read a part."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels and where they lie.

    Attributes:
        voxels: Of three axes, in any order and direction.
        affine: From the voxels' indices to mm, RAS (x to the patient's right, y to the front, z to the head),
            float64 [4, 4].
    """

    voxels: Voxels
    affine: NDArray[np.float64]

    @cached_property
    def _axes(self) -> tuple[list[int], list[bool]]:
        """For x, y and z, the axis of the voxels that runs along it, and whether it runs the other way."""
        orientation = nib.io_orientation(self.affine)
        axes = [int(np.flatnonzero(orientation[:, 0] == along)[0]) for along in range(3)]
        return axes, [orientation[axis, 1] < 0 for axis in axes]

    @property
    def slice_count(self) -> int:
        """Number of axial slices."""
        return self.voxels.shape[self._axes[0][2]]

    @property
    def slice_shape(self) -> tuple[int, int]:
        """Height and width of an axial slice, voxels."""
        (x, y, _), _ = self._axes
        return self.voxels.shape[y], self.voxels.shape[x]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Between neighbouring axial slices, and between rows and columns of one, mm."""
        x, y, z = (float(np.linalg.norm(self.affine[:3, axis])) for axis in self._axes[0])
        return z, y, x

    @property
    def pixel_spacing(self) -> float:
        """Between neighbouring pixels of an axial slice, mm; -1 where they are not square."""
        _, height, width = self.spacing
        return square_spacing(height, width)

    def slice(self, index: int) -> NDArray[Any]:
        """Return an axial slice: the front above, the patient's right at the left, as if seen from the feet.

        Args:
            index: From the feet, from 0.

        Returns:
            [height, width] in the voxels' own unit.
        """
        (x, y, z), (x_flipped, y_flipped, z_flipped) = self._axes
        where: list[Any] = [slice(None)] * 3
        where[z] = self.slice_count - 1 - index if z_flipped else index
        plane = np.asarray(self.voxels[tuple(where)])
        if y > x:
            plane = plane.T
        # Rows run to the front and columns to the right as yet; both are displayed the other way round.
        return plane[:: 1 if y_flipped else -1, :: 1 if x_flipped else -1]

    def matches(self, other: "Volume") -> bool:
        """Tell whether two volumes have the same voxels in space, whatever the order in which they are stored."""
        (own_shape, own_affine), (other_shape, other_affine) = self._canonical(), other._canonical()
        if own_shape != other_shape:
            return False
        corners = np.array([[*corner, 1] for corner in product(*((0, length - 1) for length in own_shape))])
        distance = np.linalg.norm(corners @ (own_affine - other_affine).T, axis=1).max()
        return bool(distance <= _TOLERANCE * np.linalg.norm(self.affine[:3, :3], axis=0).min())

    def describe_difference(self, other: "Volume", name: str) -> str:
        """Say in what the grid of another volume, called by a name, differs from this one, which it does not match."""
        (shape, affine), (other_shape, other_affine) = self._canonical(), other._canonical()
        spacing, other_spacing = (np.linalg.norm(grid[:3, :3], axis=0) for grid in (affine, other_affine))
        tolerance = _TOLERANCE * spacing.min()
        if (np.abs(spacing - other_spacing) * shape).max() > tolerance:
            own, others = _join_lengths(spacing), _join_lengths(other_spacing)
            return f"has other spacing than {name}: {own} mm, the mask {others} mm"
        if shape != other_shape:
            return f"is {_join_lengths(shape)} voxels, but {name} is {_join_lengths(other_shape)}"
        cosine = (np.trace((affine[:3, :3] / spacing).T @ (other_affine[:3, :3] / other_spacing)) - 1) / 2
        angle = float(np.arccos(np.clip(cosine, -1, 1)))
        if angle * (spacing * shape).max() > tolerance:
            return f"is turned by {np.degrees(angle):.3g} degrees against {name}"
        middle = np.array([*(np.array(shape) - 1) / 2, 1])
        return f"lies {np.linalg.norm((affine - other_affine) @ middle):.3g} mm away from {name}"

    def _canonical(self) -> tuple[tuple[int, ...], NDArray[np.float64]]:
        """Return shape and affine with the axes in the order and direction of x, y and z."""
        orientation = nib.io_orientation(self.affine)
        canonical = self.affine @ nib.orientations.inv_ornt_aff(orientation, self.voxels.shape)
        return tuple(self.voxels.shape[axis] for axis in self._axes[0]), canonical


def _join_lengths(lengths: Iterable[float]) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths)


def check_geometry(shape: tuple[int, ...], affine: NDArray[np.float64]) -> None:
    """Raise ImageError where a volume is empty or too large, or its affine maps it to no volume."""
    if min(shape) < 1 or int(np.prod(shape, dtype=object)) > MAX_VOXELS:
        lengths = " x ".join(map(str, shape))
        raise ImageError(f"has {lengths} voxels: only volumes of 1 to {MAX_VOXELS} are taken")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < np.finfo(np.float32).eps:
        raise ImageError("has axes that span no space")
    if np.isnan(nib.io_orientation(affine)).any():
        raise ImageError("has axes of which none runs along the body")


def apply_lung_window(hounsfield: NDArray[Any]) -> Pixels:
    """Map -1350 to 150 HU to 0 to 255 (level -600, width 1500); what is no number lies outside the scan: black."""
    values = np.nan_to_num(hounsfield.astype(np.float64), nan=-np.inf)
    return np.rint(255 * ((values - _LEVEL) / _WIDTH + 0.5).clip(0, 1)).astype(np.uint8)
