"""Which devices train: one, or several under `MirroredStrategy`."""

import tensorflow as tf


def strategy_for(devices: str) -> tf.distribute.Strategy:
    """Makes the strategy.

    Args:
        devices: `auto` takes all GPUs, else the CPU; `cpu:N` splits the CPU into N logical devices.

    Returns:
        `MirroredStrategy` over several devices, the default strategy for one.

    Raises:
        RuntimeError: `cpu:N` was asked for after TensorFlow had set its devices up.
    """
    if devices == "auto":
        names = [f"GPU:{index}" for index in range(len(tf.config.list_logical_devices("GPU")))]
    else:
        names = _split_cpu(int(devices.removeprefix("cpu:")))
    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy()


def _split_cpu(count: int) -> list[str]:
    if count > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        logical = [tf.config.LogicalDeviceConfiguration()] * count
        if tf.config.get_logical_device_configuration(cpu) != logical:
            tf.config.set_logical_device_configuration(cpu, logical)
    return [f"CPU:{index}" for index in range(count)]
