"""Puts what was measured in all trainings of a study side by side, image by image.

>>> test, north = read_sets([evaluation.uri for evaluation in evaluations], settings)
>>> test.values.shape  # arms, seeds, models, images, columns
(2, 3, 1, 60, 18)
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from components.images_table import read_images
from components.study_comparison.settings import StudyComparisonSettings
from modules.evaluation.bootstrap import Floats
from modules.evaluation.measures import COLUMNS
from schema import features
from schema.reports.evaluation import TEST_SET, Evaluation
from schema.reports.training import Training

_PATIENT: Final = [features.SOURCE, features.PATIENT_ID]
"""Patients are named within a source."""


class StudyError(ValueError):
    """The evaluations are not those of one study; one line says what is wrong."""


@dataclass(frozen=True)
class MeasuredSet:
    """The images of a test set, and what all trainings made of them.

    Attributes:
        name: `TEST_SET`, or that of an external set.
        images: A row an image with what is known of it, sorted by name; `fold` tells which fold's models measured it.
        values: float64 [arms, seeds, models, images, len(COLUMNS)]; NaN in the columns of pooled pixels. Models are the
            folds' on an external set; the test set has one, each fold's model having measured its own patients.
    """

    name: str
    images: pd.DataFrame
    values: Floats

    @property
    def patients(self) -> Sequence[tuple[str, str]]:
        """Whom each image shows: source and name."""
        return list(self.images[_PATIENT].itertuples(index=False, name=None))


def read_sets(folders: Iterable[str], settings: StudyComparisonSettings) -> list[MeasuredSet]:
    """Read all evaluations of a study; the test set comes first.

    Args:
        folders: Of the evaluations, in any order.
        settings: Which trainings there must be.

    Raises:
        StudyError: A training is missing, twice or of another study, or trainings were not measured on the same images.
        ReportFileError: A file is missing or damaged.
    """
    tables = _read_tables(folders, settings)
    names = {name for table in tables.values() for name in table["set"].unique()}
    return [_side_by_side(name, tables, settings) for name in sorted(names, key=lambda name: (name != TEST_SET, name))]


def describe(training: Training) -> str:
    """Name a training, such as `arm 'wide', seed 7, fold 2`."""
    fold = "" if training.fold is None else f", fold {training.fold}"
    return f"arm '{training.arm}', seed {training.seed}{fold}"


def _read_tables(folders: Iterable[str], settings: StudyComparisonSettings) -> dict[Training, pd.DataFrame]:
    expected = {
        Training(arm=arm.name, seed=seed, fold=fold)
        for arm, seed, fold in itertools.product(settings.arms, settings.seeds, _folds(settings))
    }
    tables: dict[Training, pd.DataFrame] = {}
    for folder in folders:
        training = Evaluation.read(folder).training
        if training is None or training not in expected:
            named = "no training" if training is None else describe(training)
            raise StudyError(f"'{folder}' is the evaluation of {named}, which is not of this study: leave it out")
        if training in tables:
            raise StudyError(f"{describe(training)} was evaluated twice: leave out '{folder}'")
        tables[training] = read_images(folder).assign(fold=training.fold)
    if missing := sorted(expected - tables.keys(), key=describe):
        raise StudyError(f"{describe(missing[0])} was not evaluated: connect its Evaluator")
    return tables


def _folds(settings: StudyComparisonSettings) -> Sequence[int | None]:
    return [None] if settings.folds is None else range(1, settings.folds + 1)


def _side_by_side(name: str, tables: dict[Training, pd.DataFrame], settings: StudyComparisonSettings) -> MeasuredSet:
    """Put the rows of a set in one order, and make sure that they are the same in all trainings."""
    first: tuple[Training, pd.DataFrame] | None = None
    values = []
    for arm, seed in itertools.product(settings.arms, settings.seeds):
        models = {
            training: tables[training][tables[training]["set"] == name]
            for training in (Training(arm=arm.name, seed=seed, fold=fold) for fold in _folds(settings))
        }
        if name == TEST_SET:
            models = {Training(arm=arm.name, seed=seed): pd.concat(models.values())}
        for training, images in models.items():
            ordered = images.sort_values(features.IMAGE_ID, ignore_index=True)
            first = first or (training, ordered)
            _check_once(name, training, ordered)
            _check_same(name, (training, ordered), first)
            values.append(ordered.reindex(columns=list(COLUMNS)).to_numpy(np.float64))
    assert first is not None  # noqa: S101  # there are arms and seeds
    shape = len(settings.arms), len(settings.seeds), -1, len(first[1]), len(COLUMNS)
    return MeasuredSet(name, first[1], np.stack(values).reshape(shape))


def _check_once(name: str, training: Training, images: pd.DataFrame) -> None:
    """Make sure that no image was measured twice, and no patient in two folds."""
    twice = images[features.IMAGE_ID].duplicated()
    if twice.any():
        raise StudyError(
            f"set '{name}': {describe(training)} measured image '{images[features.IMAGE_ID][twice].iloc[0]}' twice: "
            "each must be measured once"
        )
    folds = images.groupby(_PATIENT)["fold"].nunique()
    if (folds > 1).any():
        source, patient = folds.index[folds > 1][0]
        raise StudyError(
            f"set '{name}': {describe(training)} measured patient '{patient}' of source '{source}' in "
            f"{folds.max()} folds: each must be tested once"
        )


def _check_same(name: str, tested: tuple[Training, pd.DataFrame], first: tuple[Training, pd.DataFrame]) -> None:
    """Make sure that a training was tested on the images that the first one was, with folds in the same ones."""
    (training, images), (reference, expected) = tested, first
    ids, wanted = set(images[features.IMAGE_ID]), set(expected[features.IMAGE_ID])
    if ids != wanted:
        raise StudyError(
            f"set '{name}': {describe(training)} measured {len(ids)} images, {describe(reference)} {len(wanted)}; "
            f"'{min(ids ^ wanted)}' is among those of one alone: all must be tested on the same"
        )
    if name == TEST_SET and not images["fold"].equals(expected["fold"]):
        raise StudyError(
            f"{describe(training)} was tested in other folds than {describe(reference)}: all must share them"
        )
