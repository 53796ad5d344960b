"""The DataGate: what is over a limit stops the run, in one line."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils, channel, standard_artifacts

from components.data_gate import executor
from components.data_gate.component import DataGate
from components.data_gate.errors import DataError
from components.data_gate.settings import GateSettings
from pipeline.errors import ComponentError

Gate = Callable[..., dict[str, Any]]
Failure = Callable[..., str]

LEAK = {
    "reason": "exact_duplicate",
    "text": "split 'test': image 's1' (patient 'p3') is in split 'train' as 'copy' too",
    "remedy": "test sets must hold no image or patient that is trained on; ingest the set again",
}
ERROR, WARNING = anomalies_pb2.AnomalyInfo.ERROR, anomalies_pb2.AnomalyInfo.WARNING


def place(name: str, read: int, quarantined: int = 0, leaked: int = 0, kind: str = "split", **reasons: int) -> dict:
    validated = read - quarantined
    counts = {"read": read, "validated": validated, "quarantined": quarantined, "leaked": leaked}
    return {"kind": kind, "name": name, **counts, "reasons": reasons}


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Calls the executor as TFX does; gives the verdict."""

    def do(
        *sets: dict,
        leaks: int = 0,
        external: Sequence[dict] = (),
        anomalies: dict[str, dict[str, tuple[int, str]]] | None = None,
        settings: GateSettings | None = None,
    ) -> dict[str, Any]:
        report, found, verdict = (standard_artifacts.ExampleAnomalies() for _ in range(3))
        for name, artifact in (("report", report), ("anomalies", found), ("verdict", verdict)):
            artifact.uri = str(tmp_path / name)
            Path(artifact.uri).mkdir(exist_ok=True)
        (tmp_path / "verdict" / "verdict.json").unlink(missing_ok=True)
        validation = {
            "sets": [*(sets or (place("train", 100), place("eval", 10), place("test", 10)))],
            "leaks": {"total": leaks, "named": [LEAK] * min(leaks, 100)},
        }
        (tmp_path / "report" / "validation.json").write_text(json.dumps(validation))
        by_split = {"train": {}, "eval": {}, **(anomalies or {})}
        found.split_names = artifact_utils.encode_split_names(list(by_split))
        for split, features in by_split.items():
            message = anomalies_pb2.Anomalies()
            for feature, (severity, text) in features.items():
                message.anomaly_info[feature].severity = severity
                message.anomaly_info[feature].description = text
            folder = Path(artifact_utils.get_split_uri([found], split))
            folder.mkdir(exist_ok=True)
            (folder / "SchemaDiff.pb").write_bytes(message.SerializeToString())
        inputs = {"validation": [report], "anomalies": [found]}
        if external:
            inputs["external_validation"] = [standard_artifacts.ExampleAnomalies()]
            inputs["external_validation"][0].uri = str(tmp_path / "external")
            (tmp_path / "external").mkdir(exist_ok=True)
            told = json.dumps({"sets": external, "leaks": {"total": 0, "named": []}})
            (tmp_path / "external" / "validation.json").write_text(told)
        executor.Executor().Do(
            inputs,
            {"verdict": [verdict]},
            {"settings": (settings or GateSettings()).model_dump_json(), "code_version": "1"},
        )
        (file,) = Path(verdict.uri).iterdir()
        assert file.name == "verdict.json"
        return json.loads(file.read_text())

    return do


@pytest.fixture
def failure(gate: Gate, tmp_path: Path) -> Failure:
    """What the user reads, without the place of the report; no verdict may be there."""

    def of(*sets: dict, **given: Any) -> str:
        with pytest.raises(DataError) as caught:
            gate(*sets, **given)
        assert not list((tmp_path / "verdict").iterdir())
        message = str(ComponentError("DataGate", caught.value))
        prefix = "DataGate failed: "
        assert message.startswith(prefix)
        return message.removeprefix(prefix).replace(f"; see {tmp_path}/report/validation.json", "; see the report")

    return of


def test_sound_data_pass(gate: Gate) -> None:
    assert gate() == {
        "limits": {"max_bad_share": 0.05, "max_leaks": 0, "severity": "error"},
        "read": 120,
        "quarantined": 0,
        "leaks": 0,
        "anomalies": [],
    }


def test_a_leak_stops_the_run(failure: Failure) -> None:
    assert failure(leaks=1) == f"{LEAK['text']} (max_leaks is 0): {LEAK['remedy']}; see the report"


