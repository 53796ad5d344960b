"""What `lungseg predict` tells: a row for each input, what predicted, and how many of what there were.

>>> report = PredictionReport.read(folder)
>>> report.found == report.segmented + report.refused
True
"""

from typing import ClassVar, Literal

from pydantic import model_validator
from typing_extensions import Self

from schema.reports.base import Part, Report
from schema.reports.statistics import Drift

Kind = Literal["raster", "radiograph", "nifti", "series"]
"""PNG, JPEG or TIFF; a radiograph in DICOM; a CT volume in NIfTI; a CT series in DICOM."""

Cause = Literal["unreadable", "other kind", "other format"]
"""Why an input is refused: it cannot be read; the model was trained on another kind of images; the format asked for
cannot hold its mask."""

Modality = Literal["radiographs", "CT", "radiographs and CT"]


class Measurement(Part):
    """The row of one input; what is not known, or not measured, is None. The table's columns are these fields.

    Of a volume, pixels are voxels, and areas are summed over its axial slices. Boxes are counted in the image as it is
    displayed, from 0 at its upper left, and from the slice at the feet.
    """

    file: str
    """As the user named it, or below the folder that the user named."""
    status: Literal["segmented", "refused"]
    cause: Cause | None = None
    """Of a refusal."""
    reason: str = ""
    """Why it is refused, in words."""
    kind: Kind | None = None
    result: str = ""
    """Name of the file with the mask, in the output folder."""
    width: int | None = None
    """Pixels."""
    height: int | None = None
    slices: int | None = None
    """Of a volume."""
    mean_intensity: float | None = None
    """Mean of the grey values, 0-1, as of a record; None for a volume."""
    std_intensity: float | None = None
    """Their standard deviation."""
    lung_fraction: float | None = None
    """Share of the pixels that are lung, 0-1."""
    lung_px: int | None = None
    lung_mm2: float | None = None
    lung_ml: float | None = None
    right_px: int | None = None
    """Of the patient's right lung; None, as all of each lung, where the two cannot be told apart."""
    right_mm2: float | None = None
    right_ml: float | None = None
    left_px: int | None = None
    left_mm2: float | None = None
    left_ml: float | None = None
    box_x: int | None = None
    """The first column with lung; None, as all of the box, where there is no lung."""
    box_y: int | None = None
    box_z: int | None = None
    """The first slice with lung, of a volume."""
    box_width: int | None = None
    box_height: int | None = None
    box_depth: int | None = None
    row_spacing_mm: float | None = None
    """Between the middles of neighbouring rows."""
    column_spacing_mm: float | None = None
    slice_spacing_mm: float | None = None
    spacing_at: Literal["patient", "detector"] | None = None
    """Where the spacing is true; at the detector, a radiograph shows the lungs enlarged."""
    expected_dice: float | None = None
    """What the Dice of the mask would probably be, 0-1, as the model estimates; None where it does not tell."""
    right_expected_dice: float | None = None
    """That of the patient's right lung; None as well for volumes, and where the two cannot be told apart."""
    left_expected_dice: float | None = None
    review: bool | None = None
    """Whether somebody should look at the mask."""
    review_reason: str = ""
    model_version: str = ""
    """Its number in the serving folder, or the beginning of its digest."""


class TrainingData(Part):
    """What a model was trained on, as far as the statistics beside it tell."""

    modality: Modality
    images: int
    sources: dict[str, int]
    """Images by hospital or data set."""
    views: dict[str, int]
    """Images by view."""


class PredictingModel(Part):
    """The model that predicted."""

    version: int | None
    """Its number in the serving folder; None for an export that was not pushed."""
    digest: str
    """Of its content."""
    trained_on: TrainingData | None
    """None where nothing beside the model tells."""


class PredictionReport(Report):
    """What became of the inputs of one call."""

    FILE: ClassVar = "predictions.json"

    model: PredictingModel
    code_version: str
    """Of the code that reads, asks the model and writes."""
    found: int
    """Inputs: images and volumes."""
    segmented: int
    refused: int
    refusals: dict[Cause, int]
    """Those refused, by cause."""
    reused: int
    """Of those segmented, how many an earlier call with the same model had done."""
    review: int
    """Of those segmented, how many somebody should look at."""
    drift: Drift = Drift(reason="an earlier version did not look for it", new_examples=0)
    """How far the radiographs have moved from those that the model was trained on."""
    seconds: float

    @model_validator(mode="after")
    def _reconcile(self) -> Self:
        if self.found != self.segmented + self.refused or self.refused != sum(self.refusals.values()):
            raise ValueError(f"{self.found} found, but {self.segmented} segmented and {self.refused} refused")
        return self
