"""Anomalies that TFDV finds: how grave they are, and how what the ExampleValidator writes is read back.

>>> [str(one) for one in read_anomalies(artifact)]
["split 'train', sex: Examples contain values missing from the schema: nonbinary (~2%)."]
"""

import os
from typing import Final

from tfx import types
from pydantic import BaseModel
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.example_validator.settings import Severity

ANOMALIES_FILE: Final = "SchemaDiff.pb"
"""Of each split, as TFX's own ExampleValidator names it."""

_SEVERITIES: Final[dict[int, Severity]] = {
    anomalies_pb2.AnomalyInfo.ERROR: "error",
    anomalies_pb2.AnomalyInfo.WARNING: "warning",
}
_DRIFTED: Final = {
    anomalies_pb2.AnomalyInfo.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
    anomalies_pb2.AnomalyInfo.COMPARATOR_L_INFTY_HIGH,
}


class Anomaly(BaseModel):
    """What is wrong with a feature in a split, in TFDV's words.

    Attributes:
        split: its name.
        feature: its name; empty for the split as a whole.
        severity: how grave it is.
        is_drift: whether the feature keeps to the schema, and has only moved since earlier data.
        text: what it is.
    """

    split: str
    feature: str
    severity: Severity
    is_drift: bool
    text: str

    def __str__(self) -> str:
        of_feature = f", {self.feature}" if self.feature else ""
        return f"split '{self.split}'{of_feature}: {self.text}"


def grade_drift(found: anomalies_pb2.Anomalies, severity: Severity) -> None:
    """Says how grave it is that features have drifted; TFDV makes errors of them."""
    for info in found.anomaly_info.values():
        if _is_drift(info):
            info.severity = next(value for value, name in _SEVERITIES.items() if name == severity)


def list_anomalies(split: str, found: anomalies_pb2.Anomalies) -> list[Anomaly]:
    """The anomalies of a split: those of the whole first, then by feature."""
    named = sorted(found.anomaly_info.items())
    if found.HasField("dataset_anomaly_info"):
        named.insert(0, ("", found.dataset_anomaly_info))
    return [
        Anomaly(
            split=split,
            feature=feature,
            severity=_SEVERITIES[info.severity],
            is_drift=_is_drift(info),
            text=" ".join((info.description or info.short_description).split()),
        )
        for feature, info in named
    ]


def read_anomalies(artifact: types.Artifact) -> list[Anomaly]:
    """The anomalies of all splits, in the order of those."""
    found: list[Anomaly] = []
    for split in artifact_utils.decode_split_names(artifact.split_names):
        path = os.path.join(artifact_utils.get_split_uri([artifact], split), ANOMALIES_FILE)
        with fileio.open(path, "rb") as file:
            found += list_anomalies(split, anomalies_pb2.Anomalies.FromString(file.read()))
    return found


def _is_drift(info: anomalies_pb2.AnomalyInfo) -> bool:
    return bool(info.reason) and all(reason.type in _DRIFTED for reason in info.reason)
