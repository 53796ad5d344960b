"""The columns of `metadata.csv`, and which of them a column of another name was probably meant to be.

>>> meant_by("Patient ID"), meant_by("attribution")
('patient_id', None)
"""

import re
from collections.abc import Sequence
from typing import Final

from schema import features
from schema.suggestions import nearest

IMAGE: Final = "image"
TEXTS: Final = (features.PATIENT_ID, features.SOURCE, features.FINDING, features.VIEW)
COLUMNS: Final = (IMAGE, *TEXTS, features.SEX, features.AGE, features.PIXEL_SPACING)
"""All that mean something."""

# What the names of columns are, without case and separators, in data sets and in exports of DICOM headers.
_SYNONYMS: Final = {
    IMAGE: r"(image|img)s?(file)?(name|id|index|path|uid)?|(file|path)(name|path)?s?|filenames?",
    features.PATIENT_ID: r"(id)?(patient(en)?|subject|subj|person|participant|proband(en)?)s?"
    r"(id|ids|no|nr|num|number|nummer|code|key|name|uid|identifier|pseudonym)?|(pat|pt|sub)(id|no|nr)|pid|mrn",
    features.SOURCE: r"sources?|hospital|institution|institute|site|data(source|set)",
    features.FINDING: r"(finding|diagnos[ie]s|patholog(y|ies)|disease)s?(label)?s?",
    features.VIEW: r"views?(position)?|projection",
    features.SEX: r"(patient|subject)?s?(sex|gender)",
    features.AGE: r"(patient|subject)?s?ages?(in)?(years?)?",
    features.PIXEL_SPACING: r"(imager)?(pixel)?spacings?(in)?(mm)?|pixelsize(in)?(mm)?",
}  # fmt: skip
# Whatever else a name says, what it counts or numbers is patients: "Patient ID (anonymised)", "study_subject".
_LIKE_PATIENT: Final = re.compile(
    r"(?<!\bin)(?<!\bout)patient|subject(?!iv)|participant|proband|pseudonym"
    r"|\b(case|individual|person|anon(ymous|ymi[sz]ed)?) ?(ids?|no|nr|num|number|code|key|uid|identifier)\b"
    r"|medical ?record ?(id|no|nr|num|number)\b"
)
# What a patient has, or how many there are, is no patient: "patient_position", "Number of patients".
_ABOUT_PATIENT: Final = re.compile(
    r"age|sex|gender|position|orientation|weight|height|size|bmi|birth|dob|race|ethni|species|breed|comment|history"
    r"|stat(e|us)|type|group|class|cohort|count|number of|address|location|telephone|smok|diagnos|finding|patholog"
    r"|view|removed|\b(is|has|n)\b"
)
_SIMILARITY: Final = 0.8
_SHORTEST: Final = 5  # of shorter names, "page" and "age", many others are like


def meant_by(column: str) -> str | None:
    """Return the known column that a name was probably meant for; None where it resembles none, or is known."""
    if column in COLUMNS:
        return None
    plain = re.sub(r"[\W_]+", "", column.casefold())
    for known, synonyms in _SYNONYMS.items():
        if re.fullmatch(synonyms, plain):
            return known
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", " ", column).casefold()
    if _LIKE_PATIENT.search(words):
        return None if _ABOUT_PATIENT.search(words) else features.PATIENT_ID
    long = {name.replace("_", ""): name for name in COLUMNS if len(name) >= _SHORTEST}
    match = nearest(plain, long, _SIMILARITY)
    return long[match] if match else None


def describe_slips(columns: Sequence[str]) -> str:
    """Return in one line which columns bear a name that is none, though known ones are missing; "" where none does."""
    slips = {column: known for column in columns if (known := meant_by(column)) and known not in columns}
    return "; ".join(f"column '{column}' is unknown: did you mean '{known}'?" for column, known in slips.items())
