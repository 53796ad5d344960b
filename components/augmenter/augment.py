"""Makes one augmented copy of one record; pure, so that any runner gives the same bytes."""

import hashlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from schema import features
from schema.record import Record

if TYPE_CHECKING:
    import albumentations

_ATTEMPTS = 100


def augment(record: Record, transform: "albumentations.Compose", seed: int, copy: int) -> Record:
    """Draws copy number `copy` of an original.

    Every random number is a function of (seed, image_id, copy) alone. A draw in which no transform fires
    is no augmentation and is drawn again.

    Args:
        record: the original.
        transform: made with `save_applied_params=True`; its random state is replaced.
        seed: of the policy.
        copy: number of the copy, from 1.

    Returns:
        A record of the same size, named after the original and the copy, tagged with what fired.

    Raises:
        RuntimeError: no transform fired in a hundred draws.
    """
    for attempt in range(_ATTEMPTS):
        # Stock Compose(seed=...) would give every transform the same generator: they would fire together.
        entropy = _entropy(seed, record.image_id, copy, attempt)
        transform.set_random_state(np.random.default_rng(entropy), random.Random(entropy))  # noqa: S311
        drawn = transform(image=record.image, mask=record.mask)
        fired = [name for name, _ in drawn["applied_transforms"]]
        if fired:
            return replace(
                record,
                image=drawn["image"],
                mask=drawn["mask"],
                image_id=f"{record.image_id}-copy{copy}",
                is_augmented=True,
                augmentation=features.TRANSFORM_SEPARATOR.join(fired),
            )
    msg = f"no transform fired in {_ATTEMPTS} draws for record '{record.image_id}': raise the policy's probabilities"
    raise RuntimeError(msg)


def _entropy(*key: int | str) -> int:
    return int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest()[:16], "big")
