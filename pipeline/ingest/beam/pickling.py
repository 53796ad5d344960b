"""Packs what is shuffled as bytes: engines that shuffle in memory would hold objects, which take several times more."""

from typing import Any, Final

from apache_beam.coders import PickleCoder

_CODER: Final = PickleCoder()


def pack(element: Any) -> bytes:
    """Return any element as bytes, also one with names that are no UTF-8 text, which Beam's own coders refuse."""
    return bytes(_CODER.encode(element))


def unpack(packed: bytes) -> Any:
    """Return the element that was packed."""
    return _CODER.decode(packed)
