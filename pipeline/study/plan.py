"""What a study trains: each of its arms with each seed, in each fold.

>>> [planned.training for planned in StudyPlan(config, arms, seeds=2).trainings()]
[Training(arm='originals only', seed=7, fold=None), Training(arm='with copies', seed=7, fold=None), ...]
"""

import hashlib
import json
from dataclasses import dataclass

from pipeline.config import Config
from pipeline.study.arms import StudyArm, slug
from pipeline.study.folds import config_of_fold
from schema.reports.training import Training


@dataclass(frozen=True)
class PlannedTraining:
    """One training of a study.

    Attributes:
        training: Names it.
        arm: How it is trained.
        config: The same, with the seed and the split that it is trained with.
    """

    training: Training
    arm: StudyArm
    config: Config

    @property
    def trainer_id(self) -> str:
        """The id of its Trainer.

        It tells by what the network is trained, not what the arm is called: an arm of another list that trains alike
        finds the training in the cache. TFX runs nodes in the order of their ids: one seed of all arms after another,
        so that a study that is broken off is whole with fewer seeds.
        """
        digest = short_digest(self.arm.trained_by())
        return f"Trainer-{self.config.train.seed}-{digest}{suffix(self.training.fold)}"

    @property
    def evaluator_id(self) -> str:
        """The id of its Evaluator."""
        return f"Evaluator-{slug(self.arm.name)}-{self.training.seed}{suffix(self.training.fold)}"


@dataclass(frozen=True)
class StudyPlan:
    """What a study compares.

    Attributes:
        config: What holds where an arm sets nothing; its policy makes the copies of test images.
        arms: Two or more, of which the first is the reference.
        seeds: How often each is trained: with `train.seed`, and those above it.
        folds: In how many parts the patients are tested, each by models that never saw it; None: one test split.
    """

    config: Config
    arms: tuple[StudyArm, ...]
    seeds: int = 1
    folds: int | None = None

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds by which trainings are named: those of the configuration, whatever an arm sets."""
        return tuple(range(self.config.train.seed, self.config.train.seed + self.seeds))

    def all_folds(self) -> dict[int | None, Config]:
        """Return the configuration of each fold by its number, from 1; without folds, the only one under None."""
        if self.folds is None:
            return {None: self.config}
        return {fold: config_of_fold(self.config, fold, self.folds) for fold in range(1, self.folds + 1)}

    def trainings(self, fold: int | None = None) -> list[PlannedTraining]:
        """List the trainings of one fold, or of all; those of the first seed come first."""
        return [
            PlannedTraining(Training(arm=arm.name, seed=seed, fold=number), arm, _with_seed(arm, turn))
            for number in self.all_folds()
            if fold in (None, number)
            for turn, seed in enumerate(self.all_seeds)
            for arm in self.arms
        ]


def _with_seed(arm: StudyArm, turn: int) -> Config:
    train = arm.config.train
    return arm.config.model_copy(update={"train": train.model_copy(update={"seed": train.seed + turn})})


def suffix(fold: int | None) -> str:
    """Return what the ids of a fold's nodes end in; those of the first one's data have the plain ids."""
    return "" if fold is None else f"-fold-{fold}"


def short_digest(value: object) -> str:
    """Identify a JSON value; 8 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
