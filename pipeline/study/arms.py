"""The arms of a study: named changes of the configuration, each checked before anything is trained.

>>> [arm.name for arm in load_arms("copies", config)]
['originals only', 'with copies']
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import JsonValue

from components.augmenter.policy import Policy
from pipeline.config import Config, known_keys, override
from pipeline.errors import UserError
from pipeline.study.built_in import BUILT_IN
from schema.suggestions import did_you_mean, nearest

_SECTIONS: Final[tuple[str, ...]] = tuple(
    name for name in ("augment", "transform", "model", "train") if name in Config.model_fields
)
"""What determines a training, of what a configuration holds; all else is the same for all arms."""
_TEST_COPIES: Final = re.compile(r"augment\.(policy\.)?copies\.test")
_STEPS: Final = {"train.epochs", "train.images_per_original"}
"""Keys by which an arm says itself how long it is trained."""
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class StudyArm:
    """One way to train.

    Attributes:
        name: Of letters, digits, spaces, dots, hyphens and underscores.
        settings: What it sets, by dotted keys of the configuration, as it was given.
        config: The study's configuration with these settings; its steps are the study's, unless the arm sets them.
    """

    name: str
    settings: dict[str, JsonValue]
    config: Config

    @property
    def policy(self) -> Policy | None:
        """What makes the copies that it learns from; None where it learns from originals alone."""
        return without_test_copies(self.config.augment.effective_policy) if self.config.train.copies else None

    def trained_by(self) -> dict[str, Any]:
        """Return all that determines the training but seed and data: of arms that train alike, the same."""
        sections = self.config.model_dump(
            mode="json", include=dict.fromkeys(_SECTIONS, True), exclude={"train": {"seed"}}
        )
        return {**sections, "augment": self.policy.model_dump(mode="json") if self.policy else None}


def slug(name: str) -> str:
    """Write a name as a part of the id of a node."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name)


def without_test_copies(policy: Policy) -> Policy:
    """Return a policy that makes the copies to learn from alone: those of test images are the same for all arms."""
    copies = {split: number for split, number in policy.copies.items() if number and split != "test"}
    return policy.model_copy(update={"copies": copies})


def checked_arms(name_or_path: str, config: Config, seeds: int) -> tuple[StudyArm, ...]:
    """Read the arms of a study and check all that can be checked without its data.

    Args:
        name_or_path: As of `load_arms`.
        config: What holds where an arm sets nothing.
        seeds: How often each arm is trained, 1 or more.

    Raises:
        UserError: There is no such list, or an arm cannot be trained or compared with the others.
    """
    check_from_scratch(config)
    arms = load_arms(name_or_path, config)
    check_seeds(arms, seeds)
    return arms


def load_arms(name_or_path: str, config: Config) -> tuple[StudyArm, ...]:
    """Read the arms of a study.

    Args:
        name_or_path: One of `BUILT_IN`, or a YAML file: names of arms, each with dotted keys of the configuration and
            their values; the first is the reference.
        config: What holds where an arm sets nothing.

    Raises:
        UserError: There is no such list, or an arm cannot be trained or compared with the others.
    """
    given = BUILT_IN[name_or_path](config) if name_or_path in BUILT_IN else _read(name_or_path)
    if len(given) < 2:
        raise UserError(f"--arms {name_or_path}: a study compares two arms or more, there is {len(given)}")
    arms = tuple(_arm(name, settings, config) for name, settings in given.items())
    for one, other in itertools.combinations(arms, 2):
        _check_apart(one, other)
    return arms


def check_seeds(arms: tuple[StudyArm, ...], seeds: int) -> None:
    """Make sure that seeds are not taken for arms.

    Raises:
        UserError: Two arms that differ in the seed alone are trained once, or with some seed twice.
    """
    for one, other in itertools.combinations(arms, 2):
        first, second = one.config.train.seed, other.config.train.seed
        if one.trained_by() != other.trained_by():
            continue
        if seeds == 1:
            raise UserError(
                f"arms '{one.name}' and '{other.name}' differ in train.seed alone, and each is trained once: "
                "that compares two seeds, so give --seeds 2 or more"
            )
        if abs(first - second) < seeds:
            raise UserError(
                f"arms '{one.name}' and '{other.name}' share seeds, {first} and {second} being the first of {seeds} "
                f"each: set train.seed of '{other.name}' to {max(first, second) + seeds}"
            )


