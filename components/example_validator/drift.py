"""What has become different from one set of examples to another, as told by their statistics.

TFDV measures: `raise_thresholds` prepares the schema for its `validate_statistics`, `read_drift` reads what it found.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.example_validator.noise import jensen_shannon_noise, l_infinity_noise
from schema.reports.statistics import Distance, Distribution, FeatureDrift

_DISTANCES: Final[dict[int, Distance]] = {
    anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE: "jensen_shannon_divergence",
    anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY: "infinity_norm",
}


def raise_thresholds(
    schema: schema_pb2.Schema,
    baseline: statistics_pb2.DatasetFeatureStatistics,
    new: statistics_pb2.DatasetFeatureStatistics,
    significance: float,
) -> schema_pb2.Schema:
    """Return the schema with each threshold of a drift comparator where chance seldom reaches it.

    Features that either of the statistics lacks lose their comparators: an earlier release may not have known them.

    Args:
        schema: its thresholds are the distances that matter, however many examples there are.
        baseline: of the earlier examples.
        new: of the later ones.
        significance: how often chance may exceed the threshold.
    """
    raised = schema_pb2.Schema()
    raised.CopyFrom(schema)
    before, after = by_name(baseline), by_name(new)
    examples = (baseline.num_examples, new.num_examples)
    for feature in raised.feature:
        if feature.name not in before or feature.name not in after:
            feature.ClearField("drift_comparator")
            continue
        both = read_distribution(before[feature.name]), read_distribution(after[feature.name])
        for field, comparator in feature.drift_comparator.ListFields():
            noise = _noise(field.name, *both, examples, significance)
            comparator.threshold = max(comparator.threshold, noise)
    return raised


def read_drift(
    anomalies: anomalies_pb2.Anomalies,
    baseline: statistics_pb2.DatasetFeatureStatistics,
    new: statistics_pb2.DatasetFeatureStatistics,
    significance: float,
) -> tuple[FeatureDrift, ...]:
    """Read the distances that TFDV measured; those that drifted first, then by distance over threshold.

    Args:
        anomalies: of the later examples, with thresholds as `raise_thresholds` leaves them.
        baseline: of the earlier examples.
        new: of the later ones.
        significance: as of `raise_thresholds`.
    """
    before, after = by_name(baseline), by_name(new)
    examples = (baseline.num_examples, new.num_examples)
    drifts = []
    for info in anomalies.drift_skew_info:
        (name,) = info.path.step
        both = read_distribution(before[name]), read_distribution(after[name])
        drifts += [
            FeatureDrift(
                feature=name,
                kind=_DISTANCES[measured.type],
                distance=measured.value,
                threshold=measured.threshold,
                noise=_noise(_DISTANCES[measured.type], *both, examples, significance),
                drifted=measured.value > measured.threshold,
                baseline=both[0],
                new=both[1],
            )
            for measured in info.drift_measurements
        ]
    return sort_drifts(drifts)


def sort_drifts(drifts: Iterable[FeatureDrift]) -> tuple[FeatureDrift, ...]:
    """Put those that drifted first, then order them by distance over threshold."""
    return tuple(
        sorted(drifts, key=lambda drift: (not drift.drifted, -drift.distance / drift.threshold, drift.feature))
    )


def _noise(
    kind: Distance, baseline: Distribution, new: Distribution, examples: tuple[int, int], significance: float
) -> float:
    if kind == "jensen_shannon_divergence":
        # TFDV lays two histograms over each other whose edges differ, so what is free to vary are the buckets of both
        # that hold anything, less one each. At 10 buckets that is a little too much: real images exceed it half as
        # often as they may with 42 examples against 350, and never with 42 against 42.
        degrees = sum(sum(share > 0 for share in distribution.shares) - 1 for distribution in (baseline, new))
        noise = jensen_shannon_noise(degrees, examples, significance)
    else:
        before, after = (
            dict(zip(distribution.values, distribution.shares, strict=True)) for distribution in (baseline, new)
        )
        counts = [
            (before.get(value, 0.0) * examples[0], after.get(value, 0.0) * examples[1]) for value in {*before, *after}
        ]
        noise = l_infinity_noise(counts, examples, significance)
    return min(1.0, noise)


def by_name(statistics: statistics_pb2.DatasetFeatureStatistics) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    """Return the statistics of features by their names."""
    return {feature.path.step[0]: feature for feature in statistics.features}


def read_distribution(feature: statistics_pb2.FeatureNameStatistics) -> Distribution:
    """Read the categories or the histogram of a feature."""
    if feature.HasField("string_stats"):
        buckets = feature.string_stats.rank_histogram.buckets
        return Distribution(shares=_shares(buckets), values=tuple(bucket.label for bucket in buckets))
    histogram = next(
        histogram for histogram in feature.num_stats.histograms if histogram.type == statistics_pb2.Histogram.STANDARD
    )
    edges = [bucket.low_value for bucket in histogram.buckets] + [histogram.buckets[-1].high_value]
    return Distribution(shares=_shares(histogram.buckets), edges=tuple(edges))


def _shares(buckets: Sequence[Any]) -> tuple[float, ...]:
    total = sum(bucket.sample_count for bucket in buckets)
    return tuple(bucket.sample_count / total for bucket in buckets)
