"""What a study says of how much there is to train."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.config import load_config
from pipeline.runners import ComponentRun
from pipeline.study.arms import load_arms
from pipeline.study.plan import StudyPlan
from pipeline.study.progress import StudyView, announce


def plan_of(seeds: int = 2, folds: int | None = None) -> StudyPlan:
    config = load_config("demo", {}, data=Path("/data"), root=Path("/runs"))
    return StudyPlan(config, load_arms("copies", config), seeds, folds)


def known_of(plan: StudyPlan, *seconds: float) -> dict[str, float]:
    return {planned.trainer_id: taken for planned, taken in zip(plan.trainings(), seconds, strict=False)}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ((), "; how long they take will be known after the first"),
        (
            (60, 120),
            "; 2 of them were done before and are not done again unless data or code have changed; "
            "about 3 minutes of training left",
        ),
        (
            (4000, 4000),
            "; 2 of them were done before and are not done again unless data or code have changed; "
            "about 2.2 hours of training left",
        ),
        (
            (1, 1, 1, 1),
            "; 4 of them were done before and are not done again unless data or code have changed; "
            "none is left to train",
        ),
    ],
)
def test_before_it_starts(seconds: tuple[float, ...], said: str) -> None:
    plan = plan_of()
    assert announce(plan, known_of(plan, *seconds)) == f"4 trainings (2 arms x 2 seeds){said}"


def test_folds_are_counted() -> None:
    assert announce(plan_of(seeds=1, folds=5), {}).startswith("10 trainings (2 arms x 1 seed x 5 folds); ")


def test_a_training_of_another_study_does_not_count() -> None:
    assert announce(plan_of(), {"Trainer-12345678-7": 3.0}).endswith(
        "; how long they take will be known after the first"
    )


def test_while_it_runs() -> None:
    plan, screen = plan_of(seeds=1, folds=2), io.StringIO()
    of_another_study = {"Trainer-12345678-7": 4000.0}
    view = StudyView(Console(file=screen, width=140), plan.trainings(), of_another_study)
    ids = [planned.trainer_id for planned in plan.trainings()]
    with view:
        for id_, seconds, cached in [
            ("ExampleGen", 3, False),
            (ids[0], 1, True),
            (ids[1], 120, False),
            (ids[2], 60, False),
        ]:
            view.started(id_)
            view.ended(ComponentRun(id_, seconds, cached, {}))
    assert [line.strip() for line in screen.getvalue().splitlines()] == [
        "ExampleGen",
        "done, 3.0 s: nothing",
        "Training 1 of 4: originals only, seed 7, fold 1",
        ids[0],
        "done, from the cache: nothing",
        "Training 2 of 4: with copies, seed 7, fold 1",
        ids[1],
        "done, 120.0 s: nothing",
        "about 4 minutes of training left",
        "Training 3 of 4: originals only, seed 7, fold 2",
        ids[2],
        "done, 60.0 s: nothing",
        "about 90 s of training left",
    ]
