"""Bounds how much is in memory at a time, whatever the number of threads.

>>> with PIXELS.claim(4000 * 4000):
...     decode()
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final


class Budget:
    """A semaphore whose holders count by what they claim."""

    def __init__(self, limit: int) -> None:
        """Takes the most that may be claimed at a time."""
        self.limit: Final = limit
        self._free = limit
        self._changed = threading.Condition()

    @contextmanager
    def claim(self, amount: int) -> Iterator["Claim"]:
        """Waits until there is room; what is above the limit has the budget to itself."""
        claim = Claim(self, min(amount, self.limit))
        with self._changed:
            self._changed.wait_for(lambda: self._free >= claim.amount)
            self._free -= claim.amount
        try:
            yield claim
        finally:
            claim.shrink(0)

    def give_back(self, amount: int) -> None:
        """Makes room for others."""
        with self._changed:
            self._free += amount
            self._changed.notify_all()


class Claim:
    """What one holder has of a budget."""

    def __init__(self, budget: Budget, amount: int) -> None:
        """Takes the budget and what is had of it."""
        self._budget = budget
        self.amount = amount

    def shrink(self, amount: int) -> None:
        """Gives back what is not needed; a claim never grows, so that holders cannot wait for one another."""
        kept = min(amount, self.amount)
        self._budget.give_back(self.amount - kept)
        self.amount = kept


PIXELS: Final = Budget(2**25)
"""Pixels of image files that a process decodes at a time: two of 4,000 x 4,000."""
