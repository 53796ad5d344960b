"""Compares the arms of a study on every slice of its test sets.

>>> compare(read_sets(folders, settings), settings)[0].arms[1].differences["dice_mean"].estimate
Estimate(value=0.006, low=0.002, high=0.01)
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from components.study_comparison.settings import StudyComparisonSettings
from components.study_comparison.tables import MeasuredSet
from modules.evaluation.arms import compare_arms
from modules.evaluation.settings import EvaluateSettings
from modules.evaluation.slicing import MeasuredImage, slice_values
from schema.features import IS_AUGMENTED
from schema.reports.evaluation import SliceKey, slice_name
from schema.reports.study import StudySlice

_KNOWN = tuple(name for name in MeasuredImage._fields if name != "values")


def compare(sets: list[MeasuredSet], settings: StudyComparisonSettings) -> list[StudySlice]:
    """Compare the arms on the slices that models are judged on, set by set, whole sets before their parts."""
    evaluate, arms = settings.evaluate, [arm.name for arm in settings.arms]
    slices = []
    for measured in sets:
        _, patients = np.unique([f"{source}/{name}" for source, name in measured.patients], return_inverse=True)
        for keys, rows in sorted(_rows_of_slices(measured, evaluate).items(), key=lambda item: (len(item[0]), item[0])):
            _, of_slice = np.unique(patients[rows], return_inverse=True)
            count = int(of_slice.max()) + 1
            slices.append(
                StudySlice(
                    slice=slice_name(measured.name, dict(keys)),
                    set=measured.name,
                    region=evaluate.region_of(measured.name),
                    keys=dict(keys),
                    examples=len(rows),
                    patients=count,
                    enough=count >= evaluate.min_patients,
                    arms=compare_arms(
                        arms, measured.values[..., rows, :], of_slice, evaluate.resamples, evaluate.confidence
                    ),
                )
            )
    return slices


def _rows_of_slices(
    measured: MeasuredSet, settings: EvaluateSettings
) -> dict[tuple[tuple[SliceKey, str], ...], list[int]]:
    """Return which images each slice holds."""
    rows = defaultdict(list)
    # What is said and drawn of a study is of originals and of copies.
    slices = dict.fromkeys(((), (IS_AUGMENTED,), *settings.all_slices()))
    for row, image in enumerate(_images(measured)):
        values = slice_values(image, settings.small_lungs)
        for keys in slices:
            for chosen in itertools.product(*(values[key] for key in keys)):
                rows[tuple(zip(keys, chosen, strict=True))].append(row)
    return rows


def _images(measured: MeasuredSet) -> Iterator[MeasuredImage]:
    nothing = np.empty(0)
    for row in measured.images[list(_KNOWN)].itertuples(index=False, name=None):
        yield MeasuredImage(**dict(zip(_KNOWN, row, strict=True)), values=nothing)
