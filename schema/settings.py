"""The base of all settings: validated values of a configuration, which travel as models.

>>> class GateSettings(Settings):
...     max_leaks: int = 0
>>> GateSettings(max_leaks=1).max_leaks
1
"""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen settings that refuse unknown keys; an attribute's docstring is its description in the reference."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
