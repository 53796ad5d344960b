"""Runs the ExampleValidator."""

import logging
import os
from pathlib import Path
from typing import NamedTuple

from tfx import types
from tensorflow_data_validation import validate_statistics
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.utils import io_utils, path_utils, writer_utils

from components import artifacts, base
from components.drift_chart import to_png
from components.example_validator.anomalies import PROTO_FILE, grade_drift, list_anomalies
from components.example_validator.drift import raise_thresholds, read_drift
from components.example_validator.settings import DriftSettings
from modules.serving.saved_model import STATISTICS_FILE
from schema.reports.statistics import (
    COMPARED_SPLIT,
    DISTANCE_NAMES,
    DRIFT_CHART_FILE,
    Anomaly,
    AnomalyReport,
    DriftReport,
)

_LOG = logging.getLogger("lungseg.validator")
_DRIFT_LOG = logging.getLogger("lungseg.drift")


class _Baseline(NamedTuple):
    """The version that serves and the statistics of its training data, or why there are none."""

    version: int | None = None
    statistics: statistics_pb2.DatasetFeatureStatisticsList | None = None
    reason: str = ""


class Executor(base.Executor[DriftSettings]):
    """Holds the statistics of each split against the schema, and those of the training split against earlier ones."""

    SETTINGS = DriftSettings

    def run(self, inputs: base.Artifacts, outputs: base.Artifacts, settings: DriftSettings) -> None:
        """Validate.

        Args:
            inputs: `statistics`, with a split `train`; `schema`; `baseline_model`, if there is one.
            outputs: `anomalies`: an `AnomalyReport`, a `DriftReport`, `SchemaDiff.pb` of each split, as TFX's own
                component writes it, and, where anything was compared, `drift.png`.
            settings: How drift is judged.

        Raises:
            ValueError: The statistics beside the serving model are damaged.
        """
        statistics, output = inputs["statistics"], outputs["anomalies"]
        output.split_names = statistics.split_names
        output.span = statistics.span
        schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(inputs["schema"].uri))
        baseline = _read_baseline(inputs.get("baseline_model"))
        compared, drift = _compare(_load(statistics, COMPARED_SPLIT), schema, baseline, settings)
        anomalies: list[Anomaly] = []
        for split in artifacts.splits_of(statistics):
            of_split = compared if split == COMPARED_SPLIT else validate_statistics(_load(statistics, split), schema)
            writer_utils.write_anomalies(os.path.join(artifacts.split_folder(output, split), PROTO_FILE), of_split)
            anomalies += list_anomalies(split, of_split)
        AnomalyReport(anomalies=anomalies).write(output.uri)
        drift.write(output.uri)
        if drift.features:
            Path(output.uri, DRIFT_CHART_FILE).write_bytes(to_png(drift))
        for anomaly in anomalies:
            if not anomaly.is_drift:  # logged below, with figures
                _LOG.warning("%s", anomaly)
        _log_drift(drift)


def _load(artifact: types.Artifact, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    return stats_artifact_utils.load_statistics(artifact, split).proto()


def _read_baseline(model: types.Artifact | None) -> _Baseline:
    if model is None:
        return _Baseline(reason="there was no model to compare with")
    version = model.get_int_custom_property("version")
    path = Path(path_utils.serving_model_path(model.uri), STATISTICS_FILE)
    if not path.exists():
        return _Baseline(version, reason=f"version {version} was pushed without statistics of its training data")
    try:
        return _Baseline(version, statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes()))
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        raise ValueError(
            f"'{STATISTICS_FILE}' of version {version} in the serving folder is damaged: "
            "remove it, and drift is not looked for until the next version"
        ) from error


def _compare(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    baseline: _Baseline,
    settings: DriftSettings,
) -> tuple[anomalies_pb2.Anomalies, DriftReport]:
    new = statistics.datasets[0]
    if baseline.statistics is None:
        anomalies = validate_statistics(statistics, schema)
        drift = DriftReport(
            baseline=baseline.version, reason=baseline.reason, severity=settings.severity, new_examples=new.num_examples
        )
        return anomalies, drift
    before = baseline.statistics.datasets[0]
    raised = raise_thresholds(schema, before, new, settings.significance)
    anomalies = validate_statistics(statistics, raised, previous_statistics=baseline.statistics)
    grade_drift(anomalies, settings.severity)
    features = read_drift(anomalies, before, new, settings.significance)
    drift = DriftReport(
        baseline=baseline.version,
        reason="" if features else "the schema names no feature to compare (drift_comparator)",
        severity=settings.severity,
        baseline_examples=before.num_examples,
        new_examples=new.num_examples,
        features=features,
    )
    return anomalies, drift


def _log_drift(drift: DriftReport) -> None:
    if not drift.features:
        _DRIFT_LOG.info("no drift looked for: %s", drift.reason)
    elif not drift.drifted:
        _DRIFT_LOG.info("none since version %d (%d features)", drift.baseline, len(drift.features))
    for feature in drift.drifted:
        _DRIFT_LOG.warning(
            "%s has drifted since version %d was trained: %s %.2f, may be %.2f (%d images against %d)",
            feature.feature, drift.baseline, DISTANCE_NAMES[feature.kind], feature.distance, feature.threshold,
            drift.new_examples, drift.baseline_examples,
        )  # fmt: skip
