"""Pseudonyms in place of names and identifiers.

>>> pseudonym(b"0123456789abcdef", "DOE^JOHN")
'69f16290762b58d7'
"""

import hashlib
import hmac
import os
from pathlib import Path
from typing import Final

from pipeline.errors import UserError

KEY_VARIABLE: Final = "LUNGSEG_PATIENT_KEY"
"""The environment variable that may hold the key."""

_SHORTEST_KEY: Final = 16
_PSEUDONYM_LENGTH: Final = 16


def pseudonym(key: bytes, text: str) -> str:
    """Hashes a name or identifier, so that only a holder of the key can tell whose it is.

    The same key and text give the same pseudonym on any machine: a patient's images stay together over spans.
    Without a key a hash would not hide anything, for patient numbers can be tried one by one.

    Returns:
        The first 64 bits of HMAC-SHA256 (RFC 2104) as 16 hexadecimal digits. Among a million patients, two share a
        pseudonym with a probability of 3e-8.
    """
    # Headers hold bytes that are no text; Python has lone surrogates for these.
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:_PSEUDONYM_LENGTH]


def load_key(path: Path | None) -> bytes | None:
    """Reads the key of the pseudonyms, without white space at its ends.

    Args:
        path: of a file that holds it; where None, the environment variable `KEY_VARIABLE` is read.

    Returns:
        At least 16 bytes; None where neither is given.

    Raises:
        UserError: the file cannot be read, or the key is too short.
    """
    if path is not None:
        place = str(path)
        try:
            key = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read the patient key {path}: {error.strerror}") from error
    elif KEY_VARIABLE in os.environ:
        place, key = KEY_VARIABLE, os.environb[KEY_VARIABLE.encode()]
    else:
        return None
    key = key.strip()
    if len(key) < _SHORTEST_KEY:
        raise UserError(
            f"{place}: the patient key has {len(key)} bytes, which can be guessed: it must have {_SHORTEST_KEY} or more"
        )
    return key
