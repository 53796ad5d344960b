"""What is sent to the model: stored images, images of other kinds, and files that are broken."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from schema.record import Pixels, decode

_SEED = 1


def write_requests(records: Sequence[bytes], folder: Path) -> None:
    """Write the files that `probe.py` reads.

    Args:
        records: serialized originals, at least one.
        folder: gets `stored/`, `variants/`, `records/` and `broken/`.

    Raises:
        RecordError: a record breaks the contract.
    """
    images = [decode(record).image for record in records]
    stored = [_encode(".png", image) for image in images]
    _write(folder / "stored", {f"{index:02}": file for index, file in enumerate(stored)})
    _write(folder / "records", {f"{index:02}": record for index, record in enumerate(records)})
    _write(folder / "variants", variants(images[0]))
    _write(folder / "broken", broken(stored[0]))


def variants(image: Pixels) -> dict[str, bytes]:
    """Encode one image, uint8 [height, width], in other sizes, depths and formats; files by their kind."""
    height, width = image.shape
    colour = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    half = cv2.resize(image, (max(width // 2, 1), max(height // 2, 1)), interpolation=cv2.INTER_AREA)
    wide = cv2.resize(image, (width + height // 2, height))
    return {
        "PNG of half the size": _encode(".png", half),
        "wide PNG": _encode(".png", wide),
        "PNG of one row": _encode(".png", image[height // 2][np.newaxis]),
        # As 12-bit detectors write it.
        "16-bit PNG": _encode(".png", image.astype(np.uint16) * 16),
        "colour PNG": _encode(".png", colour),
        "JPEG": _encode(".jpg", image),
        "colour JPEG": _encode(".jpg", colour),
    }


def broken(png: bytes) -> dict[str, bytes]:
    """Make files that are no images, by their kind."""
    return {
        "a truncated PNG": png[: len(png) // 2],
        "random bytes": np.random.default_rng(_SEED).bytes(1000),
        "an empty file": b"",
    }


def _encode(extension: str, pixels: NDArray[Any]) -> bytes:
    return cv2.imencode(extension, pixels)[1].tobytes()


def _write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
