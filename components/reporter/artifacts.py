"""Reads what other components wrote into plain data."""

import io
import json
import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from importlib import metadata
from typing import Any, TypeVar

import pandas as pd
from tfx import types
from pydantic import BaseModel, ValidationError
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.artifacts import SECONDS, record_files, spans_of
from components.record_validator.report import SHEET, VALIDATION
from components.reporter.evidence import Data, History, ReportError, SplitStatistics, Stage, finite
from modules.evaluation.measures import MEASURES
from modules.training.trainer import HISTORY_FILE
from schema import features
from schema.reports.evaluation import IMAGES_FILE

_LIBRARIES = ("tensorflow", "keras", "tfx")

Model = TypeVar("Model", bound=BaseModel)


def read_json(folder: str, name: str) -> Any:
    """Reads a JSON file; numbers that are not finite become None.

    Raises:
        ReportError: there is none, or it is broken.
    """
    try:
        return finite(json.loads(_read_text(folder, name)))
    except json.JSONDecodeError as error:
        msg = f"'{os.path.join(folder, name)}' is no JSON: run the component that wrote it again"
        raise ReportError(msg) from error


def read_model(kind: type[Model], folder: str, name: str) -> Model:
    """Reads a JSON file into a validated object.

    Raises:
        ReportError: there is none, or it does not hold what it should.
    """
    try:
        return kind.model_validate(read_json(folder, name))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"'{os.path.join(folder, name)}', '{where}': {first['msg']}: run the component that wrote it again"
        raise ReportError(msg) from error


def read_images(folder: str) -> pd.DataFrame:
    """Reads what was measured on each image.

    Raises:
        ReportError: the file is missing, is no table, lacks a column or holds no image.
    """
    # As text first: `NA` is a finding or an identifier here, and not a gap.
    try:
        images = pd.read_csv(io.StringIO(_read_text(folder, IMAGES_FILE)), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        msg = f"'{os.path.join(folder, IMAGES_FILE)}' is no table: run the Evaluator again"
        raise ReportError(msg) from error
    numbers = [features.IS_AUGMENTED, features.AGE, features.LUNG_FRACTION, *MEASURES]
    texts = ["set", "original_id", *(name for name in features.TEXT)]
    missing = [name for name in (*texts, *numbers) if name not in images.columns]
    if missing or images.empty:
        problem = f"has no column '{missing[0]}'" if missing else "holds no image"
        msg = f"'{os.path.join(folder, IMAGES_FILE)}' {problem}: run the Evaluator again"
        raise ReportError(msg)
    numbers += [name for name in images.columns if name.removeprefix("baseline_") in MEASURES and name not in numbers]
    return images.assign(**{name: pd.to_numeric(images[name], errors="coerce") for name in numbers})


def read_history(model_run: types.Artifact) -> History:
    """Reads the figures of a training, one an epoch."""
    history: History = read_json(model_run.uri, HISTORY_FILE)
    return history


def read_data(examples: types.Artifact) -> Data:
    """Reads what the Augmenter tells of the examples."""
    counts: dict[str, dict[str, int | None]] = {}
    for split in artifact_utils.decode_split_names(examples.split_names):
        counts[split] = {name: _count(examples, f"{split}_{name}") for name in ("originals", "copies")}
    return Data(
        spans=tuple(spans_of(examples)),
        counts=counts,
        policy=examples.get_string_custom_property("policy"),
        policy_hash=examples.get_string_custom_property("policy_hash"),
        albumentations=examples.get_string_custom_property("albumentations_version"),
    )


def _count(examples: types.Artifact, name: str) -> int | None:
    return examples.get_int_custom_property(name) if examples.has_custom_property(name) else None


def read_validation(reports: Sequence[types.Artifact]) -> dict[str, Any] | None:
    """Reads what RecordValidators found, their sets together; None where there is no report."""
    told = [read_json(one.uri, VALIDATION) for one in reports]
    if not told:
        return None
    leaks = [one["leaks"] for one in told]
    return {
        "limits": told[0]["limits"],
        "sets": [one for of_report in told for one in of_report["sets"]],
        "leaks": {
            "total": sum(one["total"] for one in leaks),
            "named": [leak for one in leaks for leak in one["named"]],
        },
        "left_out": sum(one["left_out"] for one in told),
    }


def read_sheets(reports: Sequence[types.Artifact]) -> Iterator[bytes]:
    """Reads the pictures of refused records, PNG; a report without such records has none."""
    for one in reports:
        path = os.path.join(one.uri, SHEET)
        if fileio.exists(path):
            yield _read_bytes(path)


def read_statistics(artifact: types.Artifact) -> dict[str, SplitStatistics]:
    """Reads statistics by split."""
    found = {}
    for split in artifact_utils.decode_split_names(artifact.split_names):
        statistics = stats_artifact_utils.load_statistics(artifact, split).proto()
        found[split] = _read_split(statistics.datasets[0])
    return found


def _read_split(of: statistics_pb2.DatasetFeatureStatistics) -> SplitStatistics:
    numbers, categories = {}, {}
    for feature in of.features:
        name = feature.path.step[0] if feature.path.step else feature.name
        if feature.HasField("num_stats"):
            numbers[name] = (feature.num_stats.mean, feature.num_stats.std_dev)
        elif feature.HasField("string_stats"):
            buckets = feature.string_stats.rank_histogram.buckets
            categories[name] = {bucket.label: int(bucket.sample_count) for bucket in buckets}
    return SplitStatistics(int(of.num_examples), numbers, categories)


def split_files(examples: types.Artifact, split: str) -> list[str]:
    """The record files of a split, sorted.

    Raises:
        ReportError: there is no such split.
    """
    splits = artifact_utils.decode_split_names(examples.split_names)
    if split not in splits:
        msg = f"set '{split}' was evaluated but is no split of '{examples.uri}', which has {', '.join(splits)}"
        raise ReportError(msg)
    return record_files(artifact_utils.get_split_uri([examples], split))


def examples_of(inputs: dict[str, list[types.Artifact]], key: str, set_: str) -> types.Artifact:
    """The examples among which the images of a set are.

    Raises:
        ReportError: they were not given.
    """
    examples = only(inputs.get(key))
    if examples is None:
        msg = f"set '{set_}' was evaluated but its examples are not given: connect the input '{key}'"
        raise ReportError(msg)
    return examples


def read_stage(name: str, artifact: types.Artifact) -> Stage:
    """How long a component took, as far as one of its outputs tells, and when it was done."""
    updated = artifact.mlmd_artifact.last_update_time_since_epoch
    seconds = artifact.get_float_custom_property(SECONDS) if artifact.has_custom_property(SECONDS) else None
    finished = datetime.fromtimestamp(updated / 1000, timezone.utc).isoformat(timespec="seconds") if updated else None
    return Stage(name, seconds, finished)


def read_libraries() -> dict[str, str]:
    """Versions of the libraries that matter, by name."""
    return {name: metadata.version(name) for name in _LIBRARIES}


def only(artifacts: Sequence[types.Artifact] | None) -> types.Artifact | None:
    """The one artifact of an optional input; None where there is none."""
    return artifact_utils.get_single_instance(list(artifacts)) if artifacts else None


def _read_text(folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    if not fileio.exists(path):
        msg = f"'{path}' is missing: run the component that writes it again"
        raise ReportError(msg)
    return _read_bytes(path).decode()


def _read_bytes(path: str) -> bytes:
    with fileio.open(path, "rb") as file:
        return bytes(file.read())
