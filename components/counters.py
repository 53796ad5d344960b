"""Beam counters, by which components make sure that nothing got lost on the way.

Runners have been seen to lose records without an error, so whatever copies, transforms or judges records is reconciled.
"""

from collections import Counter
from typing import TypeVar

import apache_beam as beam

Element = TypeVar("Element")


def count(element: Element, namespace: str, name: str, number: int = 1) -> Element:
    """Add to a counter and pass the element on."""
    beam.metrics.Metrics.counter(namespace, name).inc(number)
    return element


def read_counters(result: beam.runners.runner.PipelineResult, namespace: str) -> Counter[str]:
    """Return the counters of a namespace after a run, by name, summed over steps; 0 for those that never counted."""
    counts: Counter[str] = Counter()
    query = beam.metrics.MetricsFilter().with_namespace(namespace)
    for counter in result.metrics().query(query)["counters"]:
        counts[counter.key.metric.name] += int(counter.result)
    return counts


def reconcile(place: str, read: int, accounted: dict[str, int], *, if_empty: str = "") -> None:
    """Make sure that all records that were read are accounted for.

    Args:
        place: Where they were read, such as `split 'train'`.
        read: How many there were.
        accounted: What became of them, and of how many.
        if_empty: What to do where there are none; empty where there need not be any.

    Raises:
        RuntimeError: There are none, or some are not accounted for.
    """
    if read == 0 and if_empty:
        raise RuntimeError(f"{place} has no records: {if_empty}")
    if read != sum(accounted.values()):
        became = ", ".join(f"{number} {what}" for what, number in accounted.items())
        raise RuntimeError(f"{place} lost records: {read} read, {became}")
