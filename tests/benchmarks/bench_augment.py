"""Speed and memory of the Augmenter against a bare Albumentations loop, in one run: `make bench-augment`.

The reference is one thread in one process that decodes, augments with the same `Compose` and encodes the same
512-pixel records, and nothing else: it keeps no original, computes no fingerprint, reseeds nothing and writes no file.
It leaves the PNG settings to OpenCV; a second one takes those of the component. The component is the whole of
`Executor.Do` between its first and last record. All are measured in turn, several times, and the median of the turns'
ratios is the result. Memory is the peak of a fresh process each, for 500 and for 5,000 records.
"""

import argparse
import itertools
import json
import logging
import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import peak_megabytes, peak_of, seconds, write_phantoms

COMPONENT, BARE, BARE_OWN_PNG = "component", "bare loop", "bare loop, same PNGs"
ROUNDS = 7
RECORDS = 1000
START_UP_RECORDS = 20
FEW, MANY = 500, 5000


def run_component(source: Path, target: Path) -> None:
    from tfx.components.util import examples_utils
    from tfx.proto import example_gen_pb2
    from tfx.types import standard_artifacts

    from components.augmenter import executor
    from components.augmenter.policy import load_policy

    examples, augmented = standard_artifacts.Examples(), standard_artifacts.Examples()
    examples.uri, augmented.uri = str(source), str(target)
    examples.split_names = '["train"]'
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
    policy = load_policy("chest").model_copy(update={"copies": {"train": 1}})
    executor.Executor().Do(
        {"examples": [examples]}, {"augmented_examples": [augmented]}, {"settings": policy.model_dump_json()}
    )


def run_reference(source: Path, *, own_png: bool = False) -> None:
    import cv2
    import numpy as np
    import tensorflow as tf

    from components.augmenter.policy import compose, load_policy
    from schema.record import PNG_SETTINGS

    cv2.setNumThreads(1)
    transform = compose(load_policy("chest"))
    for serialized in serialized_records(source):
        feature = tf.train.Example.FromString(serialized).features.feature
        image, mask = (
            cv2.imdecode(np.frombuffer(feature[name].bytes_list.value[0], np.uint8), cv2.IMREAD_UNCHANGED)
            for name in PNG_SETTINGS
        )
        drawn = transform(image=image, mask=mask)
        for name, settings in PNG_SETTINGS.items():
            cv2.imencode(".png", drawn[name], settings if own_png else [])


def serialized_records(source: Path) -> Iterator[bytes]:
    import tensorflow as tf

    yield from tf.data.TFRecordDataset([str(path) for path in (source / "Split-train").iterdir()]).as_numpy_iterator()


def rate(run: Callable[[Path], None], few: Path, many: Path) -> float:
    """Images a second. What a run costs without records is in both sizes; the difference is the records alone."""
    start_up = seconds(lambda: run(few))
    return RECORDS / (seconds(lambda: run(many)) - start_up)


def measure_speed(folder: Path) -> list[dict[str, float]]:
    """Images a second of the component and of both references, in each turn."""
    few, many = folder / "few", folder / "many"
    write_phantoms(few, "train", START_UP_RECORDS)
    write_phantoms(many, "train", RECORDS + START_UP_RECORDS)
    targets = (folder / f"augmented-{number}" for number in itertools.count())
    contestants: dict[str, Callable[[Path], None]] = {
        COMPONENT: lambda source: run_component(source, next(targets)),
        BARE: run_reference,
        BARE_OWN_PNG: lambda source: run_reference(source, own_png=True),
    }
    for run in contestants.values():
        run(few)
    return [{name: rate(run, few, many) for name, run in contestants.items()} for _ in range(ROUNDS)]


def median_ratio(turns: list[dict[str, float]], reference: str) -> float:
    """Of the component's rate to that of a reference, for each core."""
    return statistics.median(turn[COMPONENT] / turn[reference] for turn in turns) / (os.cpu_count() or 1)


def measure_memory(folder: Path, count: int) -> float:
    """Peak resident megabytes of a fresh process that augments `count` records."""
    source = folder / f"memory-{count}"
    write_phantoms(source, "train", count)
    return peak_of(__file__, "--memory-of", source, folder / f"augmented-{count}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory-of", nargs=2, type=Path, help=argparse.SUPPRESS)
    child = parser.parse_args().memory_of
    logging.disable(logging.WARNING)
    if child:
        run_component(*child)
        print(peak_megabytes())
        return
    with tempfile.TemporaryDirectory() as name:
        turns = measure_speed(Path(name))
        few, many = measure_memory(Path(name), FEW), measure_memory(Path(name), MANY)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, policy chest, 512 x 512")
    print(f"{'images a second':24}{COMPONENT:>12}{BARE:>12}{BARE_OWN_PNG:>26}")
    for number, turn in enumerate(turns, 1):
        print(f"{f'turn {number}':24}{turn[COMPONENT]:12.1f}{turn[BARE]:12.1f}{turn[BARE_OWN_PNG]:26.1f}")
    ratios = {"ratio_per_core": median_ratio(turns, BARE), "memory_ratio": many / few}
    print(f"{'ratio a core':36}{ratios['ratio_per_core']:12.3f}{median_ratio(turns, BARE_OWN_PNG):26.3f}")
    print(f"{'':24}{f'{MANY} images':>12}{f'{FEW} images':>12}")
    print(f"{'peak memory, MB':24}{many:12.0f}{few:12.0f}")
    print(json.dumps({key: round(value, 3) for key, value in ratios.items()}))


if __name__ == "__main__":
    main()
