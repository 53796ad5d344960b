"""A contact sheet of what an augmentation policy makes of images: to look at before hours are spent on it."""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from pipeline.errors import UserError
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.extensions import MASK_EXTENSIONS, stem_of, strip_extension
from pipeline.ingest.formats.masks import decode_mask
from pipeline.ingest.formats.registry import decode_image
from pipeline.ingest.formats.resize import resize_image, resize_mask
from pipeline.ingest.layouts.folder import MASK_FOLDERS
from pipeline.ingest.pairing import pairing_key
from pipeline.ingest.storage.files import read_file
from pipeline.prediction.png import outlined
from schema import features
from schema.record import Pixels

_SIDE: Final = 320
_CAPTION: Final = 51
_MASK_SUFFIXES: Final = ("", "_mask")


def write_preview(
    policy_name: str,
    images: Sequence[Path],
    output: Path,
    *,
    masks: Path | None = None,
    copies: int = 5,
    size: int = 512,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write a PNG: a row an image, the original and its copies with the mask's outline and what fired.

    Args:
        policy_name: A policy that ships with the project, or a YAML file.
        images: Image files, DICOM too; each one's mask has its stem (or that and `_mask`).
        output: The PNG to write.
        masks: Folder of the masks; by default `masks/` or another of `MASK_FOLDERS` beside the images' folder.
        copies: Columns behind the original; the same copies that a run would make.
        size: Side to which images are brought before, as at ingest, pixels.
        progress: Called with the number of images that are done.

    Raises:
        UserError: The policy, an image or a mask cannot be used, or the sheet cannot be written.
    """
    pairs = [(image, find_mask(image, masks)) for image in images]

    # Takes seconds: what is wrong with the arguments comes first.
    from components.augmenter.augment import draw_copy
    from components.augmenter.policy import PolicyError, compose, load_policy
    from schema.record import Record

    try:
        policy = load_policy(policy_name)
    except PolicyError as error:
        raise UserError(str(error)) from error
    transform = compose(policy)
    rows = []
    for done, (image, mask) in enumerate(pairs, start=1):
        pixels, lungs = _read(image, mask, size)
        name = stem_of(image.name)
        original = Record(pixels, lungs, image_id=name, patient_id=name, source=name, width=size, height=size)
        drawn = [draw_copy(original, transform, policy, number).copy for number in range(1, copies + 1)]
        tiles = [_tile(pixels, lungs, name)]
        tiles += [_tile(copy.image, copy.mask, copy.augmentation) if copy else _left_out() for copy in drawn]
        rows.append(np.hstack(tiles))
        progress(done)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(cv2.imencode(".png", np.vstack(rows))[1].tobytes())
    except OSError as error:
        raise UserError(f"'{output}' cannot be written: {error.strerror}") from error


def find_mask(image: Path, folder: Path | None) -> Path:
    """Find the mask file of an image.

    Raises:
        UserError: The image does not exist, or it has no mask.
    """
    if not image.is_file():
        raise UserError(f"image '{image}' does not exist")
    folders = [folder] if folder else [image.resolve().parent.parent / name for name in MASK_FOLDERS]
    for candidate in folders:
        files = sorted(path for path in candidate.glob("*") if path.is_file() and path.resolve() != image.resolve())
        masks = {pairing_key(strip_extension(path.name, MASK_EXTENSIONS) or ""): path for path in reversed(files)}
        for suffix in _MASK_SUFFIXES:
            if mask := masks.get(pairing_key(f"{stem_of(image.name)}{suffix}")):
                return mask
    searched = " or ".join(map(str, folders))
    raise UserError(f"image '{image}' has no mask in {searched}: name the folder with --masks")


def _read(image: Path, mask: Path, size: int) -> tuple[Pixels, Pixels]:
    path = image
    try:
        pixels = decode_image(read_file(str(path))).pixels
        path = mask
        lungs = decode_mask(read_file(str(path)))
        return resize_image(pixels, size), resize_mask(lungs, size)
    except ImageError as error:
        raise UserError(f"'{path}' {error}") from error


def _tile(image: Pixels, mask: Pixels, caption: str) -> Pixels:
    drawn = cv2.resize(outlined(image, mask), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.vstack([np.asarray(drawn, np.uint8), _caption(caption)])


def _left_out() -> Pixels:
    return np.vstack([np.zeros((_SIDE, _SIDE, 3), np.uint8), _caption("left out: loses too much of the lungs")])


def _caption(text: str) -> Pixels:
    """Write three lines below a picture; what does not fit is cut."""
    strip = np.full((_CAPTION, _SIDE, 3), 255, np.uint8)
    for line, part in enumerate(textwrap.wrap(text.replace(features.TRANSFORM_SEPARATOR, " "), 44)[:3]):
        cv2.putText(strip, part, (4, 14 + 15 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
    return strip
