"""Training under JAX: a bare loop, without Keras' trainer."""

from typing import Any

import jax
import keras
import numpy as np
from gpu.networks import Network
from gpu.rows import Clock, Row, add_optimizer, lay_out
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from modules.training.losses import DiceCrossEntropy


def gpus() -> list[str]:
    """Name the GPUs."""
    return [device.device_kind for device in jax.devices() if device.platform == "gpu"]


def peak_megabytes() -> float:
    """Return the peak memory of the first GPU."""
    return float(jax.devices()[0].memory_stats()["peak_bytes_in_use"]) / 2**20


def split_cpu(devices: int) -> None:
    """Split the CPU into logical devices; must come before JAX computes anything."""
    jax.config.update("jax_num_cpu_devices", devices)
    # What is tiny is compiled longer than it runs.
    jax.config.update("jax_disable_most_optimizations", True)


def train(row: Row, network: Network, clock: Clock) -> keras.Model:
    """Train without Keras' trainer; over several devices, JAX spreads the batch, and the arithmetic follows."""
    keras.config.set_dtype_policy(row.policy)
    mesh = Mesh(np.array(jax.devices()[: row.devices]), ("batch",))
    everywhere, spread = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("batch"))
    model = network.build(1)
    optimizer, loss = add_optimizer(model), DiceCrossEntropy()
    optimizer.build(model.trainable_variables)

    def judge(trainable: Any, others: Any, of_optimizer: Any, images: Any, truth: Any) -> Any:
        logits, others = model.stateless_call(trainable, others, images, training=True)
        value = loss.call(truth, logits).mean()
        with keras.StatelessScope(zip(optimizer.variables, of_optimizer, strict=True)):
            return optimizer.scale_loss(value), (value, others)

    def step(state: Any, images: Any, truth: Any) -> Any:
        trainable, others, of_optimizer = state
        gradients, (value, others) = jax.grad(judge, has_aux=True)(trainable, others, of_optimizer, images, truth)
        trainable, of_optimizer = optimizer.stateless_apply(of_optimizer, gradients, trainable)
        return (trainable, others, of_optimizer), value

    run = jax.jit(step, donate_argnums=0) if row.compiled else step
    variables = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    state = jax.device_put(tuple([variable.value for variable in of] for of in variables), everywhere)
    batches = lay_out(row, network, lambda pixels: jax.device_put(pixels, spread))
    enough = False
    while not enough:
        values = []
        for batch in batches:
            state, value = run(state, *batch)
            values.append(value)
        enough = clock.add([float(value) for value in values])
    return model