def _read(name_or_path: str) -> dict[str, dict[str, JsonValue]]:
    path = Path(name_or_path)
    if not path.is_file():
        hint = did_you_mean(name_or_path, BUILT_IN)
        raise UserError(f"--arms {name_or_path} is neither a file nor one of {', '.join(BUILT_IN)}{hint}")
    try:
        arms = yaml.load(path.read_text(), _UniqueKeys)  # noqa: S506  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"arms {path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(arms, dict):
        raise UserError(f"arms {path} must hold names of arms with their keys and values, is {type(arms).__name__}")
    for name, settings in arms.items():
        if not isinstance(settings or {}, dict):
            raise UserError(f"arm '{name}' must hold keys and values, such as train.epochs: 3, is {settings!r}")
    return {str(name): {str(key): value for key, value in (settings or {}).items()} for name, settings in arms.items()}


class _UniqueKeys(yaml.SafeLoader):
    """Refuses what YAML allows: that of two equal keys the second counts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise UserError(f"two arms, or two values of one arm, are called '{key}': name one otherwise")
        return dict(super().construct_mapping(node, deep))


def _arm(name: str, settings: Mapping[str, JsonValue], config: Config) -> StudyArm:
    if not _NAME.fullmatch(name):
        raise UserError(f"arm '{name}': its name must be letters, digits and, between them, spaces, '.', '-' and '_'")
    for key in settings:
        _check_key(name, key)
    try:
        own = override(config, settings)
        check_from_scratch(own)
    except UserError as error:
        raise UserError(f"arm '{name}': {error}") from error
    if own.augment.copies.get("test") != config.augment.copies.get("test"):
        _check_key(name, "augment.copies.test")
    if own.train.devices != config.train.devices:  # the CPU is split once, before the first component runs
        raise UserError(
            f"arm '{name}' sets train.devices, but all arms are trained on the same: give --set "
            f"train.devices={own.train.devices} for all"
        )
    learns_of_copies = own.train.copies and bool(without_test_copies(own.augment.effective_policy).copies)
    changes: dict[str, object] = {"copies": learns_of_copies}
    if not _STEPS & settings.keys() and config.train.images_per_original is None:
        changes["images_per_original"] = 1 + config.augment.effective_policy.copies_of("train")
    return StudyArm(name, dict(settings), own.model_copy(update={"train": own.train.model_copy(update=changes)}))


def check_from_scratch(config: Config) -> None:
    """Raise UserError where a training would begin with what another has learned."""
    if config.tune.trials or config.train.warm_start:
        raise UserError("a study trains from scratch: set tune.trials to 0 and train.warm_start to false")


def _check_key(arm: str, key: str) -> None:
    """Raise UserError where a key is none that an arm may set; whether it is one at all is seen later."""
    section, _, rest = key.partition(".")
    allowed = [known for known in known_keys(Config) if known.startswith(tuple(f"{name}." for name in _SECTIONS))]
    if section in Config.model_fields and (section not in _SECTIONS or _TEST_COPIES.fullmatch(key)):
        raise UserError(
            f"arm '{arm}' sets {key}, but all arms have the same data, test images and measures; "
            f"it may set keys of {', '.join(_SECTIONS)}, of which the nearest is {nearest(key, allowed, similarity=0)}"
        )
    if section in _SECTIONS and not rest:
        first = next(known for known in allowed if known.startswith(f"{section}."))
        raise UserError(f"arm '{arm}' sets the whole section '{section}': name its keys, such as {first}")


def _check_apart(one: StudyArm, other: StudyArm) -> None:
    if slug(one.name).lower() == slug(other.name).lower():
        raise UserError(f"two arms are called '{one.name}' and '{other.name}': name one otherwise")
    if (one.trained_by(), one.config.train.seed) == (other.trained_by(), other.config.train.seed):
        raise UserError(
            f"arms '{one.name}' and '{other.name}' differ in nothing: leave one out, or set a key of "
            f"{', '.join(_SECTIONS)} in it"
        )
