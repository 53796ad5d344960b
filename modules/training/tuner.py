"""What TFX's Tuner calls: searches learning rate, width, loss weights and batch size by short trainings."""

import logging
from typing import Any, Final

import keras_tuner
from tfx.components.tuner.component import TunerFnResult

from modules.training.settings import TuneSettings
from modules.training.trainer import FnArgs, Job, describe, read_job, train

_LOG = logging.getLogger("lungseg.trainer")

_OBJECTIVE: Final = "val_dice"


class TunerFnArgs(FnArgs):
    """What `tuner_fn` uses of TFX's FnArgs."""

    working_dir: str


def tuner_fn(fn_args: TunerFnArgs) -> TunerFnResult:
    """Prepare the search.

    Args:
        fn_args: As of `run_fn`.
    """
    job = read_job(fn_args)
    settings = job.settings.tune
    search = Search(
        oracle=keras_tuner.oracles.RandomSearchOracle(
            objective=keras_tuner.Objective(_OBJECTIVE, "max"),
            max_trials=settings.trials,
            hyperparameters=search_space(settings),
            seed=job.settings.train.seed + 1,  # 0 would mean any
            max_consecutive_failed_trials=settings.trials + 1,
            tune_new_entries=False,
        ),
        directory=fn_args.working_dir,
        project_name="search",
        overwrite=True,
    )
    return TunerFnResult(tuner=search, fit_kwargs={"job": job})


def search_space(settings: TuneSettings) -> keras_tuner.HyperParameters:
    """List the hyper-parameters, named as the settings that they replace."""
    space = keras_tuner.HyperParameters()
    space.Float("train.learning_rate", *settings.learning_rate, sampling="log")
    space.Float("train.dice_weight", *settings.dice_weight)
    space.Choice("train.batch_size", list(settings.batch_size))
    space.Choice("model.filters", list(settings.filters))
    return space


class Search(keras_tuner.engine.base_tuner.BaseTuner):
    """Trains once for each trial, with the project's own loop, and tells the oracle the best validation Dice."""

    _failure = ""

    def run_trial(self, trial: Any, job: Job) -> dict[str, float]:
        """Train with the trial's hyper-parameters.

        Raises:
            FailedTrialError: The training diverged, or does not fit the data; the search goes on.
        """
        chosen, tune = trial.hyperparameters.values, job.settings.tune
        name = f"trial {trial.trial_id} of {tune.trials}: {describe(chosen)}"
        try:
            trained = train(job.with_values({**chosen, "train.epochs": tune.trial_epochs}))
        except ValueError as error:
            self._failure = str(error)
            _LOG.info("%s: failed: %s", name, error)
            raise keras_tuner.errors.FailedTrialError(self._failure) from error
        trained.checkpoint.remove()
        dice = max(trained.history[_OBJECTIVE])
        _LOG.info("%s: %s %.4f", name, _OBJECTIVE, dice)
        return {_OBJECTIVE: dice}

    def on_search_end(self) -> None:
        """Raise ValueError where no trial has succeeded: KerasTuner would give the first one for the best."""
        if not any(trial.status == "COMPLETED" for trial in self.oracle.trials.values()):
            raise ValueError(f"every trial of the search failed, the last one because {self._failure}")
