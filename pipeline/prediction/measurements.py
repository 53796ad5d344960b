"""Measures masks, and writes the table of what was measured.

>>> measure(lungs, Scale(row_mm=0.2, column_mm=0.2, at="patient"))["lung_mm2"]
41231.5
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from components.record_validator.settings import RecordValidationSettings
from modules.lungs import LEFT, RIGHT, Lungs
from pipeline.ingest.formats.resize import resize_image
from schema.files import write_whole
from schema.record import Pixels, describe_grey_values
from schema.reports.prediction import Measurement

MEASUREMENTS_FILE: Final = "measurements.csv"

_MM3_PER_ML: Final = 1000

_FINGERPRINT_SIZE: Final = 512
"""Side, pixels, at which grey values are measured: that which the ingest stores records at unless told otherwise. What
shrinks an image takes noise out of it, so at full size its contrast would be another one than a record's."""


@dataclass(frozen=True)
class Scale:
    """How large pixels or voxels are; None where it is not known.

    Attributes:
        row_mm: Between neighbouring rows.
        column_mm: Between neighbouring columns.
        slice_mm: Between neighbouring slices, of a volume.
        voxel_mm3: Of a volume.
        at: Where that is true.
    """

    row_mm: float | None = None
    column_mm: float | None = None
    slice_mm: float | None = None
    voxel_mm3: float | None = None
    at: Literal["patient", "detector"] | None = None


def measure(lungs: Lungs, scale: Scale) -> dict[str, Any]:
    """Measure both lungs and each: fields of `Measurement`."""
    parts = {"lung": lungs.labels > 0}
    if lungs.are_told_apart:
        parts |= {"right": lungs.labels == RIGHT, "left": lungs.labels == LEFT}
    fields: dict[str, Any] = {}
    for name, part in parts.items():
        pixels = int(np.count_nonzero(part))
        fields[f"{name}_px"] = pixels
        if scale.row_mm is not None and scale.column_mm is not None:
            fields[f"{name}_mm2"] = pixels * scale.row_mm * scale.column_mm
        if scale.voxel_mm3 is not None:
            fields[f"{name}_ml"] = pixels * scale.voxel_mm3 / _MM3_PER_ML
    is_volume = scale.voxel_mm3 is not None
    return {
        **fields,
        **_box(parts["lung"], is_volume),
        "width": lungs.labels.shape[2],
        "height": lungs.labels.shape[1],
        "slices": len(lungs.labels) if is_volume else None,
        "lung_fraction": fields["lung_px"] / lungs.labels.size,
        "row_spacing_mm": scale.row_mm,
        "column_spacing_mm": scale.column_mm,
        "slice_spacing_mm": scale.slice_mm,
        "spacing_at": scale.at,
    }


def measure_grey_values(radiograph: Pixels) -> dict[str, float]:
    """Measure a radiograph as a record is measured: fields of `Measurement`."""
    return describe_grey_values(resize_image(radiograph, _FINGERPRINT_SIZE))


def doubts(lung_fraction: float, *, is_volume: bool) -> Iterator[str]:
    """Say what speaks against a mask, by the limits that hold for the masks of records; of slices there are none."""
    limits = RecordValidationSettings()
    if lung_fraction == 0:
        yield "has an empty mask: no lung was found"
    elif not is_volume and not limits.min_lung_fraction <= lung_fraction <= limits.max_lung_fraction:
        expected = f"{limits.min_lung_fraction:.0%} to {limits.max_lung_fraction:.0%}"
        yield f"has a mask of {lung_fraction:.1%} of the image, where lungs cover {expected}: look at its overlay"


def write_measurements(folder: Path, measurements: Sequence[Measurement]) -> None:
    """Write the table, a row for each input, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(Measurement.model_fields)
    for measurement in measurements:
        writer.writerow(_to_cell(value) for _, value in measurement)
    write_whole(folder / MEASUREMENTS_FILE, table.getvalue())


def _box(mask: NDArray[np.bool_], is_volume: bool) -> dict[str, int]:
    box: dict[str, int] = {}
    for axis, first, length in ((0, "box_z", "box_depth"), (1, "box_y", "box_height"), (2, "box_x", "box_width")):
        where = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        if len(where) and (axis or is_volume):
            box |= {first: int(where[0]), length: int(where[-1] - where[0]) + 1}
    return box


def _to_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
