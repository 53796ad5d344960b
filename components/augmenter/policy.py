"""Augmentation policies: which Albumentations transforms, how often, how many copies for each split.

>>> policy = load_policy("chest")
>>> policy.copies_of("train")
1
>>> transform = compose(policy)
"""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from modules.settings import Settings

if TYPE_CHECKING:
    import albumentations

POLICIES = Path(__file__).with_name("policies")

Copies = dict[Literal["train", "eval", "test"], Annotated[int, Field(ge=0, le=100)]]
"""Copies of each original, by split; none for splits that are not listed."""


class PolicyError(ValueError):
    """A policy that cannot be used; one line says which and why."""


class Transform(Settings):
    """One Albumentations transform."""

    name: str
    """Name of the class in Albumentations."""
    arguments: dict[str, Any] = Field(default={})
    """Of its constructor."""
    p: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Probability with which it fires."""


class Policy(Settings):
    """A list of transforms, applied in order, and how many copies they make."""

    name: Annotated[str, Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)] = 0
    copies: Copies
    transforms: Annotated[tuple[Transform, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _can_be_built(self) -> "Policy":
        compose(self)
        return self

    def copies_of(self, split: str) -> int:
        """How many copies each original of the split gets."""
        return {str(name): count for name, count in self.copies.items()}.get(split, 0)


def load_policy(name_or_path: str) -> Policy:
    """Reads a policy that ships with the project, by name, or a YAML file.

    Raises:
        PolicyError: there is none of that name, or it is no valid policy.
    """
    shipped = {path.stem: path for path in sorted(POLICIES.glob("*.yaml"))}
    path = shipped.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        msg = f"augmentation policy '{name_or_path}' is neither a file nor one of: {', '.join(shipped)}"
        raise PolicyError(msg)
    try:
        return Policy.model_validate(yaml.safe_load(path.read_text()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"augmentation policy {path}: {where + ': ' if where else ''}{first['msg']}"
    except yaml.YAMLError as error:
        msg = f"augmentation policy {path} is no YAML: {' '.join(str(error).split())}"
    raise PolicyError(msg)


def compose(policy: Policy) -> "albumentations.Compose":
    """Builds the transforms.

    Raises:
        ValueError: Albumentations does not know a transform, or does not take an argument.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would look for updates over the network
    import albumentations  # takes seconds

    built = []
    for transform in policy.transforms:
        kind = getattr(albumentations, transform.name, None)
        if not (isinstance(kind, type) and issubclass(kind, albumentations.BasicTransform)):
            msg = f"Albumentations has no transform '{transform.name}'"
            raise ValueError(msg)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Albumentations only warns of arguments that it does not know
            try:
                built.append(kind(**transform.arguments, p=transform.p))
            except (UserWarning, TypeError, ValueError) as error:
                msg = f"transform {transform.name}: {' '.join(str(error).split())}"
                raise ValueError(msg) from error
    return albumentations.Compose(built, save_applied_params=True)
