"""What a report is made from, as plain data."""

import math
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd

from schema.reports.blessing import BlessingDecision
from schema.reports.evaluation import Evaluation
from schema.reports.statistics import Anomaly, DriftReport

RUN: Final = "run"
STUDY: Final = "study"

History = dict[str, list[float | None]]
"""Figures by name, one an epoch."""


class ReportError(ValueError):
    """What the report needs is missing or broken; one line says what and where."""


@dataclass(frozen=True)
class SplitStatistics:
    """Statistics of one split before it was augmented.

    Attributes:
        examples: how many there are.
        numbers: of each numeric feature its mean and its standard deviation.
        categories: of each text feature how often each value occurs.
    """

    examples: int
    numbers: dict[str, tuple[float, float]]
    categories: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Data:
    """Where the examples come from and how many there are.

    Attributes:
        spans: numbers of those that they are from, rising.
        counts: by split the number of `originals` and of `copies`; None where it is not known.
        policy: name of the augmentation policy.
        policy_hash: identifies it by its content.
        albumentations: version of the library.
    """

    spans: tuple[int, ...]
    counts: dict[str, dict[str, int | None]]
    policy: str
    policy_hash: str
    albumentations: str


@dataclass(frozen=True)
class Stage:
    """A component that led to the model.

    Attributes:
        name: of the component.
        seconds: how long it took; None where that is not known.
        finished: when it was done, ISO 8601 in UTC; None where that is not known.
    """

    name: str
    seconds: float | None
    finished: str | None


@dataclass(frozen=True)
class Evidence:
    """Everything that was found out about a model.

    Attributes:
        kind: `RUN` judges one model; `STUDY` compares a training with augmented copies to one without.
        settings: of the run, by section.
        code_version: identifies the code.
        images: a row an image of the test sets, with what was measured on it.
        evaluation: what was measured on slices of them.
        history: of the training.
        data: what it was trained and tested on.
        other_history: in a study, of the training on originals only.
        decision: whether the model keeps the rules; None where it was not judged.
        probe: whether its export can be served; None where that was not tried.
        pushed: whether it was pushed; None where that was not tried.
        version: under which it is served.
        parent: version of the model blessed last.
        statistics: by split.
        anomalies: of those statistics; None where they were not looked for.
        drift: of the training data since the model blessed last was trained.
        validation: what RecordValidators found, as it stands in `validation.json`.
        quarantined: sheets of the first records that each of them refused, PNG.
        stages: the components.
        schema: identifies the schema by its content.
        libraries: versions by name.
    """

    kind: str
    settings: dict[str, Any]
    code_version: str
    images: pd.DataFrame
    evaluation: Evaluation
    history: History
    data: Data
    other_history: History | None = None
    decision: BlessingDecision | None = None
    probe: dict[str, Any] | None = None
    pushed: bool | None = None
    version: str | None = None
    parent: int | None = None
    statistics: dict[str, SplitStatistics] = field(default_factory=dict)
    anomalies: tuple[Anomaly, ...] | None = None
    drift: DriftReport | None = None
    validation: dict[str, Any] | None = None
    quarantined: tuple[bytes, ...] = ()
    stages: tuple[Stage, ...] = ()
    schema: str = ""
    libraries: dict[str, str] = field(default_factory=dict)


def finite(value: Any) -> Any:
    """The same with None for every number that JSON does not know: NaN and the infinities."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
