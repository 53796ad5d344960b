"""A statistic with its interval, in the one shape that it has from the accumulator to the page."""

from typing import Literal

from schema.reports.base import Part

Effect = Literal["better", "worse", "no difference can be told", "not known"]
"""Whether the interval of a difference leaves out 0, and on which side; `not known` where there is no interval."""


class Estimate(Part):
    """A statistic and its interval; None where there is nothing to take it of, or only one patient."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends of the interval; None where it is not known."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def negated(self) -> "Estimate":
        """Return the estimate of the statistic with the other sign."""
        value, low, high = (None if end is None else -end for end in (self.value, self.high, self.low))
        return Estimate(value=value, low=low, high=high)
