"""Lists of arms that ship with the project: what each asks of a configuration.

>>> BUILT_IN["numbers"](config)
{'0 copies': {'train.copies': False}, '1 copy': {'augment.copies.train': 1, 'train.copies': True}, ...}
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, get_args

from pydantic import JsonValue

from components.augmenter.policy import POLICIES
from modules.preprocessing.settings import Normalization
from pipeline.config import Config
from pipeline.errors import UserError

Arms = dict[str, dict[str, JsonValue]]
"""Settings by dotted keys, by the name of the arm; the first is the reference."""

_NUMBERS: Final = (0, 1, 2, 4, 8, 16)


def _copies(_: Config) -> Arms:
    """Do copies help?"""
    return {"originals only": {"train.copies": False}, "with copies": {"train.copies": True}}


def _policies(config: Config) -> Arms:
    """Which of the policies that ship?"""
    number = config.augment.effective_policy.copies_of("train")  # each policy has another of its own
    return {
        path.stem: {"augment.policy": path.stem, "augment.copies.train": number, "train.copies": True}
        for path in sorted(POLICIES.glob("*.yaml"))
    }


def _leave_one_out(config: Config) -> Arms:
    """Which of the policy's transforms?"""
    policy = config.augment.policy
    if len(policy.transforms) < 2:
        raise UserError(f"--arms leave-one-out: policy '{policy.name}' has one transform alone: use --arms copies")
    names = [transform.name for transform in policy.transforms]
    arms: Arms = {f"all of {policy.name}": {"train.copies": True}}
    seen: Counter[str] = Counter()
    for place, name in enumerate(names):
        seen[name] += 1
        without = f"without {name}" + (f" {seen[name]}" if names.count(name) > 1 else "")
        rest = [*policy.transforms[:place], *policy.transforms[place + 1 :]]
        arms[without] = {
            "train.copies": True,
            "augment.policy.name": f"{policy.name} {without}",
            "augment.policy.transforms": [transform.model_dump(mode="json") for transform in rest],
        }
    return arms


def _numbers(_: Config) -> Arms:
    """How many copies?"""
    some: Arms = {
        f"{number} {'copy' if number == 1 else 'copies'}": {"augment.copies.train": number, "train.copies": True}
        for number in _NUMBERS
        if number
    }
    return {"0 copies": {"train.copies": False}, **some}


def _normalizations(_: Config) -> Arms:
    """By what are grey values best shifted and scaled?"""
    return {name: {"transform.normalization": name} for name in get_args(Normalization)}


BUILT_IN: Final[Mapping[str, Callable[[Config], Arms]]] = {
    "copies": _copies,
    "policies": _policies,
    "leave-one-out": _leave_one_out,
    "numbers": _numbers,
    "normalizations": _normalizations,
}
