"""Runs the ExampleValidator."""

import logging
import os
from typing import Any, Final, NamedTuple

from tfx import types
from tensorflow_data_validation import validate_statistics
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils, writer_utils

from components.example_validator.anomalies import ANOMALIES_FILE, grade_drift, list_anomalies
from components.example_validator.charts import to_png
from components.example_validator.drift import (
    COMPARED_SPLIT,
    DISTANCES,
    DRIFT_FILE,
    Drift,
    raise_thresholds,
    read_drift,
)
from components.example_validator.settings import ExampleValidatorSettings
from components.outputs import all_or_nothing
from modules.serving.saved_model import STATISTICS_FILE, read_bytes

STATISTICS = "statistics"
SCHEMA = "schema"
BASELINE_MODEL = "baseline_model"
ANOMALIES = "anomalies"
SETTINGS = "settings"
CODE_VERSION = "code_version"

CHART_FILE: Final = "drift.png"

_LOG = logging.getLogger("lungseg.validator")
_DRIFT_LOG = logging.getLogger("lungseg.drift")

Artifacts = dict[str, list[types.Artifact]]


class _Baseline(NamedTuple):
    """The version that serves and the statistics of its training data, or why there are none."""

    version: int | None = None
    statistics: statistics_pb2.DatasetFeatureStatisticsList | None = None
    reason: str = ""


class Executor(base_executor.BaseExecutor):
    """Holds the statistics of each split against the schema, and those of the training split against earlier ones."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Validates.

        Args:
            input_dict: `statistics`, with a split `train`; `schema`; `baseline_model`, none or one.
            output_dict: `anomalies`: `SchemaDiff.pb` of each split, as TFX's own component writes it; `drift.json`
                (`components.example_validator.drift.Drift`); where anything was compared, `drift.png`.
            exec_properties: `settings`, of `ExampleValidatorSettings`, as JSON; `code_version`, not read.

        Raises:
            ValueError: the statistics beside the serving model are damaged.
        """
        anomalies = artifact_utils.get_single_instance(output_dict[ANOMALIES])
        with all_or_nothing(anomalies):
            drift = _validate(input_dict, anomalies, exec_properties)
            io_utils.write_string_file(os.path.join(anomalies.uri, DRIFT_FILE), drift.model_dump_json(indent=1))
            if drift.features:
                io_utils.write_bytes_file(os.path.join(anomalies.uri, CHART_FILE), to_png(drift))
        _tell(drift)


def _validate(inputs: Artifacts, anomalies: types.Artifact, exec_properties: dict[str, Any]) -> Drift:
    """Writes the anomalies of each split."""
    settings = ExampleValidatorSettings.model_validate_json(exec_properties[SETTINGS])
    schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(inputs[SCHEMA])))
    artifact = artifact_utils.get_single_instance(inputs[STATISTICS])
    anomalies.split_names = artifact.split_names
    anomalies.span = artifact.span
    baseline = _read_baseline(inputs.get(BASELINE_MODEL, []))
    compared, drift = _compare(_load(artifact, COMPARED_SPLIT), schema, baseline, settings)
    for split in artifact_utils.decode_split_names(artifact.split_names):
        found = compared if split == COMPARED_SPLIT else validate_statistics(_load(artifact, split), schema)
        folder = artifact_utils.get_split_uri([anomalies], split)
        writer_utils.write_anomalies(os.path.join(folder, ANOMALIES_FILE), found)
        for one in list_anomalies(split, found):
            if not one.is_drift:  # told below, with figures
                _LOG.warning("%s", one)
    return drift


def _load(artifact: types.Artifact, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    return stats_artifact_utils.load_statistics(artifact, split).proto()


def _read_baseline(models: list[types.Artifact]) -> _Baseline:
    if not models:
        return _Baseline(reason="there was no model to compare with")
    model = artifact_utils.get_single_instance(models)
    version = model.get_int_custom_property("version")
    path = os.path.join(path_utils.serving_model_path(model.uri), STATISTICS_FILE)
    if not fileio.exists(path):
        return _Baseline(version, reason=f"version {version} was pushed without statistics of its training data")
    try:
        return _Baseline(version, statistics_pb2.DatasetFeatureStatisticsList.FromString(read_bytes(path)))
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        msg = (
            f"'{STATISTICS_FILE}' of version {version} in the serving folder is damaged: "
            "remove it, and drift is not looked for until the next version"
        )
        raise ValueError(msg) from error


def _compare(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    baseline: _Baseline,
    settings: ExampleValidatorSettings,
) -> tuple[anomalies_pb2.Anomalies, Drift]:
    new = statistics.datasets[0]
    if baseline.statistics is None:
        anomalies = validate_statistics(statistics, schema)
        drift = Drift(
            baseline=baseline.version, reason=baseline.reason, severity=settings.drift, new_examples=new.num_examples
        )
        return anomalies, drift
    before = baseline.statistics.datasets[0]
    raised = raise_thresholds(schema, before, new, settings.significance)
    anomalies = validate_statistics(statistics, raised, previous_statistics=baseline.statistics)
    grade_drift(anomalies, settings.drift)
    features = read_drift(anomalies, before, new, settings.significance)
    drift = Drift(
        baseline=baseline.version,
        reason="" if features else "the schema names no feature to compare (drift_comparator)",
        severity=settings.drift,
        baseline_examples=before.num_examples,
        new_examples=new.num_examples,
        features=features,
    )
    return anomalies, drift


def _tell(drift: Drift) -> None:
    if not drift.features:
        _DRIFT_LOG.info("no drift looked for: %s", drift.reason)
    elif not drift.drifted:
        _DRIFT_LOG.info("none since version %d (%d features)", drift.baseline, len(drift.features))
    for one in drift.drifted:
        _DRIFT_LOG.warning(
            "%s has drifted since version %d was trained: %s %.2f, may be %.2f (%d images against %d)",
            one.feature, drift.baseline, DISTANCES[one.kind], one.distance, one.threshold, drift.new_examples,
            drift.baseline_examples,
        )  # fmt: skip
