"""What a transform does to a chest and its mask, tried on small pictures.

>>> find_objection("Rotate", albumentations.Rotate(limit=60))
'turns a chest by up to 60 degrees, more than 45'
"""

import inspect
import threading
import warnings
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from components.augmenter.policy_hints import one_line
from schema.record import Pixels

if TYPE_CHECKING:
    import albumentations

# They shift pixels of the image and leave the mask where it was, so that the outline no longer fits.
_MOVES_IMAGE_ALONE = frozenset({"ChromaticAberration", "GlassBlur", "Lambda", "MotionBlur", "ZoomBlur"})
# A chest upside down, on its side or in pieces.
_IMPLAUSIBLE = frozenset(
    {"CubicSymmetry", "D4", "RandomGridShuffle", "RandomRotate90", "SquareSymmetry", "Transpose", "VerticalFlip"}
)
_ANGLES = ("limit", "rotate", "rotate_limit")
_STEEPEST = 45.0
"""Degrees; no patient lies more askew on the detector."""
_PROBE_SIDES = (61, 83)
"""Pixels; sizes to which hardly anyone would crop or resize, so that doing so shows."""
_FILLS = ("border_mode", "fill_mask", "mask_drop_value")
"""Arguments that say what the mask becomes where nothing of the original lies; their defaults write no lung."""
_FILL_SIDE, _FILL_DRAWS = 256, 8

WARNINGS = threading.RLock()
"""How warnings are treated is one for all threads; two that change it at a time would leave it changed."""


class Make(Protocol):
    """Builds a transform that always fires."""

    def __call__(self, **replaced: Any) -> "albumentations.BasicTransform":
        """Build it with some arguments replaced."""


def find_objection(name: str, built: "albumentations.BasicTransform") -> str | None:
    """Say what a transform does to a chest that only permission makes right; None where it does nothing such."""
    if name in _MOVES_IMAGE_ALONE:
        return "moves pixels of the image but not of the mask"
    if name in _IMPLAUSIBLE:
        return "makes a chest implausible"
    for angle in _ANGLES:
        # The built transform knows the default as well: Rotate's own is 90 degrees.
        limits = np.atleast_1d(getattr(built, angle, 0.0))
        if limits.dtype.kind in "if" and np.abs(limits).max() > _STEEPEST:
            return f"turns a chest by up to {np.abs(limits).max():g} degrees, more than {_STEEPEST:g}"
    return None


def check_effect(name: str, make: Make) -> None:
    """Try a transform on grey images with masks.

    Raises:
        ValueError: It cannot take them, or breaks the record's contract.
    """
    for side in _PROBE_SIDES:
        _check_contract(name, make, side)
    _check_fill(name, make)


def _check_contract(name: str, make: Make, side: int) -> None:
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2, side // 4 : -side // 4] = 255
    try:
        image, drawn = _apply(make(), mask, seed=0)
    except Exception as error:
        raise ValueError(f"{name} does not take a grey image with a mask: {one_line(error)}") from error
    if image.shape != mask.shape or drawn.shape != mask.shape:
        raise ValueError(f"{name} changes the image's size, which must stay")
    if image.dtype != np.uint8:
        raise ValueError(f"{name} changes the image's type to {image.dtype}, which must stay uint8")
    if not np.isin(drawn, (0, 255)).all():
        raise ValueError(f"{name} gives the mask other values than 0 and 255")


def _check_fill(name: str, make: Make) -> None:
    """Raise ValueError where what fills the mask is lung: where the defaults leave none, at the same random numbers."""
    built = make()
    parameters = inspect.signature(type(built).__init__).parameters
    defaults = {argument: parameters[argument].default for argument in _FILLS if argument in parameters}
    values = {argument: getattr(built, argument, default) for argument, default in defaults.items()}
    changed = [argument for argument in values if values[argument] != defaults[argument]]
    if not changed or not _writes_lung(make, defaults, {}):
        return
    culprits = [
        argument for argument in changed if not _writes_lung(make, defaults, {argument: defaults[argument]})
    ] or changed
    found = ", ".join(f"{argument} {_format(values[argument])}" for argument in culprits)
    remedy = " and ".join(
        f"leave {argument} out" if defaults[argument] is None else f"set {argument} to 0" for argument in culprits
    )
    raise ValueError(f"{name} writes lung where there was none ({found}): {remedy}")


def _format(value: Any) -> str:
    return " ".join(f"{part:g}" for part in np.atleast_1d(value))


def _writes_lung(make: Make, defaults: dict[str, Any], replaced: dict[str, Any]) -> bool:
    """Tell whether a transform, with some arguments replaced, leaves lung where it leaves none by its defaults."""
    side = _FILL_SIDE
    mask = np.zeros((side, side), np.uint8)
    mask[side // 32 : -side // 32, side // 32 : side // 2] = 255  # near the border, as lungs are
    return any(
        ((_apply(make(**replaced), mask, seed)[1] > 0) & (_apply(make(**defaults), mask, seed)[1] == 0)).any()
        for seed in range(_FILL_DRAWS)
    )


def _apply(built: "albumentations.BasicTransform", mask: Pixels, seed: int) -> tuple[Pixels, Pixels]:
    """Return a grey picture and a mask as a transform draws them."""
    import albumentations

    pixels = (np.arange(mask.size, dtype=np.uint32) % 256).astype(np.uint8).reshape(mask.shape)
    with WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = albumentations.Compose([built], seed=seed)(image=pixels, mask=mask)
    return drawn["image"], drawn["mask"]
