"""Segments image files with an exported model: DICOM, PNG, JPEG or TIFF, as their content tells."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from components.outlines import Outline, draw_outlines
from components.record_validator.settings import RecordValidationSettings
from pipeline.errors import UserError
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.extensions import IMAGE_EXTENSIONS, is_bare_dicom, stem_of
from pipeline.ingest.formats.registry import decode_image
from pipeline.ingest.storage.files import read_file, read_head
from schema.record import Pixels
from schema.reports.base import ReportFileError

if TYPE_CHECKING:
    from modules.serving.segmenter import Segmenter

_BATCH = 8
_OUTLINE = (0, 220, 255)  # BGR


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return the image files named, and those in the folders named, sorted; hidden files are passed over there.

    Raises:
        UserError: A path does not exist, a folder holds no image, or two images have one name.
    """
    images: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if _is_image(file))
            if not found:
                raise UserError(f"'{path}' holds no images ({', '.join(IMAGE_EXTENSIONS)})")
            images += found
        elif path.is_file():
            images.append(path)
        else:
            raise UserError(f"image '{path}' does not exist")
    by_stem: dict[str, Path] = {}
    for image in images:
        other = by_stem.setdefault(stem_of(image.name), image)
        if other != image:
            raise UserError(
                f"'{other}' and '{image}' have one name, so their masks would overwrite each other: rename one"
            )
    return list(by_stem.values())


class Predicted(NamedTuple):
    """What came of images.

    Attributes:
        refused: One line for each that could not be read.
        doubtful: One line for each whose mask is empty, or covers less or more of the image than lungs do.
    """

    refused: list[str]
    doubtful: list[str]


def predict(model_dir: Path, output: Path, images: Sequence[Path], progress: Callable[[int], None]) -> Predicted:
    """Write `NAME_mask.png` (0/255, the image's size) and `NAME_overlay.png` for each image.

    Args:
        model_dir: An exported model, or the serving folder, of which the current version is taken.
        output: Folder to write to; made if missing.
        images: Files; names, without what tells the format, must differ.
        progress: Called with the number of images that are done.

    Raises:
        UserError: The model folder is no model, or the output cannot be written or is where the images are.
    """
    if output.resolve() in {image.parent.resolve() for image in images}:
        raise UserError(f"'{output}' holds the images themselves: name another folder for the masks")
    segmenter = load_model(model_dir)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output folder '{output}' cannot be made: {error.strerror}") from error
    predicted = Predicted([], [])
    readable = _read(images, predicted.refused)
    done = 0
    while batch := list(islice(readable, _BATCH)):
        for (path, image), mask in zip(batch, segmenter.segment([image for _, image in batch]), strict=True):
            _write(output / f"{stem_of(path.name)}_mask.png", mask)
            _write(output / f"{stem_of(path.name)}_overlay.png", outlined(image, mask))
            predicted.doubtful.extend(f"{path} {doubt}" for doubt in _doubts(mask))
        done += len(batch)
        progress(done + len(predicted.refused))
    progress(done + len(predicted.refused))
    return predicted


def load_model(model_dir: Path) -> "Segmenter":
    """Load a model, or the current version of a serving folder.

    Raises:
        UserError: There is no model.
    """
    # Take seconds: errors in the arguments come first.
    from modules.serving.segmenter import ModelError, Segmenter
    from modules.serving.serving_dir import current_version, is_model

    try:
        if not is_model(model_dir):
            version = current_version(model_dir)
            if version is None:
                raise UserError(
                    f"'{model_dir}' is no model: it holds neither a SavedModel nor numbered folders with one"
                )
            model_dir = model_dir / str(version)
        return Segmenter(model_dir)
    except (ModelError, ReportFileError, ValueError) as error:
        raise UserError(str(error)) from error


def outlined(image: Pixels, mask: Pixels) -> Pixels:
    """Return the image with the mask's outline, uint8 [height, width, 3] BGR, from two uint8 [height, width]."""
    thickness = max(1, min(image.shape) // 256)
    return draw_outlines(image, Outline(mask, _OUTLINE, thickness, smooth=False))


def _doubts(mask: Pixels) -> Iterator[str]:
    """Say what speaks against a mask, by the limits that hold for the masks of records."""
    share, limits = np.count_nonzero(mask) / mask.size, RecordValidationSettings()
    if share == 0:
        yield "has an empty mask: no lung was found"
    elif not limits.min_lung_fraction <= share <= limits.max_lung_fraction:
        expected = f"{limits.min_lung_fraction:.0%} to {limits.max_lung_fraction:.0%}"
        yield f"has a mask of {share:.1%} of the image, where lungs cover {expected}: look at its overlay"


def _is_image(file: Path) -> bool:
    if file.name.startswith(".") or not file.is_file():
        return False
    return file.name.lower().endswith(IMAGE_EXTENSIONS) or is_bare_dicom(file.name, lambda: read_head(str(file)))


def _read(images: Sequence[Path], refused: list[str]) -> Iterator[tuple[Path, Pixels]]:
    for path in images:
        try:
            yield path, decode_image(read_file(str(path))).pixels
        except ImageError as error:
            refused.append(f"{path} {error}")


def _write(path: Path, pixels: Pixels) -> None:
    try:
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    except OSError as error:
        raise UserError(f"'{path}' cannot be written: {error.strerror}") from error
