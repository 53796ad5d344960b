"""Keeps a training's state after each epoch, so that one that was killed goes on and ends as if it had not been.

A checkpoint lies in a folder named after everything that determines the training (`key`), and is found by whoever
repeats it, whatever execution that is. It is one file, which is replaced as a whole.
"""

import hashlib
import io
import json
import logging
import os
import zipfile
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modules.training.callbacks import KeepBest, Logs

_LOG = logging.getLogger("lungseg.trainer")

_FILE = "checkpoint.npz"


def key(**determines: Any) -> str:
    """Identifies a training by all that determines it, as values that JSON can hold; 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()[:16]


class Checkpoint(keras.callbacks.Callback):
    """Writes the state after each epoch: weights, optimizer, seeds, the best weights and the history."""

    def __init__(self, folder: str, best: KeepBest, history: keras.callbacks.History, *, writes: bool) -> None:
        """Takes the folder of this training alone.

        Args:
            folder: made when it is needed.
            best: is part of the state.
            history: is part of the state.
            writes: whether this process is the one that writes; all read.
        """
        super().__init__()
        self._folder = folder
        self._path = os.path.join(folder, _FILE)
        self._best = best
        self._history = history
        self._writes = writes

    def restore(self, model: keras.Model) -> int:
        """Puts the state back, if there is one.

        Args:
            model: compiled, with its optimizer built; also the one that the callbacks will be told of.

        Returns:
            The epoch with which to go on, 0 where there is no checkpoint, or one that cannot be read.
        """
        if not tf.io.gfile.exists(self._path):
            return 0
        try:
            with tf.io.gfile.GFile(self._path, "rb") as file, np.load(io.BytesIO(file.read())) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
            _LOG.warning("checkpoint %s cannot be read (%s): training starts anew", self._path, error)
            return 0
        state = json.loads(str(arrays["state"]))
        for index, variable in enumerate(_variables(model)):
            variable.assign(arrays[f"variable{index}"])  # the key vouches for the shapes
        self._history.history = state["history"]
        self._best.dice, self._best.waited = state["dice"], state["waited"]
        self._best.weights = [arrays[f"best{index}"] for index in range(len(model.weights))]
        self._best.set_model(model)
        self._best.stop_if_spent()
        _LOG.info("going on after epoch %d from %s", state["epoch"], self._path)
        return int(state["epoch"])

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:  # noqa: ARG002
        """Writes."""
        if not self._writes:
            return
        state = {
            "epoch": epoch + 1,
            "history": self._history.history,
            "dice": self._best.dice,
            "waited": self._best.waited,
        }
        arrays: dict[str, Any] = {
            f"variable{index}": np.asarray(one) for index, one in enumerate(_variables(self.model))
        }
        arrays |= {f"best{index}": one for index, one in enumerate(self._best.weights or [])}
        buffer = io.BytesIO()
        np.savez(buffer, state=np.array(json.dumps(state)), **arrays)
        tf.io.gfile.makedirs(self._folder)
        with tf.io.gfile.GFile(f"{self._path}.partial", "wb") as file:
            file.write(buffer.getvalue())
        tf.io.gfile.rename(f"{self._path}.partial", self._path, overwrite=True)

    def remove(self) -> None:
        """Removes the state of a training that has succeeded."""
        if self._writes and tf.io.gfile.exists(self._folder):
            tf.io.gfile.rmtree(self._folder)


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Everything that a training changes: weights, statistics, states of random generators, the optimizer's own."""
    return [*model.variables, *model.optimizer.variables]
