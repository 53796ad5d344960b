"""What trains: one device, several (`MirroredStrategy`), or those of several workers (`MultiWorkerMirroredStrategy`).

Workers are processes that each run the same code with a TF_CONFIG of their own, which names all of them:

    {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}
"""

import json
import os

import tensorflow as tf

from modules.settings import ModelSettings, TrainSettings

_BFLOAT16_SINCE = (8, 0)
"""Compute capability of the first NVIDIA GPUs that have it (Ampere)."""


def strategy_for(devices: str) -> tf.distribute.Strategy:
    """Makes the strategy.

    Args:
        devices: as `TrainSettings.devices`.

    Returns:
        `MultiWorkerMirroredStrategy` where TF_CONFIG names several workers, else `MirroredStrategy` over several
        devices, else the default strategy.

    Raises:
        ValueError: TF_CONFIG cannot be read, or there are fewer GPUs than asked for.
        RuntimeError: `cpu:N` was asked for after TensorFlow had set its devices up.
    """
    kind, _, number = devices.partition(":")
    if _count_workers() > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if kind == "cpu":
        _split_cpu(int(number))
        names = [f"CPU:{index}" for index in range(int(number))]
    else:
        found = len(tf.config.list_logical_devices("GPU"))
        wanted = int(number) if kind == "gpu" else found
        if wanted > found:
            msg = f"train.devices is {devices}, but TensorFlow sees {found} GPUs on this machine"
            raise ValueError(msg)
        names = [f"GPU:{index}" for index in range(wanted)]
    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes: the only worker, the chief, or worker 0 where none is chief."""
    cluster = strategy.cluster_resolver
    if cluster is None or not cluster.task_type:
        return True
    has_chief = "chief" in cluster.cluster_spec().jobs
    return bool(cluster.task_type == "chief" or (not has_chief and cluster.task_id == 0))


def dtype_policy(settings: TrainSettings) -> str:
    """Keras' policy for `settings.precision` on this machine: float32, mixed_bfloat16 or mixed_float16."""
    precision = settings.precision
    if precision == "auto":
        gpus = _gpus_of(settings)
        capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability") for gpu in gpus]
        if not gpus:
            precision = "float32"
        elif all(capability and capability >= _BFLOAT16_SINCE for capability in capabilities):
            precision = "bfloat16"
        else:
            precision = "float16"
    return "float32" if precision == "float32" else f"mixed_{precision}"


def compiles(settings: TrainSettings, model_settings: ModelSettings, replicas: int) -> bool:
    """Whether XLA is to compile the step.

    Raises:
        ValueError: it was asked for, but replicas synchronise their normalisation within the step.
    """
    synchronizes = replicas > 1 and model_settings.normalization == "sync_batch"
    if settings.xla == "auto":
        return bool(_gpus_of(settings)) and not synchronizes
    if settings.xla and synchronizes:
        msg = "train.xla cannot compile a step in which replicas synchronise: set model.normalization to batch or group"
        raise ValueError(msg)
    return settings.xla


def _gpus_of(settings: TrainSettings) -> list[tf.config.PhysicalDevice]:
    return [] if settings.devices.startswith("cpu") else tf.config.list_physical_devices("GPU")


def _count_workers() -> int:
    text = os.environ.get("TF_CONFIG", "")
    try:
        cluster = json.loads(text or "{}").get("cluster", {})
        return sum(len(cluster.get(job, [])) for job in ("chief", "worker"))
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        msg = f"TF_CONFIG must be JSON with a cluster and a task, is {text!r}"
        raise ValueError(msg) from error


def _split_cpu(count: int) -> None:
    if count > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        logical = [tf.config.LogicalDeviceConfiguration()] * count
        if tf.config.get_logical_device_configuration(cpu) != logical:
            tf.config.set_logical_device_configuration(cpu, logical)
