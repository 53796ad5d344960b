"""Speed and memory of `predict` against a bare loop over the model's signature, in one run: `make bench-predict`.

The reference hands eight files at a time to `serving_default` and writes the masks that come back, and nothing else: it
looks into no file, measures nothing, draws no overlay and leaves no receipt. Both take the same 512-pixel files and the
same model, a U-Net of the `cpu` preset that was shown some of them, in turn, several times. What a run costs without
images (loading the model, its first batch) is in two sizes of it, and their difference is the images alone; the median
of the turns' ratios is the result. `per_core` sets `predict` on all cores beside the reference on one. Memory is the
peak of a fresh process for 500 and for 5,000 images, with a small network, since it depends on the images. The start is
the whole command for a single image, beside a bare script.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from measure import DISTINCT, export_network, peak_megabytes, seconds, write_phantoms

from components.threads import count_cpus
from modules.network.settings import ModelSettings

if TYPE_CHECKING:
    import keras

SIZE = 512
ROUNDS = 3
START_UP_IMAGES, IMAGES = 16, 216
FEW, MANY = 500, 5000
BATCH = 8
EPOCHS = 10
NETWORK = ModelSettings(image_size=128, filters=16, levels=5)
SMALL_NETWORK = ModelSettings(image_size=64, filters=8, average_mirrored=False)
PREDICT, WITHOUT_OVERLAYS, REFERENCE, ON_ONE_CORE = "predict", "no overlays", "bare loop", "on one core"


def write_images(folder: Path, count: int) -> Path:
    """A folder of 512-pixel phantoms; after the first ones they are the same files under other names."""
    import cv2

    from pipeline.commands.phantoms import phantom

    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:05d}.png"
        if number < DISTINCT:
            cv2.imwrite(str(path), phantom(seed=0, patient=number + 1, image=1, size=SIZE)[0])
        else:
            os.link(folder / f"{number % DISTINCT:05d}.png", path)
    return folder


def teach_network() -> "keras.Model":
    """A U-Net that was shown the phantoms: its masks have two outlines, where noise has hundreds to find and draw."""
    import keras
    import numpy as np

    from modules.network.unet import unet
    from pipeline.commands.phantoms import phantom

    shown = [phantom(seed=0, patient=number + 1, image=1, size=NETWORK.image_size) for number in range(DISTINCT)]
    images, masks = (np.stack(pixels)[..., np.newaxis].astype(np.float32) for pixels in zip(*shown, strict=True))
    keras.utils.set_random_seed(0)
    network = unet(NETWORK)
    network.compile(keras.optimizers.Adam(2e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    network.fit((images - images.mean()) / images.std(), masks / 255, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return network


def run_predict(model: Path, images: Path, output: Path, *, draws_overlays: bool = True) -> None:
    from pipeline.cli_options import Overlays
    from pipeline.prediction.find import find_files
    from pipeline.prediction.inputs import list_inputs
    from pipeline.prediction.predict import predict

    overlays = Overlays.PNG if draws_overlays else Overlays.NONE
    report = predict(model, output, list_inputs(find_files([str(images)])), overlays=overlays).report
    assert report.segmented == report.found, report


def run_reference(model: Path, images: Path, output: Path) -> None:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model))
    files = sorted(images.iterdir())
    output.mkdir()
    for start in range(0, len(files), BATCH):
        batch = files[start : start + BATCH]
        encoded = tf.constant([file.read_bytes() for file in batch])
        answer = loaded.signatures["serving_default"](image_bytes=encoded)
        for file, mask in zip(batch, answer["mask_png"].numpy(), strict=True):
            (output / file.name).write_bytes(mask)


def use_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


RUNS: dict[str, Callable[[Path, Path, Path], None]] = {
    PREDICT: run_predict,
    WITHOUT_OVERLAYS: partial(run_predict, draws_overlays=False),
    REFERENCE: run_reference,
    ON_ONE_CORE: run_reference,
}


def child(what: str, model: Path, output: Path, *folders: Path) -> Iterator[float]:
    """What a fresh process measures: seconds for each folder, then its peak of memory."""
    if what == ON_ONE_CORE:
        use_one_core()
    for number, folder in enumerate(folders):
        yield seconds(partial(RUNS[what], model, folder, output / str(number)))
    yield peak_megabytes()


def in_child(what: str, model: Path, *folders: Path) -> list[float]:
    with tempfile.TemporaryDirectory(dir=model.parent) as output:
        command = [sys.executable, __file__, what, str(model), output, *map(str, folders)]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def measure_speed(model: Path, few: Path, many: Path) -> list[dict[str, float]]:
    """Images a second of each in each turn."""
    turns = []
    for _ in range(ROUNDS):
        times = {name: in_child(name, model, few, few, many)[1:3] for name in RUNS}  # the first one imports
        turns.append({name: (IMAGES - START_UP_IMAGES) / (longer - short) for name, (short, longer) in times.items()})
    return turns


def measure_start(model: Path, image: Path) -> dict[str, float]:
    """Seconds that whole processes take for one image: the command line, and a script with TensorFlow alone."""
    commands = {
        PREDICT: [sys.executable, "-m", "pipeline", "predict", "--model", str(model), str(image)],
        REFERENCE: [sys.executable, "-c", SCRIPT, str(model), str(image)],
    }
    times: dict[str, float] = {}
    for name, command in commands.items():
        with tempfile.TemporaryDirectory(dir=model.parent) as output:
            whole = [*command, *(["--output"] if name == PREDICT else []), f"{output}/masks"]
            times[name] = seconds(partial(subprocess.run, whole, check=True, capture_output=True))
    return times


SCRIPT = """
import sys, tensorflow as tf
model, image, mask = sys.argv[1:]
loaded = tf.saved_model.load(model)
answer = loaded.signatures["serving_default"](image_bytes=tf.constant([open(image, "rb").read()]))
open(mask, "wb").write(answer["mask_png"].numpy()[0])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("child", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args().child
    logging.disable(logging.WARNING)
    if arguments:
        what, *paths = arguments
        print(json.dumps(list(child(what, *map(Path, paths)))))
        return
    cores = count_cpus()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phantoms(folder / "sample", "test", DISTINCT)
        model = export_network(folder / "network", folder / "sample", NETWORK, teach_network())
        small_model = export_network(folder / "small", folder / "sample", SMALL_NETWORK)
        few, many = write_images(folder / "few", START_UP_IMAGES), write_images(folder / "many", IMAGES)
        turns = measure_speed(model, few, many)
        start = measure_start(model, few / "00000.png")
        peaks = [in_child(PREDICT, small_model, write_images(folder / f"{size}", size))[1] for size in (FEW, MANY)]
    print(f"{platform.processor() or platform.machine()}, {cores} cores, {SIZE} x {SIZE}")
    print(f"{'images a second':20}" + "".join(f"{name:>14}" for name in RUNS))
    for number, turn in enumerate(turns, 1):
        print(f"{f'turn {number}':20}" + "".join(f"{turn[name]:14.1f}" for name in RUNS))
    print(f"one image, from start to end: {start[PREDICT]:.1f} s, bare script {start[REFERENCE]:.1f} s")
    print(f"peak memory, MB: {peaks[0]:.0f} for {FEW} images, {peaks[1]:.0f} for {MANY}")
    ratios = {
        "vs_signature": statistics.median(turn[PREDICT] / turn[REFERENCE] for turn in turns),
        "per_core": statistics.median(turn[PREDICT] / (cores * turn[ON_ONE_CORE]) for turn in turns),
        "memory_ratio": peaks[1] / peaks[0],
    }
    print(json.dumps({name: round(ratio, 3) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
