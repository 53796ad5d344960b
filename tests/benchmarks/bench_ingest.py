"""Speed and memory of `ingest` against a bare loop, in one run: `make bench-ingest`.

The reference is one thread in one process that decodes image and mask with Pillow, resizes them with OpenCV and encodes
them with the PNG settings of a record, for the same 512-pixel files, and nothing else: it looks for no partners, checks
no levels, describes nothing and writes no file. Both are measured in turn, several times, and the median of the turns'
ratios is the result: images a second of `ingest` to those of the reference times the number of cores. What a run costs
without images (Beam's start) is in two sizes of it, and their difference is the images alone; the rate of the larger
with all that is in it is printed as well. Memory is the peak of a fresh process that ingests 4,000 x 4,000 pixels of
16 bits; it holds Beam.
"""

import argparse
import json
import logging
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from measure import DISTINCT, peak_megabytes, seconds

from components.threads import count_cpus

SIZE = 512
ROUNDS = 5
FEW, IMAGES = 100, 3000
LARGE_SIDE, LARGE_IMAGES = 4000, 24


def write_images(folder: Path, count: int) -> None:
    """A folder of 512-pixel phantoms; after the first ones they are the same files under other names."""
    from pipeline.commands.phantoms import phantom

    pictures = [phantom(seed=0, patient=number, image=1, size=SIZE) for number in range(1, DISTINCT + 1)]
    _write(folder, count, pictures)


def write_large_images(folder: Path, count: int) -> None:
    """The same of 4,000 pixels and 16 bits, with the noise of a detector, so that files are large."""
    import cv2
    import numpy as np

    from pipeline.commands.phantoms import phantom

    grey, mask = (cv2.resize(pixels, (LARGE_SIDE, LARGE_SIDE)) for pixels in phantom(0, 1, 1, SIZE))
    noise = np.random.default_rng(0).integers(0, 64, grey.shape, np.uint16)
    _write(folder, count, [(grey.astype(np.uint16) * 16 + noise, np.where(mask > 127, np.uint8(255), np.uint8(0)))])


def _write(folder: Path, count: int, pictures: Sequence[tuple[Any, Any]]) -> None:
    import cv2

    for kind, position in (("images", 0), ("masks", 1)):
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            path = folder / kind / f"{number:05d}.png"
            if number < len(pictures):
                cv2.imwrite(str(path), pictures[number][position])
            else:
                os.link(folder / kind / f"{number % len(pictures):05d}.png", path)


def run_reference(folder: Path) -> None:
    import cv2
    import numpy as np
    from PIL import Image

    from schema.record import PNG_SETTINGS

    for path in sorted((folder / "images").iterdir()):
        for name, settings in PNG_SETTINGS.items():
            with Image.open(folder / f"{name}s" / path.name) as file:
                pixels = np.asarray(file)
            resized = cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
            cv2.imencode(".png", resized, settings)


def run_ingest(folder: Path) -> None:
    from pipeline.ingest.ingest import ingest

    output = folder.with_name(f"{folder.name}-records")
    ingest("folder", str(folder), str(output), size=SIZE)
    shutil.rmtree(output)


def in_child(what: str, *folders: Path) -> list[float]:
    """Figures that a fresh process prints."""
    command = [sys.executable, __file__, what, *map(str, folders)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def child(what: str, folders: list[Path]) -> list[float]:
    """What a fresh process measures: seconds for each folder, after a first one, or its peak of memory."""
    import cv2

    logging.disable(logging.WARNING)
    if what == "reference":
        cv2.setNumThreads(1)
    run = {"reference": run_reference, "ingest": run_ingest, "memory": run_ingest}[what]
    run(folders[0])
    return [peak_megabytes()] if what == "memory" else [seconds(partial(run, folder)) for folder in folders]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("child", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args().child
    if arguments:
        print(json.dumps(child(arguments[0], [Path(folder) for folder in arguments[1:]])))
        return
    cores = count_cpus()
    print(f"{platform.processor() or platform.machine()}, {cores} cores, {SIZE} x {SIZE}")
    print(f"{'images a second':20}{'ingest':>10}{'with start':>12}{'bare loop':>12}{'ratio a core':>14}")
    with tempfile.TemporaryDirectory() as name:
        few, many, large = (Path(name) / size for size in ("few", "many", "large"))
        write_images(few, FEW)
        write_images(many, IMAGES)
        ratios = []
        for turn in range(1, ROUNDS + 1):
            for_few, for_many = in_child("ingest", few, many)
            rate, with_start = (IMAGES - FEW) / (for_many - for_few), IMAGES / for_many
            reference = FEW / in_child("reference", few)[0]
            ratios.append(rate / (cores * reference))
            print(f"{f'turn {turn}':20}{rate:10.1f}{with_start:12.1f}{reference:12.1f}{ratios[-1]:14.3f}")
        write_large_images(large, LARGE_IMAGES)
        (peak,) = in_child("memory", large)
    print(f"peak memory, {LARGE_IMAGES} images of {LARGE_SIDE} x {LARGE_SIDE}, 16 bits: {peak:.0f} MB")
    print(json.dumps({"ratio_per_core": round(statistics.median(ratios), 3), "peak_megabytes": round(peak)}))


if __name__ == "__main__":
    main()