def test_the_first_leak_is_named_and_the_others_counted(failure: Failure) -> None:
    assert failure(leaks=130, settings=GateSettings(max_leaks=129)) == (
        f"{LEAK['text']}, and 129 more (max_leaks is 129): {LEAK['remedy']}; see the report"
    )


def test_leaks_up_to_the_limit_pass(gate: Gate) -> None:
    assert gate(leaks=3, settings=GateSettings(max_leaks=3))["leaks"] == 3


def test_a_share_of_bad_records(gate: Gate, failure: Failure) -> None:
    """Leaks are judged by themselves."""
    passing = [place("train", 80, 4, 1, mask_area=3, near_duplicate=1), place("test", 20, 2, mask_area=2)]
    assert gate(*passing)["quarantined"] == 6
    assert failure(passing[0], place("test", 20, 3, components=3)) == (
        "6 of 100 records of the splits are refused (max_bad_share is 0.05): mask_area 3, components 3, "
        "near_duplicate 1: mend them, or leave them out, and ingest the set again; see the report"
    )


def test_each_external_set_is_judged_by_itself(failure: Failure, tmp_path: Path) -> None:
    external = [place("a", 100, kind="external set"), place("b", 10, 1, kind="external set", undecodable=1)]
    assert failure(place("train", 1000), external=external) == (
        "1 of 10 records of external set 'b' are refused (max_bad_share is 0.05): undecodable 1: "
        f"mend them, or leave them out, and ingest the set again; see {tmp_path}/external/validation.json"
    )


def test_a_split_without_a_sound_record(failure: Failure) -> None:
    assert failure(place("train", 1000), place("eval", 2, 2, components=2)) == (
        "split 'eval' has none of 2 records left: components 2: add sound ones; see the report"
    )


def test_anomalies_at_the_severity_stop_the_run(gate: Gate, failure: Failure, tmp_path: Path) -> None:
    anomalies = {"eval": {"age": (ERROR, "Out of range:\n 200."), "sex": (WARNING, "Drift.")}}
    assert failure(anomalies=anomalies) == (
        "feature 'age' of split 'eval': Out of range: 200: mend the data, or the schema, or set severity to never; "
        f"see {tmp_path}/anomalies"
    )
    assert gate(anomalies=anomalies, settings=GateSettings(severity="never"))["anomalies"] == [
        {"split": "eval", "feature": "age", "severity": "error", "is_drift": False, "text": "Out of range: 200."},
        {"split": "eval", "feature": "sex", "severity": "warning", "is_drift": False, "text": "Drift."},
    ]


def test_warnings_stop_the_run_where_they_shall(gate: Gate, failure: Failure, tmp_path: Path) -> None:
    anomalies = {"train": {"sex": (WARNING, "Drift."), "age": (WARNING, "Odd.")}}
    assert len(gate(anomalies=anomalies)["anomalies"]) == 2
    assert failure(anomalies=anomalies, settings=GateSettings(severity="warning")) == (
        "feature 'age' of split 'train': Odd, and 1 more: mend the data, or the schema, "
        f"or set severity to error or never; see {tmp_path}/anomalies"
    )


def test_several_limits(failure: Failure) -> None:
    assert failure(place("train", 10, 5, components=5), leaks=1) == (
        f"{LEAK['text']} (max_leaks is 0): {LEAK['remedy']}; see the report (1 more over the limits)"
    )


def test_the_sheet_is_named_where_there_is_one(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "thumbnails.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        gate(leaks=1)
    assert str(caught.value).endswith(f"; see {tmp_path / 'report' / 'thumbnails.png'}")


def test_the_component_is_wired() -> None:
    report = channel.OutputChannel(standard_artifacts.ExampleAnomalies, None, "report")
    anomalies = channel.OutputChannel(standard_artifacts.ExampleAnomalies, None, "anomalies")
    settings = GateSettings(max_leaks=2)
    external = channel.OutputChannel(standard_artifacts.ExampleAnomalies, None, "report")
    reports = {"validation": report, "external_validation": external, "anomalies": anomalies}
    gate = DataGate(**reports, settings=settings, code_version="abc")
    assert gate.id == "DataGate"
    assert gate.inputs == reports
    assert gate.exec_properties == {"settings": settings.model_dump_json(), "code_version": "abc"}
    assert isinstance(gate.executor_spec, executor_spec.ExecutorClassSpec)
    assert gate.executor_spec.executor_class is executor.Executor
