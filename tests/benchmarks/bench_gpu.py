"""What GPUs give the training: images a second, memory, share of the peak arithmetic, scaling. `make bench-gpu`.

The networks of the presets `gpu` and `best`, and the U-Net of 572 pixels for which NVIDIA publishes figures, with the
product's loss and loop in each precision, compiled and not, on one device and on all; beside them a bare loop of the
same network, and PyTorch's where it is installed. Each row is a process of its own, so that none suffers from the one
before; the rows that tell most come first, and what the time does not suffice for is named.

Runs under the backend of Keras that has a GPU, TensorFlow or JAX (which the product's loop does not know: bare loops
alone), else under KERAS_BACKEND, and needs nothing of TFX. Without a GPU it trains tiny networks, to show that it runs.

`--curves` compares the losses of the first 200 steps in each precision, and nothing else. The last line is JSON:
`vs_bare`, the product's rate as a share of the bare loop's; `mixed_gain`, bfloat16 against float32; `vs_a100_mixed`,
against NVIDIA's figure; `curves`, the difference of mixed precision's loss from float32's as a share, after 200 steps.
"""

import argparse
import dataclasses
import importlib.util
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gpu.networks import NAMES
from gpu.rows import Row

BACKENDS: Final = ("tensorflow", "jax")
DRIVER: Final = Path("/proc/driver/nvidia/version")
A100_MIXED: Final = 119.0
"""Images a second that NVIDIA publishes for its U-Net on one A100 with automatic mixed precision, batches of 8."""

PRECISIONS: Final = ("float32", "bfloat16", "float16")
PEAKS: Final[tuple[tuple[str, float, float | None, float], ...]] = (
    ("B200", 1100, 2250, 2250),
    ("H200 NVL", 418, 835, 835),
    ("H200", 494, 989, 989),
    ("H100 NVL", 418, 835, 835),
    ("H100 PCIe", 378, 756, 756),
    ("H100", 494, 989, 989),
    ("A100", 156, 312, 312),
    ("L40S", 183, 362, 362),
    ("A10G", 35, 70, 70),
    ("L4", 60, 121, 121),
    ("V100", 15.7, None, 125),
    ("T4", 8.1, None, 65),
)
"""A word of a GPU's name, and from its data sheet 10^12 operations a second, dense, in each precision (in TF32 for
float32 where it has that, as the backends multiply)."""

KINDS: Final = (
    ("product", "bfloat16", True),
    ("product", "float32", True),
    ("bare", "bfloat16", True),
    ("product", "float16", True),
    ("product", "bfloat16", False),
    ("product", "float32", False),
    ("product", "float16", False),
    ("torch", "bfloat16", True),
)
"""Loop, precision and whether it is compiled; what tells most comes first."""
TINY: Final = {
    "tensorflow": (
        ("gpu", "product", "float32", False, 2),
        ("best", "product", "float32", False, 1),
        ("best", "bare", "float32", False, 1),
        ("nvidia", "product", "bfloat16", False, 1),
        ("best", "product", "float16", True, 1),
    ),
    "jax": (
        ("gpu", "bare", "float32", True, 2),
        ("best", "bare", "float32", False, 1),
        ("best", "bare", "float16", True, 1),
        ("nvidia", "bare", "bfloat16", True, 1),
    ),
}
"""Network, kind and devices of what is run without a GPU, by backend: everything that there is, once. TensorFlow wants
to know at once how many devices there are to be."""
CURVE, CURVE_END = 200, 20
"""Steps after which losses are compared, and over how many of the last ones their mean is taken."""

ROW_LIMIT, ROW_LEAST = 90.0, 15.0
"""Seconds that a row may take with all its start and compilation, and below which none is begun."""
HEAD: Final = ("network", "loop", "precision", "compiled", "devices", "images/s", "peak MB", "of peak", "scaling")
WIDTHS: Final = (9, 9, 11, 10, 9, 11, 10, 9, 9)

Kind = tuple[str, str, str, bool, int]
"""Network, loop, precision, whether it is compiled, devices."""
Figures = dict[str, Any]


