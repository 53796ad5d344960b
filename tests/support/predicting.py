"""What tests of predictions share: inputs of paths, and what lies in the output folder."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.prediction.find import find_files
from pipeline.prediction.inputs import Input, list_inputs
from pipeline.prediction.predict import Prediction

Segment = Callable[..., Prediction]
"""Segments paths, see the fixture `segment`."""


def inputs_of(*paths: Path | str, recursive: bool = False) -> list[Input]:
    return list_inputs(find_files([str(path) for path in paths], recursive=recursive))


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "measurements.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def results_in(folder: Path) -> Iterator[str]:
    """Names of the files, in order, without tables and receipts."""
    tables = ("measurements.csv", "predictions.json")
    return (name for path in sorted(folder.iterdir()) if (name := path.name) not in tables and path.is_file())
