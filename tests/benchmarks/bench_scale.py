"""Every Beam stage with 1,000, 10,000 and 50,000 records of 256 pixels: `make bench-scale`.

Phantoms go through `ingest` and the graph as far as Transform and Evaluator, on Beam's in-memory runner, each number in
a fresh process that has run a hundred records before, so that no stage pays for what is loaded once. The model was
trained for one epoch on the least of them. Time is that of a whole component, metadata store and all; memory is the
peak of the process while a component runs. The last line is a JSON object: for each stage `time_ratio`, time a record,
and `memory_ratio`, largest against smallest. `scale.png` and `scale.json` are written to the folder of the benchmark.

    make bench-scale
    .venv/bin/python tests/benchmarks/bench_scale.py --folder DIR --counts 100 1000
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from measure import peak_megabytes, seconds

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.runners import ComponentRun

COUNTS = (1_000, 10_000, 50_000)
SIZE = 256
WARM_UP = 100
NOT_BEAM = ("ImportSchemaGen", "Importer", "BaselineResolver", "ExampleValidator", "DataGate")


@dataclass(frozen=True)
class Stage:
    """What one stage took for so many records."""

    name: str
    records: int
    seconds: float
    megabytes: float
    """Peak resident memory."""
    written: int
    """Bytes."""

    @property
    def milliseconds_each(self) -> float:
        return 1000 * self.seconds / self.records


class Meter:
    """Watches a run: the peak of memory of each component."""

    def __init__(self) -> None:
        self.peaks: dict[str, float] = {}

    def started(self, component_id: str) -> None:
        reset_peak()

    def ended(self, run: "ComponentRun") -> None:
        self.peaks[run.id] = peak_megabytes()


def reset_peak() -> None:
    """Has Linux forget the peak of this process's resident memory (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def bytes_below(*folders: str | Path) -> int:
    return sum(path.stat().st_size for folder in folders for path in Path(folder).rglob("*") if path.is_file())


def write_images(folder: Path, count: int, of: Path | None = None) -> Path:
    """Phantoms as an image folder; the first of those that another folder holds, where one is given."""
    images = folder / f"images-{count}"
    if images.exists():
        return images
    if of is None:
        from pipeline.commands.phantoms import write_phantoms

        write_phantoms(images, count, seed=0, size=SIZE)
        return images
    partial = folder / f".images-{count}"
    with (of / "metadata.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    for kind in ("images", "masks"):
        (partial / kind).mkdir(parents=True, exist_ok=True)
        for row in rows[:count]:
            target = partial / kind / f"{row[0]}.png"
            target.unlink(missing_ok=True)
            os.link(of / kind / target.name, target)
    with (partial / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows[:count]])
    partial.rename(images)
    return images


def configure(data: Path, root: Path) -> "Config":
    from pipeline.config import load_config

    return load_config("demo", {"train.epochs": 1}, data=data, root=root)


def train(data: Path, root: Path) -> Path:
    """A model that was trained on data for one epoch."""
    from pipeline.graph import create_pipeline
    from pipeline.runners import LocalRunner

    runner = LocalRunner(root, Meter())
    runner.run(create_pipeline(configure(data, root), runner.connection))
    (trainer,) = (run for run in runner.runs if run.id == "Trainer")
    return Path(trainer.outputs["model"][0].uri)


def run_graph(data: Path, root: Path, model: Path, records: int) -> list[Stage]:
    """Runs the graph without its training."""
    from tfx.dsl.components.common.importer import Importer
    from tfx.types import standard_artifacts

    from components.evaluator.component import Evaluator
    from components.evaluator.settings import EvaluatorSettings
    from pipeline import data_graph, graph
    from pipeline.runners import LocalRunner

    config, meter = configure(data, root), Meter()
    runner = LocalRunner(root, meter)
    imported = Importer(source_uri=str(model), artifact_type=standard_artifacts.Model).with_id("Importer")
    prepared = data_graph.prepare(config, data_graph.validate(config))
    evaluator = Evaluator(
        examples=prepared.examples,
        model=imported.outputs["result"],
        settings=EvaluatorSettings(evaluate=config.evaluate),
    )
    nodes = [*prepared.nodes, graph.make_transform(config, prepared.examples, prepared.schema), imported, evaluator]
    runner.run(graph.make_pipeline(config, "scale", nodes, runner.connection))
    return [
        Stage(
            run.id,
            records,
            run.seconds,
            meter.peaks[run.id],
            bytes_below(*(artifact.uri for artifacts in run.outputs.values() for artifact in artifacts)),
        )
        for run in runner.runs
        if run.id not in NOT_BEAM
    ]


