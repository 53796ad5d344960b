"""Speed and memory of the training, each beside its reference in one run: `make bench-train`.

`run_fn` is compared with Keras' own `fit` of the same network over arrays in memory, in turns, by the time from the end
of an epoch to that of the next, with all that happens in between (validation, checkpoint). The input is measured alone,
without a network, as it is where the data do not fit the memory: read, inflated and parsed anew in every epoch, from as
many files as there are cores. Memory is the peak of a fresh process each, for 500 and for 5,000 records.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from measure import peak_megabytes, peak_of, seconds

TURNS = 5
IMAGES, VALIDATED = 160, 8
EPOCHS = 4
"""Of each run; the first one builds the graph and is not measured."""
INPUT_RECORDS = {128: 3000, 256: 1500}
FEW, MANY = 500, 5000
DISTINCT = 20
NETWORK = {"image_size": 128, "filters": 16, "levels": 4}
SMALL_NETWORK = {"image_size": 128, "filters": 4, "levels": 2}


@cache
def phantoms(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Normalised images, float16, and shares of lung, uint8, [DISTINCT, size, size, 1]."""
    import cv2

    from pipeline.commands.phantoms import phantom

    pairs = [phantom(seed=0, patient=number, image=1, size=512) for number in range(1, DISTINCT + 1)]
    images, masks = (
        np.stack([cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA) for picture in of])[..., np.newaxis]
        for of in zip(*pairs, strict=True)
    )
    return ((images - images.mean()) / images.std()).astype(np.float16), masks


def serialized(size: int, count: int) -> Iterator[bytes]:
    """Examples as Transform writes them."""
    import tensorflow as tf

    examples = []
    for image, mask in zip(*phantoms(size), strict=True):
        values = {"image": tf.io.serialize_tensor(image).numpy(), "mask": tf.io.serialize_tensor(mask).numpy()}
        feature = {name: tf.train.Feature(bytes_list={"value": [value]}) for name, value in values.items()}
        examples.append(tf.train.Example(features={"feature": feature}).SerializeToString())
    for number in range(count):
        yield examples[number % DISTINCT]


def as_float_lists(size: int) -> Iterator[bytes]:
    """The same as lists of single-precision numbers, TFX's usual way."""
    import tensorflow as tf

    for pair in zip(*phantoms(size), strict=True):
        feature = {
            name: tf.train.Feature(float_list={"value": pixels.astype(np.float32).ravel()})
            for name, pixels in zip(("image", "mask"), pair, strict=True)
        }
        yield tf.train.Example(features={"feature": feature}).SerializeToString()


def write(path: Path, records: Iterator[bytes]) -> Path:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in records:
            writer.write(record)
    return path


def arguments(folder: Path, network: dict[str, int], images: int, epochs: int) -> Any:
    folder.mkdir()
    return SimpleNamespace(
        train_files=[str(write(folder / "train.gz", serialized(network["image_size"], images)))],
        eval_files=[str(write(folder / "eval.gz", serialized(network["image_size"], VALIDATED)))],
        transform_graph_path="",
        serving_model_dir=str(folder / "model"),
        model_run_dir=str(folder / "run"),
        base_model=None,
        hyperparameters=None,
        custom_config={
            "model": network,
            "train": {"epochs": epochs, "patience": epochs, "devices": "cpu:1"},
            "checkpoint_dir": str(folder / "checkpoints"),
        },
    )


def run_training(args: Any) -> None:
    from modules.training import trainer

    # What is exported with the network is Transform's graph, which this benchmark does not have.
    with mock.patch.object(trainer, "export_model", return_value=None):
        trainer.run_fn(args)


def rate_of_training(args: Any) -> float:
    """Images a second of `run_fn`, from the moments at which it logs the end of an epoch."""
    ends: list[float] = []
    handler = logging.Handler()
    handler.emit = lambda record: ends.append(record.created)  # type: ignore[method-assign]
    handler.addFilter(lambda record: record.getMessage().startswith("epoch "))
    log = logging.getLogger("lungseg.trainer")
    log.addHandler(handler)
    run_training(args)
    log.removeHandler(handler)
    return rate(ends)


