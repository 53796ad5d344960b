"""Makes the augmented copies of one record; pure, so that any runner gives the same bytes."""

import hashlib
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from components.augmenter.policy import Policy
from schema import features
from schema.record import Pixels, Record

if TYPE_CHECKING:
    import albumentations

_IDLE_DRAWS = 100


@dataclass(frozen=True)
class Draw:
    """What became of one copy.

    Attributes:
        copy: the augmented record, or None where every draw lost too much of the lungs.
        redrawn: how many draws were thrown away before.
    """

    copy: Record | None
    redrawn: int


def draw_copy(record: Record, transform: "albumentations.Compose", policy: Policy, copy: int) -> Draw:
    """Draw copy number `copy` of a record.

    Every random number is a function of (policy seed, image_id, copy, draw) alone. A draw whose lung area is smaller
    than the original's by more than the policy's `max_lung_loss` is thrown away and drawn again, `redraws` times.

    Args:
        record: the original.
        transform: of `compose(policy)`; its random state is replaced.
        policy: for its seed and limits.
        copy: number of the copy, from 1.

    Returns:
        The copy, of the same size, named after the original and tagged with what fired.

    Raises:
        ValueError: a transform changed the size, or none fired in a hundred draws.
    """
    smallest = (1 - policy.max_lung_loss) * cv2.countNonZero(record.mask)
    for redrawn in range(policy.redraws + 1):
        image, mask, fired = _draw(record, transform, (policy.seed, record.image_id, copy, redrawn))
        if image.shape != record.image.shape or mask.shape != record.mask.shape:
            raise ValueError(f"record '{record.image_id}': {'+'.join(fired)} changed its size, which must stay")
        if cv2.countNonZero(mask) >= smallest:
            augmented = replace(
                record,
                image=image,
                mask=mask,
                image_id=record.name_copy(copy),
                is_augmented=True,
                augmentation=features.TRANSFORM_SEPARATOR.join(fired),
            )
            return Draw(augmented, redrawn)
    return Draw(None, policy.redraws)


def _draw(
    record: Record, transform: "albumentations.Compose", key: tuple[int | str, ...]
) -> tuple[Pixels, Pixels, list[str]]:
    """Return image, mask and the names of the transforms that fired; a draw in which none did is drawn again."""
    for idle in range(_IDLE_DRAWS):
        entropy = _entropy(*key, idle)
        # Stock Compose(seed=...) would give every transform the same generator: they would fire together.
        transform.set_random_state(np.random.default_rng(entropy), random.Random(entropy))  # noqa: S311
        drawn = transform(image=record.image, mask=record.mask)
        if drawn["applied_transforms"]:
            return drawn["image"], drawn["mask"], [name for name, _ in drawn["applied_transforms"]]
    raise ValueError(
        f"no transform fired in {_IDLE_DRAWS} draws for record '{record.image_id}': raise the policy's probabilities"
    )


def _entropy(*key: int | str) -> int:
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:16], "big")
