"""A callback that breaks a training off between two epochs."""

from typing import Any

import keras


class BreakOff(keras.callbacks.Callback):
    """Breaks off before an epoch, and tells which was the first."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch, self.first = epoch, -1

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.first = epoch if self.first < 0 else self.first
        if epoch >= self.epoch:
            raise KeyboardInterrupt
