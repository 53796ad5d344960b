"""Augmentation policies: which Albumentations transforms, how often, how many copies for each split.

>>> policy = load_policy("chest")
>>> policy.copies_of("train")
2
>>> transform = compose(policy)
"""

import difflib
import hashlib
import inspect
import json
import math
import os
import threading
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import numpy as np
import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from schema.settings import Settings

if TYPE_CHECKING:
    import albumentations

POLICIES = Path(__file__).with_name("policies")

Split = Literal["train", "eval", "test"]
Copies = dict[Split, Annotated[int, Field(ge=0, le=100)]]
"""Copies of each original, by split; none for splits that are not listed."""

# They shift pixels of the image and leave the mask where it was, so that the outline no longer fits.
_MOVES_IMAGE_ALONE = frozenset({"ChromaticAberration", "GlassBlur", "Lambda", "MotionBlur", "ZoomBlur"})
# A chest upside down, on its side or in pieces.
_IMPLAUSIBLE = frozenset(
    {"CubicSymmetry", "D4", "RandomGridShuffle", "RandomRotate90", "SquareSymmetry", "Transpose", "VerticalFlip"}
)
_ANGLES = ("limit", "rotate", "rotate_limit")
_PROBE_SIDES = (61, 83)
"""Pixels; sizes to which hardly anyone would crop or resize, so that doing so shows."""
_STEEPEST = 45.0
"""Degrees; no patient lies more askew on the detector."""


_WARNINGS = threading.RLock()
"""How warnings are treated is one for all threads; two that change it at a time would leave it changed."""


class PolicyError(ValueError):
    """A policy that cannot be used; one line says which and why."""


class Transform(Settings):
    """One Albumentations transform."""

    name: str
    """Name of the class in Albumentations."""
    arguments: dict[str, Any] = Field(default={})
    """Arguments of its constructor, by name."""
    p: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Probability with which it fires."""
    allow: bool = False
    """Takes a transform that moves the image but not the mask, or that makes a chest implausible."""

    @model_validator(mode="after")
    def _is_sound(self) -> "Transform":
        if not _is_finite(self.arguments):
            raise ValueError(f"{self.name}: its arguments must be finite numbers")
        _build(self)
        if not self.allow and (objection := _objection(self)):
            raise ValueError(f"{self.name} {objection}; write `allow: true` if you mean it")
        return self


class Policy(Settings):
    """A list of transforms, applied in order, and how many copies they make."""

    name: Annotated[str, Field(min_length=1)]
    """What reports and metadata call the policy."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of all random numbers: with the same seed, an image has the same copies."""
    copies: Copies
    """Copies of each original, by split; none where a split is not named. External sets get those of `test`."""
    transforms: Annotated[tuple[Transform, ...], Field(min_length=1)]
    """Applied in this order."""
    max_lung_loss: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Share of an original's lung area by which that of a copy may be smaller."""
    redraws: Annotated[int, Field(ge=0, le=20)] = 3
    """How often a copy that loses more is drawn again before it is left out."""
    allow_copies_of_copies: bool = False
    """Takes records that are augmented already; they are refused otherwise."""

    @model_validator(mode="after")
    def _keeps_the_contract(self) -> "Policy":
        for transform in self.transforms:
            for side in _PROBE_SIDES:
                _check_effect(transform, side)
        return self

    def copies_of(self, split: str) -> int:
        """Return how many copies each original of a split gets; a split of another name is a test set of its own."""
        copies = {str(name): self.copies.get(name, 0) for name in get_args(Split)}
        return copies.get(split, copies["test"])

    def to_json(self) -> str:
        """Write the policy on one line, the same however its file was laid out."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)

    def content_hash(self) -> str:
        """Identify the policy by its content; 16 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]


def load_policy(name_or_path: str) -> Policy:
    """Read a policy that ships with the project, by name, or a YAML file.

    Raises:
        PolicyError: there is none of that name, or it is no valid policy.
    """
    shipped = {path.stem: path for path in sorted(POLICIES.glob("*.yaml"))}
    path = shipped.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        msg = f"augmentation policy '{name_or_path}' is neither a file nor one of: {', '.join(shipped)}"
        raise PolicyError(msg + _nearest(name_or_path, shipped))
    try:
        return Policy.model_validate(yaml.safe_load(path.read_text()))
    except ValidationError as error:
        msg = f"augmentation policy {path}: {_explain(error)}"
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"augmentation policy {path} is no YAML: {_one_line(error)}"
    raise PolicyError(msg)


