"""What records are called and whom they show, by pseudonyms where a file's header tells it.

>>> pseudonym(b"0123456789abcdef", "DOE^JOHN")
'69f16290762b58d7'
"""

import hashlib
import hmac
import os
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.errors import UserError
from pipeline.ingest.formats.base import DicomMetadata, ImageError
from pipeline.ingest.metadata import Description, UnnamedPatient, read_patient

KEY_VARIABLE: Final = "LUNGSEG_PATIENT_KEY"
"""The environment variable that may hold the key."""

_SHORTEST_KEY: Final = 16
_PSEUDONYM_LENGTH: Final = 16


class Identity(NamedTuple):
    """The name of a sample's records, and what is known of them."""

    image_id: str
    description: Description


def identify_by_name(image_id: str, description: Description) -> Identity:
    """Identify a sample whose files tell nothing: without a patient's name it shows a patient of its own.

    Raises:
        ImageError: Its table has a column for patients, and names none.
    """
    if isinstance(description, UnnamedPatient):
        raise ImageError(
            "has no patient, for whom its table has a column: name one there, or give --unnamed-patients own"
        )
    return Identity(image_id, replace(description, patient_id=description.patient_id or image_id))


def identify_by_header(
    uid: str, metadata: DicomMetadata, description: Description, key: bytes, *, without_uid: str, without_patient: str
) -> Identity:
    """Identify a sample by its DICOM header, for a UID leads to a person, and file names are often made of it.

    Args:
        uid: Of the image or series, as in the header.
        metadata: What the header tells.
        description: What is known beside; the header gives what this leaves open.
        key: Of the pseudonyms.
        without_uid: What is wrong where there is no UID; follows the sample's name.
        without_patient: The same where nothing names the patient.

    Raises:
        ImageError: There is no UID, or no patient.
    """
    if not uid:
        raise ImageError(without_uid)
    if not (description.patient_id or read_patient(metadata.patient_id)):
        raise ImageError(without_patient)
    header = Description(
        patient_id=pseudonym(key, metadata.patient_id),
        source=description.source,
        view=metadata.view,
        sex=metadata.sex,
        age=metadata.age,
        pixel_spacing=metadata.pixel_spacing,
    )
    return Identity(pseudonym(key, uid), description.or_else(header))


def pseudonym(key: bytes, text: str) -> str:
    """Hash a name or identifier, so that only a holder of the key can tell whose it is.

    The same key and text give the same pseudonym on any machine: a patient's images stay together over spans.
    Without a key a hash would not hide anything, for patient numbers can be tried one by one.

    Returns:
        The first 64 bits of HMAC-SHA256 (RFC 2104) as 16 hexadecimal digits. Among a million patients, two share a
        pseudonym with a probability of 3e-8.
    """
    # Headers hold bytes that are no text; Python has lone surrogates for these.
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:_PSEUDONYM_LENGTH]


def load_key(path: Path | None) -> bytes | None:
    """Read the key of the pseudonyms, without white space at its ends.

    Args:
        path: Of a file that holds it; where None, the environment variable `KEY_VARIABLE` is read.

    Returns:
        At least 16 bytes; None where neither is given.

    Raises:
        UserError: The file cannot be read, or the key is too short.
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
