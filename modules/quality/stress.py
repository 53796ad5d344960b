"""Copies of images as a broken detector, a hurried technician or a wrong upload would send them, with their truth.

A training that augments images keeps them plausible; these are not meant to be. What becomes of the mask is known, so
that the Dice of a model's answer is known as well.

>>> stressed = draw_stress(image, mask, np.random.default_rng(1))
>>> stressed.kind, stressed.is_chest
('upside down', False)
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Random = np.random.Generator


class Stressed(NamedTuple):
    """An image that something has happened to.

    Attributes:
        kind: What has.
        image: Grey values 0-1, float32 [size, size].
        mask: 1 where lung is, float32 [size, size].
        is_chest: Whether it still is a chest radiograph, upright, whole and not inverted; None where that is a matter
            of degree.
    """

    kind: str
    image: Floats
    mask: Floats
    is_chest: bool | None


def draw_stress(image: Floats, mask: Floats, random: Random, kind: str | None = None) -> Stressed:
    """Do something to an image.

    Args:
        image: Grey values 0-1, float32 [size, size].
        mask: 1 where lung is, of the same shape.
        random: Draws what and how much; the same state gives the same copy.
        kind: One of `KINDS`; drawn where it is None.
    """
    kind = kind or KINDS[random.integers(len(KINDS))]
    if kind in _GREY:
        return Stressed(kind, _clip(_GREY[kind](image, random)), mask, None)
    if kind in _MOVED:
        moved, moved_mask = _MOVED[kind](image, mask, random)
        return Stressed(kind, _clip(moved), moved_mask, False)
    return Stressed(kind, _clip(_DRAWN[kind](image, random)), np.zeros_like(mask), False)


def _noise(image: Floats, random: Random) -> Any:
    return image + random.normal(0, random.uniform(0.1, 0.5), image.shape)


def _blur(image: Floats, random: Random) -> Any:
    return cv2.GaussianBlur(image, (0, 0), random.uniform(0.01, 0.06) * image.shape[0])


def _expose(image: Floats, random: Random) -> Any:
    return image ** np.exp(random.choice([-1, 1]) * random.uniform(0.7, 2))


def _flatten(image: Floats, random: Random) -> Any:
    return random.uniform(0, 0.8) + image * random.uniform(0.05, 0.3)


def _saturate(image: Floats, random: Random) -> Any:
    return (image - random.uniform(0.2, 0.5)) * random.uniform(2, 5)


def _invert(image: Floats, mask: Floats, _: Random) -> tuple[Any, Floats]:
    return 1 - image, mask


def _turn(quarters: int) -> Callable[[Floats, Floats, Random], tuple[Any, Floats]]:
    return lambda image, mask, _: (np.rot90(image, quarters), np.ascontiguousarray(np.rot90(mask, quarters)))


def _flip(image: Floats, mask: Floats, _: Random) -> tuple[Any, Floats]:
    return image[::-1], np.ascontiguousarray(mask[::-1])


def _tilt(image: Floats, mask: Floats, random: Random) -> tuple[Any, Floats]:
    middle = image.shape[0] / 2
    return _warp(
        image, mask, cv2.getRotationMatrix2D((middle, middle), random.choice([-1, 1]) * random.uniform(35, 80), 1)
    )


def _crop(image: Floats, mask: Floats, random: Random) -> tuple[Any, Floats]:
    side = image.shape[0]
    part = round(side * random.uniform(0.3, 0.6))
    top, left = random.integers(0, side - part, 2)
    window = np.s_[top : top + part, left : left + part]
    return _resize(image[window], side), _resize(mask[window], side, cv2.INTER_NEAREST)


def _halve(image: Floats, mask: Floats, random: Random) -> tuple[Any, Floats]:
    """Leave a half of the image, beside or above nothing."""
    side = image.shape[0]
    kept = np.zeros_like(image)
    middle = round(side * random.uniform(0.4, 0.6))
    window = (np.s_[:, :middle], np.s_[:, middle:], np.s_[:middle], np.s_[middle:])[random.integers(4)]
    kept[window] = 1
    return image * kept, mask * kept


def _shift(image: Floats, mask: Floats, random: Random) -> tuple[Any, Floats]:
    across, along = (random.choice([-1, 1]) * random.uniform(0.25, 0.45) * image.shape[0] for _ in range(2))
    return _warp(image, mask, np.array([[1, 0, across], [0, 1, along]]))


def _shrink(image: Floats, mask: Floats, random: Random) -> tuple[Any, Floats]:
    """Put a small image into a large field, as a page with a radiograph on it."""
    side = image.shape[0]
    part = round(side * random.uniform(0.25, 0.5))
    top, left = random.integers(0, side - part, 2)
    field, lungs = np.full_like(image, random.choice([0.0, 1.0])), np.zeros_like(mask)
    window = np.s_[top : top + part, left : left + part]
    field[window] = _resize(image, part, cv2.INTER_AREA)
    lungs[window] = _resize(mask, part, cv2.INTER_NEAREST)
    return field, lungs


def _white_noise(image: Floats, random: Random) -> Any:
    return random.normal(random.uniform(0.2, 0.8), random.uniform(0.05, 0.4), image.shape)


def _clouds(image: Floats, random: Random) -> Any:
    """Draw smooth noise of one or two scales."""
    clouds = np.zeros(image.shape)
    for _ in range(random.integers(1, 3)):
        cells = int(random.integers(2, 24))
        clouds += cv2.resize(random.random((cells, cells)), image.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return (clouds - clouds.min()) / np.ptp(clouds)


def _shuffle(image: Floats, random: Random) -> Any:
    """Put the tiles of an image in another order: its grey values and textures without its anatomy."""
    tiles = int(random.integers(2, 9))
    part = -(-image.shape[0] // tiles)
    padded = cv2.resize(image, (part * tiles, part * tiles))
    blocks = padded.reshape(tiles, part, tiles, part).swapaxes(1, 2).reshape(-1, part, part)
    shuffled = random.permutation(blocks).reshape(tiles, tiles, part, part).swapaxes(1, 2).reshape(padded.shape)
    return cv2.resize(shuffled, image.shape[::-1])


def _shapes(image: Floats, random: Random) -> Any:
    """Draw bars and ellipses, as limbs, skulls and photographs of things have them."""
    side = image.shape[0]
    canvas = np.full(image.shape, random.uniform(0, 0.9), np.float32)
    for _ in range(random.integers(1, 7)):
        centre = tuple(int(place) for place in random.integers(0, side, 2))
        axes = tuple(int(axis) for axis in random.integers(side // 20, side // 2, 2))
        cv2.ellipse(canvas, centre, axes, float(random.uniform(0, 180)), 0, 360, float(random.random()), -1)
    return cv2.GaussianBlur(canvas, (0, 0), random.uniform(0.3, 0.03 * side)) + random.normal(0, 0.03, image.shape)


def _lines(image: Floats, random: Random) -> Any:
    """Draw lines of dark words on a bright page."""
    side = image.shape[0]
    page = np.full(image.shape, random.uniform(0.8, 1), np.float32)
    step = int(random.integers(max(4, side // 40), max(6, side // 12)))
    for top in range(step, side - step, step):
        words = np.repeat(random.random(side // 4 + 1) > random.uniform(0.2, 0.6), 4)[:side]
        page[top : top + step // 2, words] = random.uniform(0, 0.3)
    return page if random.random() < 0.8 else 1 - page


_GREY: Final[dict[str, Callable[[Floats, Random], Any]]] = {
    "noise": _noise,
    "blur": _blur,
    "exposure": _expose,
    "low contrast": _flatten,
    "saturation": _saturate,
}
_MOVED: Final[dict[str, Callable[[Floats, Floats, Random], tuple[Any, Floats]]]] = {
    "inverted": _invert,
    "turned left": _turn(1),
    "turned round": _turn(2),
    "turned right": _turn(3),
    "upside down": _flip,
    "tilted": _tilt,
    "cropped": _crop,
    "half": _halve,
    "shifted": _shift,
    "shrunk": _shrink,
}
_DRAWN: Final[dict[str, Callable[[Floats, Random], Any]]] = {
    "white noise": _white_noise,
    "clouds": _clouds,
    "shuffled": _shuffle,
    "shapes": _shapes,
    "lines": _lines,
}
KINDS: Final = (*_GREY, *_MOVED, *_DRAWN)
"""What may happen to an image."""


def _warp(image: Floats, mask: Floats, matrix: Any) -> tuple[Any, Floats]:
    size = image.shape[1], image.shape[0]
    return cv2.warpAffine(image, matrix, size), np.asarray(
        cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST), np.float32
    )


def _resize(pixels: Floats, side: int, interpolation: int = cv2.INTER_LINEAR) -> Floats:
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=interpolation), np.float32)


def _clip(image: Any) -> Floats:
    return np.ascontiguousarray(np.clip(image, 0, 1), np.float32)
