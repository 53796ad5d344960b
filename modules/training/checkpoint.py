"""Keeps a training's state after each epoch, so that one that was killed goes on and ends as if it had not been.

A checkpoint lies in a folder named after everything that determines the training (`checkpoint_key`), and is found by
whoever repeats it, whatever execution that is. It is one file, which is replaced as a whole.
"""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from modules.npz import read_npz, write_npz
from modules.training.callbacks import KeepBest, Logs

_LOG = logging.getLogger("lungseg.trainer")

_FILE: Final = "checkpoint.npz"


def checkpoint_key(**determines: Any) -> str:
    """Identify a training by all that determines it, as values that JSON can hold; 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()[:16]


class _State(BaseModel):
    """What a checkpoint holds beside arrays."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    epoch: int
    """The one to go on with, from 0."""
    history: dict[str, list[float]]
    dice: float
    """The best so far."""
    waited: int
    """Epochs since then."""


class Checkpoint(keras.callbacks.Callback):
    """Writes the state after each epoch: weights, optimizer, seeds, the best weights and the history."""

    def __init__(self, folder: Path, best: KeepBest, history: keras.callbacks.History, *, writes: bool) -> None:
        """Take part in a training.

        Args:
            folder: Of this training alone; made when it is needed.
            best: Is part of the state.
            history: Is part of the state.
            writes: Whether this process is the one that writes; all read.
        """
        super().__init__()
        self._folder = folder
        self._best = best
        self._history = history
        self._writes = writes

    def restore(self, model: keras.Model) -> int:
        """Put the state back, if there is one.

        Args:
            model: Compiled, with its optimizer built; also the one that the callbacks will be told of.

        Returns:
            The epoch with which to go on, 0 where there is no checkpoint, or one that cannot be read.
        """
        path = self._folder / _FILE
        if not path.exists():
            return 0
        try:
            state, arrays = read_npz(path, _State)
        except ValueError as error:
            _LOG.warning("checkpoint %s: training starts anew", error)
            return 0
        for index, variable in enumerate(_variables(model)):
            variable.assign(arrays[f"variable{index}"])  # the key vouches for the shapes
        self._history.history = state.history
        self._best.dice, self._best.waited = state.dice, state.waited
        self._best.weights = [arrays[f"best{index}"] for index in range(len(model.weights))]
        self._best.set_model(model)
        self._best.stop_if_spent()
        _LOG.info("going on after epoch %d from %s", state.epoch, path)
        return state.epoch

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:  # noqa: ARG002
        """Write the state."""
        if not self._writes:
            return
        state = _State(epoch=epoch + 1, history=self._history.history, dice=self._best.dice, waited=self._best.waited)
        arrays: dict[str, NDArray[Any]] = {
            f"variable{index}": np.asarray(variable) for index, variable in enumerate(_variables(self.model))
        }
        arrays |= {f"best{index}": weights for index, weights in enumerate(self._best.weights or [])}
        write_npz(self._folder / _FILE, state, arrays)

    def remove(self) -> None:
        """Remove the state of a training that has succeeded."""
        if self._writes:
            shutil.rmtree(self._folder, ignore_errors=True)


def _variables(model: keras.Model) -> list[keras.Variable]:
    """List all that a training changes: weights, statistics, states of random generators, the optimizer's own."""
    return [*model.variables, *model.optimizer.variables]
