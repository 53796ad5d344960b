"""Gathers what other components wrote.

>>> gather(inputs, settings).evaluation.find("test", {}).patients
60
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Final, TypeVar

from tfx import types
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.statistics_gen import stats_artifact_utils

from components import artifacts
from components.base import Artifacts
from components.code_version import MODEL_CODE, code_version
from components.images_table import read_images
from components.reporter.evidence import Data, Evidence, ReportError
from components.reporter.settings import ReporterSettings
from schema import features
from schema.reports.base import Report
from schema.reports.blessing import BlessingDecision
from schema.reports.evaluation import TEST_SET, Evaluation
from schema.reports.probe import ProbeResult
from schema.reports.run_report import SplitCounts, SplitStatistics, Stage
from schema.reports.statistics import AnomalyReport, DriftReport
from schema.reports.training import TrainingHistory
from schema.reports.validation import SHEET_FILE, ValidationReport

ReportT = TypeVar("ReportT", bound=Report)

_MADE_BY: Final = {
    "validation": "RecordValidator",
    "external_validation": "RecordValidator of external sets",
    "statistics": "StatisticsGen",
    "anomalies": "ExampleValidator",
    "examples": "Augmenter",
    "external_examples": "Augmenter of external sets",
    "model": "Trainer",
    "evaluation": "Evaluator",
    "infra_blessing": "ServingProbe",
    "pushed_model": "Pusher",
}
"""The component that each input tells the time of."""

_LIBRARIES: Final = ("tensorflow", "keras", "tfx")


def gather(inputs: Artifacts, settings: ReporterSettings) -> Evidence:
    """Read all that is known of a model.

    Args:
        inputs: As `Executor.run` takes them.
        settings: Of the run.

    Raises:
        ReportFileError: A report or the table of images is missing or damaged.
    """
    evaluation, anomalies = inputs["evaluation"], inputs.get("anomalies")
    pushed, baseline = inputs.get("pushed_model"), inputs.get("baseline_model")
    validated = [report.uri for key in ("validation", "external_validation") if (report := inputs.get(key))]
    validations = [ValidationReport.read(folder) for folder in validated]
    return Evidence(
        settings=settings,
        code_version=code_version(*MODEL_CODE),
        images=read_images(evaluation.uri),
        evaluation=Evaluation.read(evaluation.uri),
        history=TrainingHistory.read(inputs["model_run"].uri),
        data=_read_data(inputs["examples"]),
        decision=_read(BlessingDecision, inputs.get("blessing")),
        probe=_read(ProbeResult, inputs.get("infra_blessing")),
        pushed=pushed and pushed.get_int_custom_property("pushed") == 1,
        version=(pushed and pushed.get_string_custom_property("pushed_version")) or None,
        parent=baseline and baseline.get_int_custom_property("version"),
        statistics=_read_statistics(inputs.get("statistics")),
        anomalies=_read(AnomalyReport, anomalies),
        drift=_read(DriftReport, anomalies),
        validation=ValidationReport.merge(validations) if validations else None,
        quarantined=tuple(sheet.read_bytes() for folder in validated if (sheet := Path(folder, SHEET_FILE)).exists()),
        stages=tuple(_read_stage(name, stage) for key, name in _MADE_BY.items() if (stage := inputs.get(key))),
        schema_hash=hashlib.sha256(features.SCHEMA_FILE.read_bytes()).hexdigest()[:16],
        libraries={name: metadata.version(name) for name in _LIBRARIES},
    )


def record_files(inputs: Artifacts, set_: str) -> list[str]:
    """Return the record files that the images of a test set are in, those of each artifact sorted.

    Raises:
        ReportError: They were not given, or hold no such split.
    """
    key = "examples" if set_ == TEST_SET else "external_examples"
    given = inputs.all(key)
    if not given:
        raise ReportError(f"set '{set_}' was evaluated but its examples are not given: connect the input '{key}'")
    files = []
    for examples in given:
        splits = artifacts.splits_of(examples)
        if set_ not in splits:
            raise ReportError(
                f"set '{set_}' was evaluated but is no split of '{examples.uri}', which has {', '.join(splits)}"
            )
        files += artifacts.record_files(artifacts.split_folder(examples, set_))
    return files


def _read(kind: type[ReportT], artifact: types.Artifact | None) -> ReportT | None:
    return None if artifact is None else kind.read(artifact.uri)


def _read_data(examples: types.Artifact) -> Data:
    """Read what the Augmenter tells of the examples."""
    counts = {
        split: SplitCounts(
            originals=_count(examples, f"{split}_{artifacts.ORIGINALS}"),
            copies=_count(examples, f"{split}_{artifacts.COPIES}"),
        )
        for split in artifacts.splits_of(examples)
    }
    return Data(
        spans=tuple(artifacts.spans_of(examples)),
        counts=counts,
        policy=examples.get_string_custom_property(artifacts.POLICY),
        policy_hash=examples.get_string_custom_property(artifacts.POLICY_HASH),
        albumentations=examples.get_string_custom_property(artifacts.ALBUMENTATIONS),
    )


def _count(examples: types.Artifact, name: str) -> int | None:
    return examples.get_int_custom_property(name) if examples.has_custom_property(name) else None


def _read_statistics(artifact: types.Artifact | None) -> dict[str, SplitStatistics]:
    """Read statistics by split; none where there is no artifact."""
    splits: Sequence[str] = artifacts.splits_of(artifact) if artifact else ()
    return {
        split: _read_split(stats_artifact_utils.load_statistics(artifact, split).proto().datasets[0])
        for split in splits
    }


def _read_split(statistics: statistics_pb2.DatasetFeatureStatistics) -> SplitStatistics:
    numbers, categories = {}, {}
    for feature in statistics.features:
        name = feature.path.step[0] if feature.path.step else feature.name
        if feature.HasField("num_stats"):
            numbers[name] = (feature.num_stats.mean, feature.num_stats.std_dev)
        elif feature.HasField("string_stats"):
            buckets = feature.string_stats.rank_histogram.buckets
            categories[name] = {bucket.label: int(bucket.sample_count) for bucket in buckets}
    return SplitStatistics(examples=int(statistics.num_examples), numbers=numbers, categories=categories)


def _read_stage(name: str, artifact: types.Artifact) -> Stage:
    """Read how long a component took, as far as one of its outputs tells, and when it was done."""
    known = artifact.has_custom_property(artifacts.SECONDS)
    seconds = artifact.get_float_custom_property(artifacts.SECONDS) if known else None
    updated = artifact.mlmd_artifact.last_update_time_since_epoch  # milliseconds
    finished = datetime.fromtimestamp(updated / 1000, timezone.utc).isoformat(timespec="seconds") if updated else None
    return Stage(name=name, seconds=seconds, finished=finished)
