"""The search for hyper-parameters: short trainings, the best of which the Trainer takes."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modules.training.settings import TuneSettings
from modules.training.trainer import read_job
from modules.training.tuner import search_space, tuner_fn

MakeArgs = Callable[..., Any]

RANGES = {"trials": 3, "trial_epochs": 1, "filters": [1, 2], "batch_size": [2, 3], "learning_rate": [0.001, 0.1]}


def search(args: Any, **ranges: Any) -> Any:
    args.custom_config["tune"] = TuneSettings.model_validate({**RANGES, **ranges}).model_dump()
    args.working_dir = str(Path(args.serving_model_dir).parent / "working")
    args.model_run_dir = None  # as TFX leaves it
    result = tuner_fn(args)
    result.tuner.search(**result.fit_kwargs)
    return result.tuner


@pytest.fixture
def args(fn_args: MakeArgs, tmp_path: Path) -> Any:
    return fn_args(tmp_path)


def test_the_space_names_settings() -> None:
    names = {parameter.name for parameter in search_space(TuneSettings()).space}
    assert names == {"train.learning_rate", "train.dice_weight", "train.batch_size", "model.filters"}


def test_the_best_trial_reaches_the_trainer(args: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lungseg.trainer"):
        tuner = search(args)
    trials = tuner.oracle.get_best_trials(9)
    assert len(trials) == 3
    scores = [trial.score for trial in trials]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert len([message for message in caplog.messages if message.startswith("trial ")]) == 3

    best = tuner.get_best_hyperparameters()[0]
    args.hyperparameters = best.get_config()  # as TFX hands it on
    job = read_job(args)
    assert job.settings.train.learning_rate == best.values["train.learning_rate"]
    assert 0.001 <= job.settings.train.learning_rate <= 0.1
    assert job.settings.model.filters in (1, 2)
    assert job.settings.train.batch_size in (2, 3)
    assert job.settings.train.epochs == 2, "trials are short, the training is not"


def test_a_search_is_repeatable_and_leaves_no_checkpoints(args: Any) -> None:
    first, second = (search(args, trials=2).get_best_hyperparameters(2) for _ in range(2))
    assert [trial.values for trial in first] == [trial.values for trial in second]
    assert list(Path(args.custom_config["checkpoint_dir"]).iterdir()) == []


@pytest.mark.parametrize("trials", [1, 4])
def test_a_search_in_which_everything_fails(
    fn_args: MakeArgs, tmp_path: Path, caplog: pytest.LogCaptureFixture, trials: int
) -> None:
    cause = r"^every trial of the search failed, the last one because the loss became NaN or infinite in step"
    with caplog.at_level(logging.INFO, "lungseg.trainer"), pytest.raises(ValueError, match=cause):
        search(fn_args(tmp_path, nan=True), trials=trials)
    assert len([message for message in caplog.messages if ": failed: " in message]) == trials
