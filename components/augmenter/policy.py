"""Augmentation policies: which Albumentations transforms, how often, how many copies for each split.

>>> policy = load_policy("chest")
>>> policy.copies_of("train")
2
>>> transform = compose(policy)
"""

import hashlib
import inspect
import json
import math
import os
import warnings
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from components.augmenter.policy_checks import WARNINGS, check_effect, find_objection
from components.augmenter.policy_hints import hint_argument, hint_nearest, one_line
from schema.settings import Settings

if TYPE_CHECKING:
    import albumentations

POLICIES = Path(__file__).with_name("policies")

Split = Literal["train", "eval", "test"]
Copies = dict[Split, Annotated[int, Field(ge=0, le=100)]]
"""Copies of each original, by split; none for splits that are not listed."""


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

    @field_validator("name")
    @classmethod
    def _is_single(cls, name: str) -> str:
        if name in _kinds("BaseCompose"):
            raise ValueError(
                f"{name} is a composition of transforms, which policies do not take: list its transforms singly, "
                "each with its own `p`"
            )
        return name

    @model_validator(mode="after")
    def _is_sound(self) -> "Transform":
        if not _is_finite(self.arguments):
            raise ValueError(f"{self.name}: its arguments must be finite numbers")
        built = _build(self)
        if not self.allow and (objection := find_objection(self.name, built)):
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
            check_effect(transform.name, partial(_build, transform, 1.0))
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
        raise PolicyError(
            f"augmentation policy '{name_or_path}' is neither a file nor one of: {', '.join(shipped)}"
            + hint_nearest(name_or_path, shipped)
        )
    try:
        return Policy.model_validate(yaml.safe_load(path.read_text()))
    except ValidationError as error:
        raise PolicyError(f"augmentation policy {path}: {_explain(error)}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PolicyError(f"augmentation policy {path} is no YAML: {one_line(error)}") from error


def compose(policy: Policy) -> "albumentations.Compose":
    """Build the transforms; no two threads may share them, for their random state is part of them."""
    import albumentations

    return albumentations.Compose([_build(transform) for transform in policy.transforms], save_applied_params=True)


def _build(transform: Transform, p: float | None = None, **replaced: Any) -> "albumentations.BasicTransform":
    """Build one transform, with another probability and other arguments if given.

    Raises:
        ValueError: Albumentations does not know it, or does not take an argument.
    """
    kinds = _kinds()
    if transform.name not in kinds:
        raise ValueError(f"Albumentations has no transform '{transform.name}'{hint_nearest(transform.name, kinds)}")
    kind = kinds[transform.name]
    known = [name for name in inspect.signature(kind.__init__).parameters if name not in ("self", "p")]
    for argument in transform.arguments:
        if argument == "p":
            raise ValueError(f"{transform.name}: give `p` beside `arguments`, not in them")
        if argument not in known:
            raise ValueError(f"{transform.name} has no argument '{argument}'{hint_argument(argument, known)}")
    with WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("error")  # Albumentations only warns of values that it then ignores
        try:
            return kind(**(transform.arguments | replaced), p=transform.p if p is None else p)
        except ValidationError as error:
            problem = _explain(error)
        except (UserWarning, TypeError, ValueError) as error:
            cause = error.__cause__
            problem = _explain(cause) if isinstance(cause, ValidationError) else one_line(error)
    raise ValueError(f"{transform.name}: {problem}")


@cache
def _kinds(base: str = "BasicTransform") -> dict[str, Any]:
    """List Albumentations' transforms by name; with base `BaseCompose`, its compositions."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would look for updates over the network
    import albumentations  # takes seconds

    named = {name: getattr(albumentations, name) for name in dir(albumentations)}
    abstract = {"BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D"}
    return {
        name: kind
        for name, kind in named.items()
        if isinstance(kind, type) and issubclass(kind, getattr(albumentations, base)) and name not in abstract
    }


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
        hint = hint_nearest(str(first["loc"][-1]), model.model_fields) or f"; known are {', '.join(model.model_fields)}"
        return f"unknown key '{key}'{hint}"
    problem = first["msg"].removeprefix("Value error, ")
    actual = "" if first["type"] in ("value_error", "missing") else f", is {first['input']!r}"
    return (f"{key}: " if key else "") + problem + actual
