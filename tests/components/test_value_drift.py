"""The drift of values: TFDV's distance between the same buckets, and no more often than chance may make one."""

from collections.abc import Sequence

import tfx.components  # noqa: F401  # before TFDV, see pyproject.toml
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tensorflow_data_validation import validate_statistics
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.example_validator.values import compare_values
from schema.reports.statistics import Distribution, FeatureDrift

NAME = "mean_intensity"

Values = Sequence[float] | NDArray[np.float64]


def with_histogram(
    distribution: Distribution, examples: int, name: str = NAME
) -> statistics_pb2.DatasetFeatureStatistics:
    """Statistics as TFDV has them, of a distribution that is known."""
    data = statistics_pb2.DatasetFeatureStatistics(num_examples=examples)
    feature = data.features.add(type=statistics_pb2.FeatureNameStatistics.FLOAT)
    feature.path.step.append(name)
    feature.num_stats.common_stats.num_non_missing = examples
    histogram = feature.num_stats.histograms.add(type=statistics_pb2.Histogram.STANDARD)
    for share, low, high in zip(distribution.shares, distribution.edges, distribution.edges[1:], strict=False):
        histogram.buckets.add(low_value=low, high_value=high, sample_count=share * examples)
    return data


def statistics_of(values: Values, name: str = NAME) -> statistics_pb2.DatasetFeatureStatistics:
    shares, edges = np.histogram(np.asarray(values, np.float32), range=(min(values), max(values)))
    if min(values) == max(values):
        return with_histogram(Distribution(shares=(1,), edges=(values[0], values[0])), len(values), name)
    return with_histogram(Distribution(shares=tuple(shares / len(values)), edges=tuple(edges)), len(values), name)


def distance_by_tfdv(drift: FeatureDrift) -> float:
    schema = schema_pb2.Schema()
    feature = schema.feature.add(name=NAME, type=schema_pb2.FLOAT)
    feature.drift_comparator.jensen_shannon_divergence.threshold = 0.5
    new, baseline = (
        statistics_pb2.DatasetFeatureStatisticsList(datasets=[with_histogram(distribution, examples)])
        for distribution, examples in ((drift.new, 50), (drift.baseline, 300))
    )
    anomalies = validate_statistics(new, schema, previous_statistics=baseline)
    return float(anomalies.drift_skew_info[0].drift_measurements[0].value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (np.linspace(0.2, 0.8, 300), np.linspace(0.2, 0.8, 50)),
        (np.linspace(0.2, 0.8, 300), np.linspace(0.1, 0.9, 50)),
        (np.linspace(0.2, 0.8, 300), np.linspace(0.7, 0.75, 50)),
        (np.linspace(0.2, 0.4, 300), np.linspace(0.5, 0.6, 50)),
        ([0.5] * 300, [0.5] * 40 + [0.25] * 5 + [0.75] * 5),
        ([0.5] * 300, [0.25] * 50),
    ],
    ids=["the same", "wider", "narrower", "elsewhere", "mostly one value", "another value"],
)
def test_the_distance_is_tfdvs(before: Sequence[float], after: Sequence[float]) -> None:
    (drift,) = compare_values(statistics_of(before), {NAME: after})
    assert sum(drift.new.shares) == pytest.approx(1)
    assert drift.distance == pytest.approx(distance_by_tfdv(drift), abs=1e-6)


def test_what_is_at_the_ends_of_the_baseline_lies_in_it() -> None:
    values = [0.1, 0.35, 0.7]
    (drift,) = compare_values(statistics_of(values), {NAME: values})
    assert drift.new.shares[0] == drift.new.shares[-1] == 0
    assert drift.distance == pytest.approx(0, abs=1e-6)


def test_one_value_and_a_few_others_are_no_drift() -> None:
    """All images of the training have one size, and one in fifty has another now."""
    baseline = statistics_of([512] * 300, "width")
    (drift,) = compare_values(baseline, {"width": [512] * 49 + [700]})
    assert not drift.drifted
    (drift,) = compare_values(baseline, {"width": [700] * 50})
    assert (drift.drifted, drift.distance) == (True, 1)


@pytest.mark.parametrize("number", [6, 48, 400])
def test_samples_of_one_population_seldom_seem_to_drift(number: int) -> None:
    draw = np.random.default_rng(7)
    drifts: list[FeatureDrift] = []
    for _ in range(10):
        baseline = statistics_of(draw.normal(0.6, 0.05, 350))
        drifts += [compare_values(baseline, {NAME: draw.normal(0.6, 0.05, number).tolist()})[0] for _ in range(40)]
    # A threshold of the schema may be above chance. Of 400, 4 or 5 are to be expected, 13 once in 1,000 tests.
    assert sum(drift.distance > drift.noise for drift in drifts) < 13


def test_drift_is_found_by_the_dozen() -> None:
    draw = np.random.default_rng(7)
    baseline = statistics_of(draw.normal(0.6, 0.05, 350))
    assert all(compare_values(baseline, {NAME: draw.normal(0.45, 0.05, 24).tolist()})[0].drifted for _ in range(40))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_few_values_never_drift(values: list[float]) -> None:
    baseline = with_histogram(Distribution(shares=(0.1,) * 10, edges=tuple(np.linspace(0.4, 0.6, 11))), 300)
    (drift,) = compare_values(baseline, {NAME: values})
    assert not drift.drifted
    assert 0 <= drift.distance <= 1


def test_what_the_baseline_lacks_and_what_the_schema_does_not_bound_is_passed_over() -> None:
    assert compare_values(statistics_of([0.1, 0.2]), {"width": [1, 2], "is_augmented": [0, 0]}) == ()