def compose(policy: Policy) -> "albumentations.Compose":
    """Build the transforms; no two threads may share them, for their random state is part of them."""
    import albumentations

    return albumentations.Compose([_build(transform) for transform in policy.transforms], save_applied_params=True)


def _build(transform: Transform, p: float | None = None) -> "albumentations.BasicTransform":
    """Build one transform, with another probability if given.

    Raises:
        ValueError: Albumentations does not know it, or does not take an argument.
    """
    kinds = _kinds()
    if transform.name not in kinds:
        msg = f"Albumentations has no transform '{transform.name}'"
        raise ValueError(msg + _nearest(transform.name, kinds))
    kind = kinds[transform.name]
    known = [name for name in inspect.signature(kind.__init__).parameters if name not in ("self", "p")]
    for argument in transform.arguments:
        if argument == "p":
            raise ValueError(f"{transform.name}: give `p` beside `arguments`, not in them")
        if argument not in known:
            hint = _nearest(argument, known) or f"; known are {', '.join(known)}"
            raise ValueError(f"{transform.name} has no argument '{argument}'{hint}")
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("error")  # Albumentations only warns of values that it then ignores
        try:
            return kind(**transform.arguments, p=transform.p if p is None else p)
        except ValidationError as error:
            problem = _explain(error)
        except (UserWarning, TypeError, ValueError) as error:
            cause = error.__cause__
            problem = _explain(cause) if isinstance(cause, ValidationError) else _one_line(error)
    raise ValueError(f"{transform.name}: {problem}")


@cache
def _kinds() -> dict[str, Any]:
    """List Albumentations' transforms by name."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would look for updates over the network
    import albumentations  # takes seconds

    named = {name: getattr(albumentations, name) for name in dir(albumentations)}
    abstract = {"BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D"}
    return {
        name: kind
        for name, kind in named.items()
        if isinstance(kind, type) and issubclass(kind, albumentations.BasicTransform) and name not in abstract
    }


def _objection(transform: Transform) -> str | None:
    if transform.name in _MOVES_IMAGE_ALONE:
        return "moves pixels of the image but not of the mask"
    if transform.name in _IMPLAUSIBLE:
        return "makes a chest implausible"
    for name in _ANGLES:
        # The built transform knows the default as well: Rotate's own is 90 degrees.
        limits = np.atleast_1d(getattr(_build(transform), name, 0.0))
        if limits.dtype.kind in "if" and np.abs(limits).max() > _STEEPEST:
            return f"turns a chest by up to {np.abs(limits).max():g} degrees, more than {_STEEPEST:g}"
    return None


def _check_effect(transform: Transform, side: int) -> None:
    """Raise ValueError where the transform cannot take a grey image with a mask, or breaks the record's contract."""
    import albumentations

    pixels = (np.arange(side * side, dtype=np.uint32) % 256).astype(np.uint8).reshape(side, side)
    mask = np.zeros_like(pixels)
    mask[side // 4 : side // 2, side // 4 : -side // 4] = 255
    try:
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            drawn = albumentations.Compose([_build(transform, p=1.0)], seed=0)(image=pixels, mask=mask)
    except Exception as error:
        raise ValueError(f"{transform.name} does not take a grey image with a mask: {_one_line(error)}") from error
    if drawn["image"].shape != pixels.shape or drawn["mask"].shape != mask.shape:
        raise ValueError(f"{transform.name} changes the image's size, which must stay")
    if drawn["image"].dtype != np.uint8:
        raise ValueError(f"{transform.name} changes the image's type to {drawn['image'].dtype}, which must stay uint8")
    if not np.isin(drawn["mask"], (0, 255)).all():
        raise ValueError(f"{transform.name} gives the mask other values than 0 and 255")


def _is_finite(value: object) -> bool:
    """Return whether no number in a YAML value is infinite or NaN, which JSON cannot hold."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _explain(error: ValidationError) -> str:
    """Describe the first problem, in one line, with the nearest right key where one was unknown."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "extra_forbidden":
        model: type[BaseModel] = Transform if first["loc"][0] == "transforms" else Policy
        hint = _nearest(str(first["loc"][-1]), model.model_fields) or f"; known are {', '.join(model.model_fields)}"
        return f"unknown key '{key}'{hint}"
    problem = first["msg"].removeprefix("Value error, ")
    actual = "" if first["type"] in ("value_error", "missing") else f", is {first['input']!r}"
    return (f"{key}: " if key else "") + problem + actual


def _nearest(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
