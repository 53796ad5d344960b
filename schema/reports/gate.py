"""What the DataGate tells of data that are fit to train on."""

from typing import ClassVar

from pydantic import JsonValue

from schema.reports.base import Report
from schema.reports.statistics import Anomaly


class GateResult(Report):
    """What was held against which limits, where nothing is over one."""

    FILE: ClassVar = "verdict.json"

    limits: dict[str, JsonValue]
    """The settings of the gate, as `config.yaml` has them."""
    records: int
    """Of all splits and external sets, before any went to quarantine."""
    quarantined: int
    leaks: int
    anomalies: list[Anomaly]
    """All of them, also those that stop nothing, the gravest first."""
