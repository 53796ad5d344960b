"""A process of `bench_gpu.py`: looks for GPUs, or measures rows. Each answer is a line of JSON, which says why there is
none where there is none.

    python -m gpu.process '{"look": "jax"}'
"""

import dataclasses
import importlib
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from gpu.networks import PASSES, forward_flops, network
from gpu.rows import SEED, Clock, Row
from measure import peak_megabytes

_NO_MEMORY: Final = ("RESOURCE_EXHAUSTED", "ResourceExhausted", "OutOfMemory", "out of memory", "MemoryError", "OOM")


def measure(row: Row) -> dict[str, Any]:
    """Return images a second, peak megabytes, operations an image, and the loss of each step."""
    trained = network(row.network, tiny=not row.gpu)
    trained = dataclasses.replace(trained, batch=row.batch or trained.batch)
    clock, flops = Clock(row), 0
    if row.loop == "torch":
        from gpu import torch_alone

        peak = torch_alone.train(row, trained, clock)
    else:
        import keras

        backend = importlib.import_module(f"gpu.{row.backend}_backend")
        keras.utils.set_random_seed(SEED)
        flops = PASSES * forward_flops(backend.train(row, trained, clock))
        # A CPU has no memory of its own.
        peak = backend.peak_megabytes() if row.gpu else peak_megabytes()
    return {
        "images_per_s": clock.steps_a_second * trained.batch * row.devices,
        "peak_mb": peak,
        "flops": flops,
        "batch": trained.batch,
        "losses": clock.losses,
    }


def trouble(error: Exception) -> str:
    """Say in one line what stopped a row."""
    text = f"{type(error).__name__}: {error}"
    if any(sign in text for sign in _NO_MEMORY):
        return "the device's memory is too small"
    return " ".join(text.split())[:200]


def tell(work: Callable[[], dict[str, Any]]) -> None:
    try:
        told = work()
    except Exception as error:
        told = {"error": trouble(error)}
    print(json.dumps(told), flush=True)


def main() -> None:
    order = json.loads(sys.argv[1])
    if "look" in order:
        tell(lambda: {"gpus": importlib.import_module(f"gpu.{order['look']}_backend").gpus()})
        return
    rows = [Row(**row) for row in order["rows"]]
    if rows[0].backend == "jax" and not rows[0].gpu:
        from gpu import jax_backend

        jax_backend.split_cpu(max(row.devices for row in rows))
    for row in rows:
        tell(partial(measure, row))


if __name__ == "__main__":
    main()