def ask(order: Figures, backend: str, limit: float) -> list[Figures]:
    """Have a process of its own look for GPUs or measure rows: what it says of each, or at the end `error`."""
    folder = Path(__file__).parent
    path = (str(folder), str(folder.parents[1]), os.environ.get("PYTHONPATH", ""))
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, "-m", "gpu.process", json.dumps(order)]
    said, trouble = "", ""
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=limit)
        said = done.stdout
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [""])[-1]
            trouble = f"ended with code {done.returncode}: {last[:160]}"
    except subprocess.TimeoutExpired as expired:
        said, trouble = (expired.stdout or b"").decode(), f"took longer than {limit:.0f} seconds"
    answers: list[Figures] = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return [*answers, {"error": trouble}] if trouble else answers


def find_backend(named: str | None) -> tuple[str, list[str], str]:
    """Find the backend that has a GPU: its name, the GPUs' names, and what was in the way if there are none.

    Raises:
        ValueError: No backend is installed, or not the one that is named.
    """
    installed = [backend for backend in BACKENDS if importlib.util.find_spec(backend)]
    if not installed or (named and named not in installed):
        there = " and ".join(installed) or "none"
        raise ValueError(f"this runs under tensorflow or jax, and {there} is installed; KERAS_BACKEND is {named}")
    installed.sort(key=lambda backend: backend != named)
    reasons = []
    for backend in installed:
        seen = ask({"look": backend}, backend, ROW_LIMIT)[-1]
        if seen.get("gpus"):
            return backend, seen["gpus"], ""
        reasons.append(f"{backend} sees no GPU" + (f" ({seen['error']})" if "error" in seen else ""))
    if DRIVER.exists():
        reasons.append(
            f"its driver ({DRIVER.read_text().splitlines()[0]}) does not fit their CUDA, or CUDA is not installed: "
            "compare with requirements-gpu.txt"
        )
    return installed[0], [], "; ".join(reasons)


def plan(backend: str, devices: int, options: argparse.Namespace) -> list[Row]:
    """Plan the rows, in the order of what they tell; `devices` is the number of GPUs."""
    if options.curves:
        every: list[Kind] = [("best", "product", precision, True, 1) for precision in PRECISIONS]
    elif devices:
        counts = {"product": sorted({1, devices}), "bare": [1], "torch": [1] * bool(importlib.util.find_spec("torch"))}
        every = [(name, *kind, count) for kind in KINDS for name in NAMES for count in counts[kind[0]]]
    else:
        every = list(TINY[backend])
    if backend == "jax":  # which the product's loop does not know
        every = list(dict.fromkeys((row[0], row[1].replace("product", "bare"), *row[2:]) for row in every))
    return [
        Row(
            *row,
            backend=backend,
            gpu=devices > 0,
            seconds=3.0 if devices else 0.2,
            steps=CURVE if row[0] == "best" and (devices or options.curves) else 1,
            burst=16 if devices else 2,
            batch=options.batch,
        )
        for row in every
    ]


def peak_of(gpu: str, precision: str) -> float | None:
    """Return the operations a second that a GPU has at most, where they are known."""
    for word, *peaks in PEAKS:
        if re.search(rf"\b{word}\b", gpu):
            peak = peaks[PRECISIONS.index(precision)]
            return None if peak is None else peak * 1e12
    return None


def derive(done: list[tuple[Row, Figures]], gpu: str) -> None:
    """Add to the last row's figures its share of the peak and its scaling, as far as they are known."""
    row, figures = done[-1]
    # PyTorch's network is that of the other loops, and is not counted again.
    flops = max((of_other.get("flops", 0) for other, of_other in done if other.network == row.network), default=0)
    peak = peak_of(gpu, row.precision)
    if peak and flops:
        figures["of_peak"] = figures["images_per_s"] * flops / (peak * row.devices)
    alone = find(done, **dataclasses.asdict(row) | {"devices": 1})
    if row.devices > 1 and alone:
        figures["scaling"] = figures["images_per_s"] / (row.devices * alone["images_per_s"])


def find(done: list[tuple[Row, Figures]], **wanted: Any) -> Figures | None:
    """Return the figures of the first row with these values that was measured."""
    for row, figures in done:
        if "error" not in figures and all(getattr(row, name) == value for name, value in wanted.items()):
            return figures
    return None


def line_of(row: Row, figures: Figures) -> str:
    first = (row.network, row.loop, row.precision, "yes" if row.compiled else "no", row.devices)
    told = "".join(f"{value!s:<{width}}" for value, width in zip(first, WIDTHS, strict=False))
    if "error" in figures:
        return f"{told}  {figures['error']}"
    numbers = (
        f"{figures['images_per_s']:.1f}",
        f"{figures['peak_mb']:.0f}",
        f"{figures['of_peak']:.1%}" if "of_peak" in figures else "",
        f"{figures['scaling']:.2f}" if "scaling" in figures else "",
    )
    return told + "".join(f"{number:>{width}}" for number, width in zip(numbers, WIDTHS[5:], strict=True))


