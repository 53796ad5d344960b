"""What the ExampleValidator tells: anomalies of the statistics, and drift since the serving model was trained."""

from typing import ClassVar, Final, Literal

from schema.reports.base import Part, Report

COMPARED_SPLIT: Final = "train"
"""The split whose drift is looked for: what the serving model learned from, and what the next one will."""
DRIFT_CHART_FILE: Final = "drift.png"

Severity = Literal["error", "warning"]

Distance = Literal["jensen_shannon_divergence", "infinity_norm"]
"""Distances of distributions, by their names in the schema."""
DISTANCE_NAMES: Final[dict[Distance, str]] = {
    "jensen_shannon_divergence": "Jensen-Shannon divergence",
    "infinity_norm": "largest change of a share",
}
"""The same for people."""


class Anomaly(Part):
    """What is wrong with a feature in a split, in TFDV's words."""

    split: str
    feature: str
    """Empty for the split as a whole."""
    severity: Severity
    is_drift: bool
    """Whether the feature keeps to the schema, and has only moved since earlier data."""
    text: str

    def __str__(self) -> str:
        of_feature = f", {self.feature}" if self.feature else ""
        return f"split '{self.split}'{of_feature}: {self.text}"


class AnomalyReport(Report):
    """The anomalies of all splits, in the order of those; of a split, those of the whole first, then by feature."""

    FILE: ClassVar = "anomalies.json"

    anomalies: list[Anomaly]


class Distribution(Part):
    """A feature in a set of examples."""

    shares: tuple[float, ...]
    """Of the examples, 0-1, by bucket or by category."""
    edges: tuple[float, ...] = ()
    """Of the buckets, one more than those; empty for categories."""
    values: tuple[str, ...] = ()
    """Of the categories, the most frequent first; empty for numbers."""


class FeatureDrift(Part):
    """How far a feature has moved."""

    feature: str
    kind: Distance
    distance: float
    """0-1."""
    threshold: float
    """What the distance may be."""
    noise: float
    """What chance makes of it in samples of this size; the threshold is never below."""
    drifted: bool
    """Whether the distance is over the threshold."""
    baseline: Distribution
    """Of the earlier examples."""
    new: Distribution
    """Of the later ones."""


class Drift(Part):
    """How far the features of examples have moved from those of earlier ones."""

    reason: str = ""
    """Why nothing can be told of drift; empty where it can."""
    baseline_examples: int = 0
    new_examples: int
    features: tuple[FeatureDrift, ...] = ()
    """Those that drifted first, then by distance over threshold."""

    @property
    def drifted(self) -> list[FeatureDrift]:
        """The features that have moved further than they may."""
        return [feature for feature in self.features if feature.drifted]


class DriftReport(Drift, Report):
    """How far the features of training data have moved since the serving model was trained."""

    FILE: ClassVar = "drift.json"

    baseline: int | None
    """The version that serves; None where there is none."""
    severity: Severity
    """How grave a drift is."""
