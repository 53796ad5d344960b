"""How drift is judged: the section `drift` of a configuration.

>>> DriftSettings(severity="error").significance
0.005
"""

from typing import Annotated

from pydantic import Field

from schema.reports.statistics import Severity
from schema.settings import Settings


class DriftSettings(Settings):
    """How drift is judged; the distances that matter stand in the schema (`drift_comparator`)."""

    severity: Severity = "warning"
    """How grave it is that a feature has drifted. What breaks the schema is an error in any case."""
    significance: Annotated[float, Field(gt=0, lt=0.5)] = 0.005
    """How often a feature may seem to have drifted between two samples of one population: what chance exceeds more
    often is no drift, whatever the schema's threshold."""

    # Measured on mean intensity, contrast and lung fraction of 566 chest X-rays of one hospital, drawn at random: by
    # images of the new and of the earlier training split, how often any of the three seemed to drift, and how often it
    # was found when half of the new images had gamma 1.6, or were darker by a fifth of the range:
    #
    #     42, 350     0.7 %    87 %   100 %
    #     60, 500     0.9 %   100 %   100 %
    #     100, 400    0.1 %   100 %   100 %
    #     42, 42      0.0 %    20 %    92 %
