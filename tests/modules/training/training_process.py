"""One worker's training in a process of its own, with its arguments as JSON on standard input."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


def start(
    args: Any, weights: Path, cluster: list[str] | None = None, index: int = 0, export: Path | None = None
) -> subprocess.Popen[str]:
    """Starts a training.

    Args:
        args: as of `run_fn`.
        weights: file for the weights, the history and whether this process writes, as an npz.
        cluster: addresses of all workers, if there are several.
        index: of this worker.
        export: where to export the model.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if cluster:
        task = {"cluster": {"worker": cluster}, "task": {"type": "worker", "index": index}}
        environment["TF_CONFIG"] = json.dumps(task)
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=weights.with_suffix(".log").open("w"),
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert process.stdin
    process.stdin.write(json.dumps({"args": vars(args), "weights": str(weights), "export": str(export or "")}))
    process.stdin.close()
    process.stdin = None
    return process


def main() -> None:
    import numpy as np
    import tensorflow as tf

    from modules.serving.export import export_model
    from modules.training.dataset import read_examples
    from modules.training.loop import Loop
    from modules.training.losses import DiceCrossEntropy
    from modules.training.trainer import read_job, train

    order = json.load(sys.stdin)
    args = SimpleNamespace(**order["args"])
    trained = train(read_job(args))
    size = args.custom_config["model"]["image_size"]
    trained.model.compile(optimizer="sgd")
    loop = Loop(tf.distribute.get_strategy(), trained.model, DiceCrossEntropy(), batch_size=8)
    exported = loop.evaluate(read_examples(args.eval_files, size))["loss"]
    figures: dict[str, Any] = {f"history_{name}": np.array(values) for name, values in trained.history.items()}
    np.savez(order["weights"], *trained.model.get_weights(), writes=trained.writes, exported_loss=exported, **figures)
    if order["export"]:
        export_model(trained.model, f"{args.transform_graph_path}/transform_fn", order["export"])


if __name__ == "__main__":
    main()