def summarize(done: list[tuple[Row, Figures]], backend: str, gpus: list[str]) -> Figures:
    """Compare the rows with each other and with what is published."""
    ours = "product" if backend == "tensorflow" else "bare"
    summary: Figures = {"backend": backend, "gpus": gpus, "meaningful": bool(gpus)}
    like = {"compiled": True, "devices": 1}
    rates: dict[str, Figures] = {"vs_bare": {}, "mixed_gain": {}, "curves": {}}
    for network in NAMES:
        mixed, single, bare = (
            find(done, network=network, loop=loop, precision=precision, **like)
            for loop, precision in ((ours, "bfloat16"), (ours, "float32"), ("bare", "bfloat16"))
        )
        if mixed and bare and ours == "product":
            rates["vs_bare"][network] = round(mixed["images_per_s"] / bare["images_per_s"], 3)
        if mixed and single:
            rates["mixed_gain"][network] = round(mixed["images_per_s"] / single["images_per_s"], 3)
        if network == "nvidia" and mixed and gpus:
            summary["vs_a100_mixed"] = round(mixed["images_per_s"] / A100_MIXED, 2)
    for precision in PRECISIONS[1:]:
        of_both = [find(done, network="best", loop=ours, precision=which, **like) for which in (precision, "float32")]
        ends = [
            statistics.mean(of["losses"][:CURVE][-CURVE_END:]) for of in of_both if of and len(of["losses"]) >= CURVE
        ]
        if len(ends) == 2:
            differs = abs(ends[0] / ends[1] - 1)
            rates["curves"][precision] = round(differs, 4) if math.isfinite(differs) else None
    rows = [
        dataclasses.asdict(row) | {name: of for name, of in figures.items() if name != "losses"}
        for row, figures in done
    ]
    return summary | {name: of for name, of in rates.items() if of} | {"rows": rows}


def measure(rows: list[Row], gpus: list[str], backend: str, minutes: float) -> Iterator[tuple[Row, Figures]]:
    """Measure rows, each in a process of its own where there is a GPU to be left clean for the next one."""
    end = time.monotonic() + 60 * minutes
    for together in [[row] for row in rows] if gpus else [rows]:
        left = end - time.monotonic()
        answers: list[Figures] = [{"error": f"left out: the {minutes:g} minutes are over"}]
        if left >= ROW_LEAST:
            order = {"rows": [dataclasses.asdict(row) for row in together]}
            answers = ask(order, backend, min(ROW_LIMIT * len(together), left))
        for number, row in enumerate(together):
            # What ended a process is the last thing that it says, and goes for all that it did not come to.
            yield row, answers[min(number, len(answers) - 1)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--require-gpu", action="store_true", help="end with code 2 where there is no GPU")
    parser.add_argument("--curves", action="store_true", help="compare the losses of the precisions alone")
    parser.add_argument("--batch", type=int, help="images a step on each device, in place of what each network has")
    parser.add_argument("--minutes", type=float, default=7.5, help="for all rows of the table")
    options = parser.parse_args()
    try:
        backend, gpus, reason = find_backend(os.environ.get("KERAS_BACKEND"))
    except ValueError as error:
        print(f"bench-gpu: {error}", file=sys.stderr)
        return 2
    if not gpus and options.require_gpu:
        print(f"bench-gpu: no GPU: {reason}", file=sys.stderr)
        return 2
    devices = ", ".join(gpus) or f"no GPU: {reason}. Tiny networks on the CPU, whose figures mean nothing"
    print(f"Keras on {backend}; {devices}")
    print("".join(f"{name:{'<' if number < 5 else '>'}{WIDTHS[number]}}" for number, name in enumerate(HEAD)))
    done: list[tuple[Row, Figures]] = []
    for row, figures in measure(plan(backend, len(gpus), options), gpus, backend, options.minutes):
        done.append((row, figures))
        if "error" not in figures:
            derive(done, gpus[0] if gpus else "")
        print(line_of(row, figures), flush=True)
    print(json.dumps(summarize(done, backend, gpus)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
