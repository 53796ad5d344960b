"""Segments image files with an exported model: DICOM, PNG, JPEG or TIFF, as their content tells."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import UserError
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.extensions import IMAGE_EXTENSIONS, stem_of
from pipeline.ingest.formats.registry import decode_image
from pipeline.ingest.storage.files import read_file
from schema.record import Pixels

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
            found = sorted(file for file in path.iterdir() if _is_named_as_image(file))
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


def predict(model_dir: Path, output: Path, images: Sequence[Path], progress: Callable[[int], None]) -> list[str]:
    """Write `NAME_mask.png` (0/255, the image's size) and `NAME_overlay.png` for each image.

    Args:
        model_dir: An exported model, or the serving folder, of which the current version is taken.
        output: Folder to write to; made if missing.
        images: Files; names, without what tells the format, must differ.
        progress: Called with the number of images that are done.

    Returns:
        One line for each image that could not be read.

    Raises:
        UserError: The model folder is no model, or the output cannot be written or is where the images are.
    """
    if output.resolve() in {image.parent.resolve() for image in images}:
        raise UserError(f"'{output}' holds the images themselves: name another folder for the masks")
    segment = load_model(model_dir)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output folder '{output}' cannot be made: {error.strerror}") from error
    refused: list[str] = []
    readable = _read(images, refused)
    done = 0
    while batch := list(islice(readable, _BATCH)):
        for (path, image), mask in zip(batch, segment([image for _, image in batch]), strict=True):
            _write(output / f"{stem_of(path.name)}_mask.png", mask)
            _write(output / f"{stem_of(path.name)}_overlay.png", outlined(image, mask))
        done += len(batch)
        progress(done + len(refused))
    progress(done + len(refused))
    return refused


def load_model(model_dir: Path) -> Callable[[Sequence[Pixels]], list[Pixels]]:
    """Load a model and return its function from grey images to masks 0/255 of the same sizes.

    Raises:
        UserError: There is no model.
    """
    import tensorflow as tf  # takes seconds: errors in the arguments come first

    from modules.serving.serving_dir import current_version, is_model

    if not is_model(model_dir):
        try:
            version = current_version(model_dir)
        except ValueError as error:
            raise UserError(str(error)) from error
        if version is None:
            raise UserError(f"'{model_dir}' is no model: it holds neither a SavedModel nor numbered folders with one")
        model_dir = model_dir / str(version)
    try:
        loaded = tf.saved_model.load(str(model_dir))
    except (OSError, ValueError) as error:
        raise UserError(f"'{model_dir}' cannot be loaded as a model: {str(error).splitlines()[0]}") from error
    serve = loaded.signatures.get("serving_default")
    if serve is None or "image_bytes" not in serve.structured_input_signature[1]:
        raise UserError(
            f"'{model_dir}' is no model of this pipeline: it has no signature serving_default that takes image_bytes"
        )

    def segment(images: Sequence[Pixels]) -> list[Pixels]:
        encoded = [cv2.imencode(".png", image)[1].tobytes() for image in images]
        # Through `loaded`, which owns the variables that the signature reads.
        answer = loaded.signatures["serving_default"](image_bytes=tf.constant(encoded))
        return [_decode(mask) for mask in answer["mask_png"].numpy()]

    return segment


def outlined(image: Pixels, mask: Pixels) -> Pixels:
    """Return the image with the mask's outline, uint8 [height, width, 3] BGR, from two uint8 [height, width]."""
    drawn = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(drawn, outlines, -1, _OUTLINE, max(1, min(image.shape) // 256)), np.uint8)


def _is_named_as_image(file: Path) -> bool:
    return file.name.lower().endswith(IMAGE_EXTENSIONS) and not file.name.startswith(".")


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


def _decode(png: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
