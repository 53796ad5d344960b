"""What is told of a training as it goes: its progress, that it diverged, and which weights were best."""

import logging
import math
import time
from typing import Any

import keras
from numpy.typing import NDArray

_LOG = logging.getLogger("lungseg.trainer")

Logs = dict[str, float]


class ProgressLog(keras.callbacks.Callback):
    """Logs each step's place in the training and each epoch's figures to the logger `lungseg.trainer`.

    The records of steps bear `step`, `steps`, `epoch`, `epochs` and `seconds_left` (None in the first step), so that a
    console can draw a bar from them.
    """

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:  # noqa: ARG002
        """Start the clock with the first epoch."""
        if not hasattr(self, "_start"):
            self._start, self._first = time.monotonic(), epoch
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Tell how far the training is."""
        steps, epochs = self.params["steps"], self.params["epochs"]
        done = (self._epoch - self._first) * steps + batch + 1
        left = (epochs - self._first) * steps - done
        # The first step's time is that of building the graph.
        seconds_left = (time.monotonic() - self._start) * left / done if done > 1 else None
        place = {
            "step": batch + 1,
            "steps": steps,
            "epoch": self._epoch + 1,
            "epochs": epochs,
            "seconds_left": seconds_left,
        }
        _LOG.debug("step %d, loss %.4f", batch + 1, (logs or {})["loss"], extra=place)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Tell the figures of the epoch."""
        figures = ", ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        _LOG.info("epoch %d of %d: %s", epoch + 1, self.params["epochs"], figures)


class StopOnNaN(keras.callbacks.Callback):
    """Ends a training that has diverged, with an error instead of a useless model."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:  # noqa: ARG002
        """Remember the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Raise ValueError where the loss is NaN or infinite."""
        if not math.isfinite((logs or {})["loss"]):
            raise ValueError(
                f"the loss became NaN or infinite in step {batch + 1} of epoch {self._epoch + 1}: try a lower "
                "train.learning_rate, a longer train.warmup, or train.precision=float32"
            )


class KeepBest(keras.callbacks.Callback):
    """Keeps the weights of the best validation Dice, and stops when it has not risen for some epochs.

    Where the optimizer averages the weights, the average is what is validated and kept. It is swapped in and out here,
    and not by a callback of its own, whose place before or after this one would decide which weights are kept.

    Attributes:
        dice: the best so far.
        weights: those that gave it, as `Model.get_weights` orders them; None before the first epoch.
        waited: epochs since then.
    """

    def __init__(self, patience: int, *, averages: bool = False) -> None:
        """Take part in a training.

        Args:
            patience: Epochs without a better Dice after which training stops.
            averages: Whether the optimizer keeps an average of the weights.
        """
        super().__init__()
        self._swap = keras.callbacks.SwapEMAWeights() if averages else keras.callbacks.Callback()
        self.patience = patience
        self.dice = -math.inf
        self.weights: list[NDArray[Any]] | None = None
        self.waited = 0

    def set_model(self, model: keras.Model) -> None:
        """Take the model whose weights are kept."""
        super().set_model(model)
        self._swap.set_model(model)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Have the average validated, where there is one."""
        self._swap.on_test_begin(logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Keep the weights if they are the best so far, then go on with those that are trained."""
        dice = (logs or {})["dice"]
        if dice > self.dice:
            self.dice, self.weights, self.waited = dice, self.model.get_weights(), 0
        else:
            self.waited += 1
        self._swap.on_test_end(logs)
        self.stop_if_spent()

    def stop_if_spent(self) -> None:
        """Set the model's `stop_training` when patience has run out."""
        if self.waited >= self.patience:
            self.model.stop_training = True
