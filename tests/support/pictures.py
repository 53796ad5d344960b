"""Reads pictures that must be readable: OpenCV answers None for all others."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def read_picture(path: Path | str, flags: int = cv2.IMREAD_UNCHANGED) -> NDArray[Any]:
    pixels = cv2.imread(str(path), flags)
    assert pixels is not None, f"{path} is no picture"
    return pixels


def decode_picture(file: bytes | NDArray[Any], flags: int = cv2.IMREAD_UNCHANGED) -> NDArray[Any]:
    pixels = cv2.imdecode(np.frombuffer(file, np.uint8), flags)
    assert pixels is not None, "the bytes are no picture"
    return pixels
