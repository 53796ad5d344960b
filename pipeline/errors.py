"""What went wrong, told in one line."""

import re
from typing import Final

FAILED: Final = 1
WRONG_INPUT: Final = 2
NOT_BLESSED: Final = 3
"""Exit codes; the last one also where the DataGate stops a run."""

# Beam puts the class before an error's message and the name of its step behind it.
_BEAM_FRAME = re.compile(r"^(?:[A-Za-z_]\w*\.)+\w+: | \[while running.*")
# The metadata store puts the statement that failed behind its reason, and what that was for before it.
_STATEMENT = re.compile(r"^.*Error when executing query: (.*?)\s+query: .*", re.DOTALL)
_PLACE = re.compile(
    "No space left on device|disk is full|Disk quota exceeded|Read-only file system|write a readonly database|"
    "unable to open database file"
)

START_AGAIN: Final = "make room or rights there and start again: what is done is kept"
"""What helps where a place can be written no longer."""


def one_line(error: object) -> str:
    """Return an error's message without its line breaks; the name of its class where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


class UserError(Exception):
    """Wrong input or configuration: the command line prints the message alone and exits with 2.

    The message is one line that says what is wrong, where, and what to do.
    """


class ComponentError(Exception):
    """A component failed; the message is one line that names it and the cause."""

    def __init__(self, component_id: str, cause: Exception) -> None:
        """Take the id of the component and what it raised."""
        lines = [line.strip() for line in _STATEMENT.sub(r"\1", str(cause)).splitlines() if line.strip()]
        problem = _BEAM_FRAME.sub("", lines[0]) if lines else type(cause).__name__
        advice = f"; {START_AGAIN}" if _PLACE.search(problem) else ""
        super().__init__(f"{component_id} failed: {problem}{advice}")
        self.component_id = component_id
