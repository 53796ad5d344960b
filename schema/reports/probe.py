"""What the ServingProbe tells of an exported model."""

from typing import ClassVar

from schema.reports.base import Part, Report


class ProbeCheck(Part):
    """One check of the export."""

    check: str
    passed: bool
    detail: str


class Latency(Part):
    """How long requests of one size take on the machine that ran the probe."""

    images: int
    """A request."""
    median_ms: float
    p95_ms: float


class ProbeResult(Report):
    """Whether the exported model can be served: all checks have passed."""

    FILE: ClassVar = "probe.json"

    blessed: bool
    checks: list[ProbeCheck]
    latency: list[Latency]
    """By the number of images a request, rising; empty where no image was answered."""
