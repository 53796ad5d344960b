"""What was probably meant by a name that is not known.

>>> nearest("folde", ["folder", "csv"])
'folder'
>>> did_you_mean("folde", ["folder", "csv"])
"; did you mean 'folder'?"
"""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], similarity: float = 0.6) -> str | None:
    """Return the known name that is most like a name.

    Args:
        name: as given.
        known: the names to choose from.
        similarity: the least that is like enough, from 0 (any name) to 1 (the same name).

    Returns:
        One of the known names; None where none is like enough, or none is known.
    """
    matches = get_close_matches(name, list(known), n=1, cutoff=similarity)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Iterable[str], similarity: float = 0.6) -> str:
    """Return the end of a message that says that a name is unknown; "" where no known name is like it."""
    meant = nearest(name, known, similarity)
    return f"; did you mean '{meant}'?" if meant else ""
