"""Beam counters, by which components make sure that nothing got lost on the way."""

from collections import Counter
from typing import TypeVar

import apache_beam as beam

Element = TypeVar("Element")


def count(element: Element, namespace: str, name: str, number: int = 1) -> Element:
    """Adds to a counter and passes the element on."""
    beam.metrics.Metrics.counter(namespace, name).inc(number)
    return element


def read_counters(result: beam.runners.runner.PipelineResult, namespace: str) -> Counter[str]:
    """The counters of a namespace after a run, by name, summed over steps; 0 for those that never counted."""
    counts: Counter[str] = Counter()
    query = beam.metrics.MetricsFilter().with_namespace(namespace)
    for counter in result.metrics().query(query)["counters"]:
        counts[counter.key.metric.name] += int(counter.result)
    return counts
