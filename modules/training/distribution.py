"""What trains: one device, several (`MirroredStrategy`), or those of several workers (`MultiWorkerMirroredStrategy`).

Workers are processes that each run the same code with a TF_CONFIG of their own, which names all of them:

    {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}
"""

import json
import os

import tensorflow as tf

from modules.network.settings import ModelSettings
from modules.training.settings import TrainSettings

_BFLOAT16_SINCE = (8, 0)
"""Compute capability of the first NVIDIA GPUs that have it (Ampere)."""


def strategy_for(devices: str) -> tf.distribute.Strategy:
    """Make the strategy.

    Args:
        devices: as `TrainSettings.devices`.

    Returns:
        `MultiWorkerMirroredStrategy` where TF_CONFIG names several workers, else `MirroredStrategy` over several
        devices, else the default strategy.

    Raises:
        ValueError: TF_CONFIG cannot be read, there are fewer GPUs than asked for, or several workers should take
            anything but all that they have.
        RuntimeError: `cpu:N` was asked for after TensorFlow had set its devices up.
    """
    if _count_workers() > 1:
        if devices != "auto":
            raise ValueError(
                f"train.devices is {devices}, but TF_CONFIG names several workers, who take all GPUs: set it to auto"
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    kind, count = _parse(devices)
    if kind == "CPU":
        split_cpu(devices)
        if count == 1 and tf.config.list_physical_devices("GPU"):
            return tf.distribute.OneDeviceStrategy("CPU:0")
    else:
        gpus = len(tf.config.list_physical_devices("GPU"))
        if count > gpus:
            raise ValueError(f"train.devices is {devices}, but TensorFlow sees {gpus} GPUs on this machine")
    names = [f"{kind}:{index}" for index in range(count)]
    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy()


def split_cpu(devices: str) -> None:
    """Split the CPU into logical devices where `devices` is `cpu:N`; must come before TensorFlow computes anything.

    Raises:
        RuntimeError: it has computed something.
    """
    kind, count = _parse(devices)
    if kind == "CPU" and count > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        logical = [tf.config.LogicalDeviceConfiguration()] * count
        if tf.config.get_logical_device_configuration(cpu) != logical:
            tf.config.set_logical_device_configuration(cpu, logical)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Return whether this process is the one that writes: the only worker, the chief, else worker 0."""
    cluster = strategy.cluster_resolver
    if cluster is None or not cluster.task_type:
        return True
    has_chief = "chief" in cluster.cluster_spec().jobs
    return bool(cluster.task_type == "chief" or (not has_chief and cluster.task_id == 0))


def dtype_policy(settings: TrainSettings) -> str:
    """Return Keras' policy for `settings.precision` on this machine: float32, mixed_bfloat16 or mixed_float16."""
    precision = settings.precision
    if precision == "auto":
        gpus = gpus_of(settings.devices)
        capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability") for gpu in gpus]
        if not gpus:
            precision = "float32"
        elif all(capability and capability >= _BFLOAT16_SINCE for capability in capabilities):
            precision = "bfloat16"
        else:
            precision = "float16"
    return "float32" if precision == "float32" else f"mixed_{precision}"


def compiles(settings: TrainSettings, model_settings: ModelSettings, replicas: int) -> bool:
    """Return whether XLA is to compile the step.

    Raises:
        ValueError: it was asked for, but replicas synchronise their normalisation within the step.
    """
    synchronizes = replicas > 1 and model_settings.normalization == "sync_batch"
    if settings.xla == "auto":
        return bool(gpus_of(settings.devices)) and not synchronizes
    if settings.xla and synchronizes:
        raise ValueError(
            "train.xla cannot compile a step in which replicas synchronise: set model.normalization to batch or group"
        )
    return settings.xla


def gpus_of(devices: str) -> list[tf.config.PhysicalDevice]:
    """List the GPUs of this machine among `devices`."""
    kind, count = _parse(devices)
    return list(tf.config.list_physical_devices("GPU")[:count]) if kind == "GPU" else []


def _parse(devices: str) -> tuple[str, int]:
    """Return kind, CPU or GPU, and number; `auto` gives all GPUs, which may be none."""
    if devices == "auto":
        return "GPU", len(tf.config.list_physical_devices("GPU"))
    kind, _, number = devices.partition(":")
    return kind.upper(), int(number)


def _count_workers() -> int:
    text = os.environ.get("TF_CONFIG", "")
    try:
        cluster = json.loads(text or "{}").get("cluster", {})
        return sum(len(cluster.get(job, [])) for job in ("chief", "worker"))
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise ValueError(f"TF_CONFIG must be JSON with a cluster and a task, is {text!r}") from error
