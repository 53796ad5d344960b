"""Runs the DataGate."""

import logging
from pathlib import Path
from typing import Final

from components import base
from components.data_gate.errors import DataError
from components.data_gate.judge import object_to_anomalies, object_to_records
from components.data_gate.settings import GateSettings
from schema.reports.statistics import Anomaly, AnomalyReport, Severity
from schema.reports.validation import SHEET_FILE, GateResult, ValidationReport

_GRAVITY: Final[dict[Severity, int]] = {"error": 0, "warning": 1}

_LOG = logging.getLogger("lungseg.gate")


class Executor(base.Executor[GateSettings]):
    """Holds what the validators found against the limits."""

    SETTINGS = GateSettings

    def run(self, inputs: base.Artifacts, outputs: base.Artifacts, settings: GateSettings) -> None:
        """Judge.

        Args:
            inputs: `validation`, the RecordValidator's report, `anomalies`, the ExampleValidator's, and optionally
                `external_validation`, a report on external test sets.
            outputs: `verdict`: a `GateResult`.
            settings: The limits.

        Raises:
            DataError: Something is over its limit.
        """
        folders = [report.uri for key in ("validation", "external_validation") if (report := inputs.get(key))]
        validations = {folder: ValidationReport.read(folder) for folder in folders}
        of_statistics = inputs["anomalies"].uri
        anomalies = sorted(AnomalyReport.read(of_statistics).anomalies, key=_gravest_first)
        objections = [
            (objection, _evidence(folder))
            for folder, validation in validations.items()
            for objection in object_to_records(validation, settings)
        ]
        objections += [(objection, of_statistics) for objection in object_to_anomalies(anomalies, settings)]
        for objection, evidence in objections:
            _LOG.error("%s; see %s", objection, evidence)
        if objections:
            more = f" ({len(objections) - 1} more over the limits)" if len(objections) > 1 else ""
            first, evidence = objections[0]
            raise DataError(f"{first}; see {evidence}{more}", first.case + more)
        sets = [set_ for validation in validations.values() for set_ in validation.sets]
        GateResult(
            limits=settings.model_dump(mode="json"),
            records=sum(set_.read for set_ in sets),
            quarantined=sum(set_.quarantined for set_ in sets),
            leaks=sum(validation.leaks.total for validation in validations.values()),
            anomalies=anomalies,
        ).write(outputs["verdict"].uri)


def _gravest_first(anomaly: Anomaly) -> tuple[int, str, str]:
    return _GRAVITY[anomaly.severity], anomaly.feature, anomaly.split


def _evidence(folder: str) -> Path:
    """Return what to look at: the pictures of refused records, where there are any."""
    sheet = Path(folder, SHEET_FILE)
    return sheet if sheet.exists() else Path(folder, ValidationReport.FILE)