def rate_of_fit() -> float:
    """Images a second of Keras' `fit` over arrays in memory."""
    import keras

    from modules.network.settings import ModelSettings
    from modules.network.unet import unet
    from modules.training import losses

    images, masks = (np.resize(stack, (IMAGES, *stack.shape[1:])) for stack in phantoms(NETWORK["image_size"]))
    images, masks = images.astype(np.float32), masks.astype(np.float32) / 255
    model = unet(ModelSettings(**NETWORK))
    model.compile("adamw", losses.DiceCrossEntropy(), metrics=[losses.accuracy, losses.dice])
    ends: list[float] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.time()))
    validation = (images[:VALIDATED], masks[:VALIDATED])
    model.fit(images, masks, batch_size=8, epochs=EPOCHS, validation_data=validation, verbose=0, callbacks=[watch])
    return rate(ends)


def rate(ends: list[float]) -> float:
    return IMAGES / statistics.median(np.diff(ends))


def measure_training(folder: Path) -> list[tuple[float, float]]:
    """Images a second of `run_fn` and of `fit`, in each turn."""
    return [
        (rate_of_training(arguments(folder / f"turn-{turn}", NETWORK, IMAGES, EPOCHS)), rate_of_fit())
        for turn in range(TURNS)
    ]


def measure_input(files: list[Path], size: int) -> float:
    """Images a second that reach the network from files that do not fit the memory; the best of some epochs."""
    import tensorflow as tf

    from modules.training import dataset as reading

    reading.MEMORY_BYTES = 16 * 2**20  # type: ignore[misc]
    examples = reading.read_examples([str(file) for file in files], size)
    plan = reading.plan_steps(examples.total, 8, 1)
    steps = iter(reading.distribute(tf.distribute.get_strategy(), examples, plan, epochs=range(TURNS), seed=0))

    def epoch() -> None:
        for _ in range(plan.steps):
            next(steps)

    return examples.total / min(seconds(epoch) for _ in range(TURNS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    child = parser.parse_args().memory_of
    logging.getLogger("lungseg").setLevel(logging.INFO)
    if child:
        run_training(arguments(Path(child[0]), SMALL_NETWORK, int(child[1]), 1))
        print(peak_megabytes())
        return
    cores = os.cpu_count() or 1
    print(f"{platform.processor() or platform.machine()}, {cores} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{'images a second, 128 px':28}{'run_fn':>12}{'fit':>12}")
        turns = measure_training(folder)
        for number, (ours, plain) in enumerate(turns, 1):
            print(f"{f'turn {number}':28}{ours:12.1f}{plain:12.1f}")
        figures = {"vs_fit": statistics.median(ours / plain for ours, plain in turns)}

        print(f"{'input alone':28}{'images/s':>12}{'bytes each':>12}{'float lists':>12}")
        for size, count in INPUT_RECORDS.items():
            files = [write(folder / f"{size}-{core}.gz", serialized(size, count // cores)) for core in range(cores)]
            floats = write(folder / f"{size}-floats.gz", as_float_lists(size)).stat().st_size / DISTINCT
            bytes_each = sum(file.stat().st_size for file in files) / count
            reached = measure_input(files, size)
            print(f"{f'{size} px':28}{reached:12.0f}{bytes_each:12.0f}{floats:12.0f}")
            figures[f"input_{size}_per_core"] = reached / cores

        few, many = (peak_of(__file__, "--memory-of", folder / f"memory-{count}", count) for count in (FEW, MANY))
        print(f"{'':28}{f'{MANY} images':>12}{f'{FEW} images':>12}")
        print(f"{'peak memory, MB':28}{many:12.0f}{few:12.0f}")
        figures["memory_ratio"] = many / few
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
