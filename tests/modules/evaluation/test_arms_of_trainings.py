"""Arms against the first one, by networks that are really trained: alike, and one that learns from spoilt masks."""

from typing import Final, NamedTuple

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from modules.evaluation.arms import compare_arms
from modules.evaluation.measures import COLUMNS
from modules.network.settings import ModelSettings
from modules.network.unet import unet
from modules.training.losses import DiceCrossEntropy
from pipeline.commands.phantoms import phantom
from schema.reports.study import ArmDifference

pytestmark = [pytest.mark.nightly, pytest.mark.slow]

SIZE: Final = 64
SEEDS: Final = 3
STUDIES: Final = 20
TRAINED_ON: Final = 48
TESTED: Final = 30

Floats = NDArray[np.float32]


class Images(NamedTuple):
    """Images and their masks, float32 [images, SIZE, SIZE, 1]."""

    pixels: Floats
    masks: Floats


def draw(patients: range) -> Images:
    """One image of each patient."""
    drawn = [phantom(0, patient, 1, SIZE) for patient in patients]
    pixels, masks = (np.stack(part)[..., np.newaxis] for part in zip(*drawn, strict=True))
    return Images(np.divide(pixels, 255, dtype=np.float32), np.divide(masks, 255, dtype=np.float32))


class Trainer:
    """Trains one small network again and again, from new weights each time."""

    def __init__(self, learned: Images) -> None:
        self._learned = learned
        self._network = unet(ModelSettings(image_size=SIZE, filters=4, levels=3))
        self._network.compile("adam", DiceCrossEntropy(0.5))

    def dice(self, masks: Floats, seed: int, tested: Images) -> NDArray[np.float64]:
        """Dice of the test images, [images], by a network that has learned from these masks."""
        keras.utils.set_random_seed(seed)
        fresh = unet(ModelSettings(image_size=SIZE, filters=4, levels=3))
        self._network.set_weights(fresh.get_weights())
        for variable in self._network.optimizer.variables:
            if "learning_rate" not in variable.path:
                variable.assign(np.zeros(variable.shape))
        self._network.optimizer.learning_rate = 5e-3
        self._network.fit(self._learned.pixels, masks, batch_size=8, epochs=12, verbose=0)
        lung, truth = self._network.predict(tested.pixels, verbose=0) > 0, tested.masks > 0.5
        both = (lung & truth).sum((1, 2, 3))
        return np.asarray(2 * both / (lung.sum((1, 2, 3)) + truth.sum((1, 2, 3))), np.float64)


@pytest.fixture(scope="module")
def learned() -> Images:
    return draw(range(1, TRAINED_ON + 1))


@pytest.fixture(scope="module")
def trainer(learned: Images) -> Trainer:
    return Trainer(learned)


def compare(trainer: Trainer, arms: tuple[Floats, Floats], seeds: range, tested: Images) -> ArmDifference:
    """The difference of the mean Dice of two arms, given what each learns from; no two trainings share a seed."""
    values = np.full((2, SEEDS, 1, TESTED, len(COLUMNS)), 0.5)
    for arm, masks in enumerate(arms):
        for number, seed in enumerate(seeds[arm * SEEDS : (arm + 1) * SEEDS]):
            values[arm, number, 0, :, COLUMNS.index("dice")] = trainer.dice(masks, seed, tested)
    slices = compare_arms(["reference", "other"], values, np.arange(TESTED), 1000, 0.95)
    return slices[1].differences["dice_mean"]


def test_arms_that_are_alike_seldom_differ(trainer: Trainer, learned: Images) -> None:
    effects = []
    for study in range(STUDIES):
        first_patient, first_seed = 1000 + study * TESTED, study * 2 * SEEDS
        tested = draw(range(first_patient, first_patient + TESTED))
        seeds = range(first_seed, first_seed + 2 * SEEDS)
        effects.append(compare(trainer, (learned.masks, learned.masks), seeds, tested).effect)
    assert effects.count("no difference can be told") >= STUDIES - 2, effects


def test_an_arm_that_learns_from_shifted_masks_is_found(trainer: Trainer, learned: Images) -> None:
    shifted = learned.masks.copy()
    shifted[::2] = np.roll(shifted[::2], (3, 4), axis=(1, 2))
    difference = compare(trainer, (learned.masks, shifted), range(2 * SEEDS), draw(range(1000, 1000 + TESTED)))
    assert difference.effect == "worse", difference
