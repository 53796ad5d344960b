"""Anomalies that TFDV finds, and how grave they are."""

from typing import Final

from tensorflow_metadata.proto.v0 import anomalies_pb2

from schema.reports.statistics import Anomaly, Severity

PROTO_FILE: Final = "SchemaDiff.pb"
"""Of each split, as TFX's own ExampleValidator names it."""

_SEVERITIES: Final[dict[int, Severity]] = {
    anomalies_pb2.AnomalyInfo.ERROR: "error",
    anomalies_pb2.AnomalyInfo.WARNING: "warning",
}
_DRIFTED: Final = {
    anomalies_pb2.AnomalyInfo.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
    anomalies_pb2.AnomalyInfo.COMPARATOR_L_INFTY_HIGH,
}


def grade_drift(anomalies: anomalies_pb2.Anomalies, severity: Severity) -> None:
    """Set how grave it is that features have drifted; TFDV makes errors of them."""
    for info in anomalies.anomaly_info.values():
        if _is_drift(info):
            info.severity = next(value for value, name in _SEVERITIES.items() if name == severity)


def list_anomalies(split: str, anomalies: anomalies_pb2.Anomalies) -> list[Anomaly]:
    """List the anomalies of a split: those of the whole first, then by feature."""
    by_feature = sorted(anomalies.anomaly_info.items())
    if anomalies.HasField("dataset_anomaly_info"):
        by_feature.insert(0, ("", anomalies.dataset_anomaly_info))
    return [
        Anomaly(
            split=split,
            feature=feature,
            severity=_SEVERITIES[info.severity],
            is_drift=_is_drift(info),
            text=" ".join((info.description or info.short_description).split()),
        )
        for feature, info in by_feature
    ]


def _is_drift(info: anomalies_pb2.AnomalyInfo) -> bool:
    return bool(info.reason) and all(reason.type in _DRIFTED for reason in info.reason)
