"""Training under TensorFlow: with the product's loop, or a bare one."""

import contextlib
from typing import Any

import keras
import tensorflow as tf
from gpu.networks import Network, pictures
from gpu.rows import SEED, Clock, Row, add_optimizer, lay_out

from modules.training.dataset import Examples
from modules.training.distribution import compiles, dtype_policy, strategy_for
from modules.training.loop import Loop
from modules.training.losses import DiceCrossEntropy
from modules.training.settings import TrainSettings


def gpus() -> list[str]:
    """Name the GPUs."""
    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return [str(of_gpu.get("device_name", "GPU")) for of_gpu in details]


def peak_megabytes() -> float:
    """Return the peak memory of the first GPU."""
    return float(tf.config.experimental.get_memory_info("GPU:0")["peak"]) / 2**20


def train(row: Row, network: Network, clock: Clock) -> keras.Model:
    return (_train_product if row.loop == "product" else _train_bare)(row, network, clock)


class EnoughError(Exception):
    """Ends the product's loop in the middle of its endless epoch."""


class _Watch(keras.callbacks.Callback):
    """Tells the clock of every burst of the product's loop."""

    def __init__(self, burst: int, clock: Clock) -> None:
        super().__init__()
        self._burst, self._clock = burst, clock
        self._losses: list[float] = []

    def on_train_batch_end(self, _: int, logs: dict[str, float]) -> None:
        self._losses.append(logs["loss"])
        if len(self._losses) == self._burst:
            if self._clock.add(self._losses):
                raise EnoughError
            self._losses.clear()


def _train_product(row: Row, network: Network, clock: Clock) -> Any:
    """Train with the product's loop and its input, from serialized examples in memory."""
    devices = f"{'gpu' if row.gpu else 'cpu'}:{row.devices}"
    settings = TrainSettings.model_validate({"devices": devices, "precision": row.precision, "xla": row.compiled})
    compiled = compiles(settings, network.settings, row.devices)
    strategy = strategy_for(devices)
    keras.config.set_dtype_policy(dtype_policy(settings))
    with strategy.scope():
        model = network.build(row.devices)
        add_optimizer(model)
    total = network.batch * row.devices * 10**6
    serialized = _serialized(network.size)
    records = tf.data.Dataset.from_tensor_slices(serialized).repeat()
    examples = Examples(records, total, total, length=0, buffer=len(serialized), size=network.size)
    loop = Loop(strategy, model, DiceCrossEntropy(), network.batch, compiled=compiled, steps_a_call=row.burst)
    with contextlib.suppress(EnoughError):
        loop.fit(examples, examples, epochs=range(1), seed=SEED, callbacks=[_Watch(row.burst, clock)])
    return model


def _serialized(size: int) -> list[bytes]:
    """Examples as Transform writes them."""
    examples = []
    for pair in zip(*pictures(size), strict=True):
        feature = {
            name: tf.train.Feature(bytes_list={"value": [tf.io.serialize_tensor(pixels).numpy()]})
            for name, pixels in zip(("image", "mask"), pair, strict=True)
        }
        examples.append(tf.train.Example(features={"feature": feature}).SerializeToString())
    return examples


def _train_bare(row: Row, network: Network, clock: Clock) -> Any:
    keras.config.set_dtype_policy(row.policy)
    model = network.build(1)
    optimizer, loss = add_optimizer(model), DiceCrossEntropy()
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=row.compiled)
    def step(images: Any, truth: Any) -> Any:
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss.call(truth, model(images, training=True)))
            scaled = optimizer.scale_loss(value)
        optimizer.apply(tape.gradient(scaled, model.trainable_variables), model.trainable_variables)
        return value

    batches = lay_out(row, network, tf.constant)
    while not clock.add([float(value) for value in [step(*batch) for batch in batches]]):
        pass
    return model