def ingest_images(images: Path, data: Path, records: int) -> Stage:
    from pipeline.ingest.ingest import ingest

    reset_peak()
    took = seconds(lambda: ingest("folder", str(images), str(data), size=SIZE))
    return Stage("ingest", records, took, peak_megabytes(), bytes_below(data))


def measure(folder: Path, count: int, model: Path) -> list[Stage]:
    """All stages for so many records, after a first run with few."""
    stages: list[Stage] = []
    for records in (WARM_UP, count):
        images = write_images(folder, records, of=folder / f"images-{count}")
        root = folder / f"run-{count}-{records}-{time.time_ns()}"
        data = root / "data"
        stages = [ingest_images(images, data, records), *run_graph(data, root, model, records)]
    return stages


def plot(stages: list[Stage], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for name in dict.fromkeys(stage.name for stage in stages):
        of_name = [stage for stage in stages if stage.name == name]
        records = [stage.records for stage in of_name]
        axes[0].plot(records, [stage.milliseconds_each for stage in of_name], marker="o", label=name)
        axes[1].plot(records, [stage.megabytes for stage in of_name], marker="o", label=name)
    for axis, title in zip(axes, ("time a record, ms", "peak resident memory, MB"), strict=True):
        axis.set(xscale="log", xlabel="records", title=title)
        axis.set_ylim(bottom=0)
        axis.grid(visible=True, alpha=0.3)
    axes[1].legend(fontsize=8)
    figure.savefig(path, dpi=120)


def show(stages: list[Stage]) -> None:
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {SIZE} x {SIZE}")
    print(f"{'stage':20}{'records':>9}{'seconds':>10}{'records/s':>11}{'ms each':>9}{'peak MB':>9}{'MB written':>12}")
    for stage in stages:
        rate = stage.records / stage.seconds
        row = f"{stage.name:20}{stage.records:9}{stage.seconds:10.1f}{rate:11.1f}{stage.milliseconds_each:9.2f}"
        print(f"{row}{stage.megabytes:9.0f}{stage.written / 1e6:12.1f}")


def ratios(stages: list[Stage]) -> dict[str, dict[str, float]]:
    """Of the largest number of records to the smallest, by stage."""
    limits = {}
    for name in dict.fromkeys(stage.name for stage in stages):
        least, *_, most = (stage for stage in stages if stage.name == name)
        limits[name] = {
            "time_ratio": round(most.milliseconds_each / least.milliseconds_each, 3),
            "memory_ratio": round(most.megabytes / least.megabytes, 3),
        }
    return limits


def in_child(*arguments: object) -> str:
    """The last line that this script prints in a fresh process."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("bench-scale"))
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder, counts = arguments.folder.absolute(), sorted(arguments.counts)
    if arguments.train:
        root = folder / f"train-{time.time_ns()}"
        ingest_images(folder / f"images-{counts[0]}", root / "data", counts[0])
        print(train(root / "data", root))
        return
    if arguments.measure:
        print(json.dumps([asdict(stage) for stage in measure(folder, arguments.measure, arguments.model)]))
        return
    most = write_images(folder, counts[-1])
    for count in counts[:-1]:
        write_images(folder, count, of=most)
    model = in_child("--folder", folder, "--counts", counts[0], "--train")
    stages = [
        Stage(**figures)
        for count in counts
        for figures in json.loads(in_child("--folder", folder, "--measure", count, "--model", model))
    ]
    order = list(dict.fromkeys(stage.name for stage in stages))
    stages.sort(key=lambda stage: (order.index(stage.name), stage.records))
    show(stages)
    plot(stages, folder / "scale.png")
    (folder / "scale.json").write_text(json.dumps([asdict(stage) for stage in stages], indent=1))
    print(json.dumps(ratios(stages)))


if __name__ == "__main__":
    main()
