"""Reads two reports, and raises or gives a verdict."""

import json
import logging
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.data_gate.errors import DataError
from components.data_gate.judge import object_to_anomalies, object_to_records
from components.data_gate.settings import GateSettings
from components.example_validator.anomalies import Anomaly, read_anomalies
from components.outputs import all_or_nothing
from components.record_validator.report import SHEET, VALIDATION

VALIDATION_REPORT = "validation"
EXTERNAL_VALIDATION = "external_validation"
ANOMALIES = "anomalies"
VERDICT = "verdict"
SETTINGS = "settings"
CODE_VERSION = "code_version"

VERDICT_FILE = "verdict.json"

_LOG = logging.getLogger("lungseg.gate")


class Executor(base_executor.BaseExecutor):
    """Holds what the validators found against the limits."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Judges.

        Args:
            input_dict: `validation`, the RecordValidator's report, `anomalies`, the ExampleValidator's, and optionally
                `external_validation`, a report on external test sets.
            output_dict: `verdict`: `verdict.json`, with the `limits`, what was `read`, `quarantined` and `leaked`, and
                all `anomalies`, also those that stop nothing.
            exec_properties: `settings`, as JSON of `GateSettings`, and `code_version`, which is not read.

        Raises:
            DataError: something is over its limit.
        """
        settings = GateSettings.model_validate_json(exec_properties[SETTINGS])
        verdict = artifact_utils.get_single_instance(output_dict[VERDICT])
        reports = [*input_dict[VALIDATION_REPORT], *input_dict.get(EXTERNAL_VALIDATION, [])]
        validations = {report.uri: _read_json(os.path.join(report.uri, VALIDATION)) for report in reports}
        anomalies = _read_anomalies(input_dict[ANOMALIES])
        found = [
            f"{objection}; see {_evidence(uri)}"
            for uri, validation in validations.items()
            for objection in object_to_records(validation, settings)
        ]
        found += [
            f"{objection}; see {artifact_utils.get_single_instance(input_dict[ANOMALIES]).uri}"
            for objection in object_to_anomalies(anomalies, settings)
        ]
        for objection in found:
            _LOG.error("%s", objection)
        if found:
            more = f" ({len(found) - 1} more over the limits)" if len(found) > 1 else ""
            raise DataError(found[0] + more)
        with all_or_nothing(verdict):
            told = json.dumps(_tell(list(validations.values()), anomalies, settings), indent=1)
            io_utils.write_string_file(os.path.join(verdict.uri, VERDICT_FILE), told)


def _read_json(path: str) -> dict[str, Any]:
    with fileio.open(path) as file:
        return json.loads(file.read())


def _read_anomalies(artifacts: list[types.Artifact]) -> list[Anomaly]:
    """The gravest first."""
    found = read_anomalies(artifact_utils.get_single_instance(artifacts))
    return sorted(found, key=lambda one: (one.severity, one.feature, one.split))


def _evidence(uri: str) -> str:
    sheet = os.path.join(uri, SHEET)
    return sheet if fileio.exists(sheet) else os.path.join(uri, VALIDATION)


def _tell(validations: list[dict[str, Any]], anomalies: list[Anomaly], settings: GateSettings) -> dict[str, Any]:
    sets = [one for validation in validations for one in validation["sets"]]
    return {
        "limits": settings.model_dump(mode="json"),
        "read": sum(one["read"] for one in sets),
        "quarantined": sum(one["quarantined"] for one in sets),
        "leaks": sum(validation["leaks"]["total"] for validation in validations),
        "anomalies": [one.model_dump() for one in anomalies],
    }
