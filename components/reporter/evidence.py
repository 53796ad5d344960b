"""What a report is made from, as plain data."""

from dataclasses import dataclass, field

import pandas as pd

from components.reporter.settings import ReporterSettings
from schema.reports.blessing import BlessingDecision
from schema.reports.evaluation import Evaluation
from schema.reports.probe import ProbeResult
from schema.reports.run_report import SplitCounts, SplitStatistics, Stage
from schema.reports.statistics import AnomalyReport, DriftReport
from schema.reports.training import TrainingHistory
from schema.reports.validation import ValidationReport


class ReportError(ValueError):
    """What the report needs is missing or broken; one line says what and where."""


@dataclass(frozen=True)
class Data:
    """Where the examples come from and how many there are.

    Attributes:
        spans: Numbers of those that they are from, rising.
        counts: By split.
        policy: Name of the augmentation policy.
        policy_hash: Identifies it by its content.
        albumentations: Version of the library.
    """

    spans: tuple[int, ...]
    counts: dict[str, SplitCounts]
    policy: str
    policy_hash: str
    albumentations: str


@dataclass(frozen=True)
class Evidence:
    """Everything that was found out about a model.

    Attributes:
        settings: Of the run.
        code_version: Identifies the code that made and judged the model.
        images: A row an image of the test sets, with what was measured on it.
        evaluation: What was measured on slices of them.
        history: Of the training.
        data: What it was trained and tested on.
        decision: Whether the model keeps the rules; None where it was not judged.
        probe: Whether its export can be served; None where that was not tried.
        pushed: Whether it was pushed; None where that was not tried.
        version: Under which it is served.
        parent: Version of the model blessed last.
        statistics: By split.
        anomalies: Of those statistics; None where they were not looked for.
        drift: Of the training data since the model blessed last was trained.
        validation: What RecordValidators found in all data sets.
        quarantined: Sheets of the first records that each of them refused, PNG.
        stages: The components.
        schema_hash: Identifies the schema by its content.
        libraries: Versions by name.
    """

    settings: ReporterSettings
    code_version: str
    images: pd.DataFrame
    evaluation: Evaluation
    history: TrainingHistory
    data: Data
    decision: BlessingDecision | None = None
    probe: ProbeResult | None = None
    pushed: bool | None = None
    version: str | None = None
    parent: int | None = None
    statistics: dict[str, SplitStatistics] = field(default_factory=dict)
    anomalies: AnomalyReport | None = None
    drift: DriftReport | None = None
    validation: ValidationReport | None = None
    quarantined: tuple[bytes, ...] = ()
    stages: tuple[Stage, ...] = ()
    schema_hash: str = ""
    libraries: dict[str, str] = field(default_factory=dict)
