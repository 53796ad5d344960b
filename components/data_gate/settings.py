"""What stops a run.

>>> GateSettings().max_leaks
0
"""

from typing import Annotated, Literal

from pydantic import Field

from schema.settings import Settings


class GateSettings(Settings):
    """Limits on what the RecordValidator and the ExampleValidator report."""

    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of the records in quarantine, leaks left aside, in all splits together and in each external set."""
    max_leaks: Annotated[int, Field(ge=0)] = 0
    """How many images and patients may be in two data sets."""
    severity: Literal["error", "warning", "never"] = "error"
    """From which severity an anomaly of the statistics stops the run."""
