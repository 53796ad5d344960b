"""What a row of `bench_gpu.py` measures, and what the loops of all backends share."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from gpu.networks import Network, pictures

LEARNING_RATE: Final = 1e-3
SEED: Final = 7


@dataclass(frozen=True)
class Row:
    """What to measure.

    Attributes:
        network: one of `gpu.networks.NAMES`.
        loop: `product`, `bare` or `torch`.
        precision: float32, bfloat16 or float16.
        compiled: whether XLA, or PyTorch's compiler, compiles the step.
        devices: how many.
        backend: of Keras; without a meaning for `torch`.
        gpu: whether they are GPUs.
        seconds: to measure, after the warm-up.
        steps: to measure at least.
        burst: steps between two looks at the clock, so that a GPU need not wait for Python.
        batch: images a step on each device; None: what the network is trained with.
    """

    network: str
    loop: str
    precision: str
    compiled: bool
    devices: int
    backend: str
    gpu: bool
    seconds: float
    steps: int
    burst: int
    batch: int | None = None

    @property
    def policy(self) -> str:
        """Keras' dtype policy."""
        return "float32" if self.precision == "float32" else f"mixed_{self.precision}"


class Clock:
    """Takes the time of bursts of steps; the first two, which compile and warm up, do not count."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._began = 0.0
        self._ended = 0.0
        self.losses: list[float] = []

    def add(self, losses: Sequence[float]) -> bool:
        """Note the losses of a burst that has just ended, and tell whether it was the last one needed."""
        self.losses += losses
        self._ended = time.perf_counter()
        if len(self.losses) <= 2 * self._row.burst:
            self._began = self._ended
        return self._ended - self._began >= self._row.seconds and len(self.losses) >= self._row.steps

    @property
    def steps_a_second(self) -> float:
        return (len(self.losses) - 2 * self._row.burst) / (self._ended - self._began)


def add_optimizer(model: Any) -> Any:
    """Give the model its optimizer, which scales the loss where float16 needs it."""
    import keras

    model.compile(keras.optimizers.AdamW(LEARNING_RATE), jit_compile=False)
    return model.optimizer


def lay_out(row: Row, network: Network, place: Callable[[Any], Any]) -> list[tuple[Any, Any]]:
    """Lay a burst of batches out on the devices, so that a bare loop has no input to wait for."""
    images, masks = pictures(network.size)
    numbers = np.random.default_rng(SEED).integers(len(images), size=(row.burst, network.batch * row.devices))
    return [(place(images[of].astype(np.float32)), place(masks[of].astype(np.float32) / 255)) for of in numbers]
