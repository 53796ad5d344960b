"""What is shuffled, as bytes: engines that shuffle in memory would hold objects, which take several times as much."""

from typing import Any, Final

from apache_beam.coders import PickleCoder

_CODER: Final = PickleCoder()


def pack(element: Any) -> bytes:
    """Any element, also one with names that are no UTF-8 text, which Beam's own coders refuse."""
    return bytes(_CODER.encode(element))


def unpack(packed: bytes) -> Any:
    """What was packed."""
    return _CODER.decode(packed)
