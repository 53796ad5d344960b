"""How far values have moved from earlier statistics, measured without TFDV, which takes seconds to import.

>>> [drift] = compare_values(statistics, {"mean_intensity": [0.2, 0.25, 0.3]})
>>> drift.drifted, drift.noise
(False, 1.0)

The distance, its thresholds and the allowance for chance are those of the ExampleValidator. That has TFDV compare two
histograms, each with edges of its own; here the values themselves are known, and are counted between the edges of the
baseline's, so that chance moves fewer buckets. As these edges are where the baseline's values happen to end,
chance exceeds the allowance in 1.1 % of samples where its significance says 0.5 %.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.example_validator.drift import by_name, read_distribution, sort_drifts
from components.example_validator.noise import jensen_shannon_noise
from components.example_validator.settings import DriftSettings
from schema.features import SCHEMA_FILE
from schema.reports.statistics import Distribution, FeatureDrift

ALL: Final = 1.0
"""The largest divergence, in bits: that of distributions that have nothing in common."""


def compare_values(
    baseline: statistics_pb2.DatasetFeatureStatistics, values: Mapping[str, Sequence[float]]
) -> tuple[FeatureDrift, ...]:
    """Compare values with earlier statistics; those that drifted first, then by distance over threshold.

    Args:
        baseline: Of the earlier examples.
        values: By feature, those of all later examples. Features that the baseline lacks are passed over, and those
            whose divergence the schema does not bound.
    """
    before = by_name(baseline)
    schema = text_format.Parse(SCHEMA_FILE.read_text(), schema_pb2.Schema())
    return sort_drifts(
        _compare(
            feature.name,
            feature.drift_comparator.jensen_shannon_divergence.threshold,
            read_distribution(before[feature.name]),
            values[feature.name],
            (baseline.num_examples, len(values[feature.name])),
        )
        for feature in schema.feature
        if feature.name in values
        and feature.name in before
        and feature.drift_comparator.HasField("jensen_shannon_divergence")
    )


def _compare(
    name: str, threshold: float, baseline: Distribution, values: Sequence[float], examples: tuple[int, int]
) -> FeatureDrift:
    before, new = _count(baseline, np.asarray(values, np.float32).astype(np.float64))  # as records store them
    distance = min(ALL, float(jensenshannon(before, new.shares, base=2)) ** 2)
    degrees = sum(map(any, zip(before, new.shares, strict=True))) - 1
    noise = min(ALL, jensen_shannon_noise(degrees, examples, DriftSettings().significance))
    return FeatureDrift(
        feature=name,
        kind="jensen_shannon_divergence",
        distance=distance,
        threshold=max(threshold, noise),
        noise=noise,
        drifted=distance > max(threshold, noise),
        baseline=baseline,
        new=new,
    )


def _count(baseline: Distribution, values: NDArray[np.float64]) -> tuple[tuple[float, ...], Distribution]:
    """Count values between the edges of the baseline, and in two more buckets what lies before and behind them.

    Returns:
        The baseline's shares of those buckets, and the distribution of the values.
    """
    low, high = baseline.edges[0], baseline.edges[-1]
    # One bucket, without a width, where all values of the baseline are the same.
    starts, bucket_of = np.unique(baseline.edges[:-1], return_inverse=True)
    bounds = np.array([-np.inf, *starts, np.nextafter(high, np.inf), np.inf])  # what is at the last edge is inside
    shares = np.histogram(values, bounds)[0] / len(values)
    edges = (min(low, values.min()), *starts, high, max(high, values.max()))
    before = (0.0, *np.bincount(bucket_of, baseline.shares), 0.0)
    return before, Distribution(shares=tuple(shares), edges=edges)
