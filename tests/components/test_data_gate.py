"""The DataGate: what is over a limit stops the run, in one line."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tfx.dsl.components.base import executor_spec
from tfx.types import channel, standard_artifacts

from components import base
from components.code_version import code_version
from components.data_gate import executor
from components.data_gate.component import DataGate
from components.data_gate.errors import DataError
from components.data_gate.settings import GateSettings
from pipeline.errors import ComponentError
from schema.reports.statistics import Anomaly, AnomalyReport, Severity
from schema.reports.validation import (
    GateResult,
    LeakReport,
    Leaks,
    RecordReference,
    SetKind,
    SetSummary,
    ValidationReport,
)

Gate = Callable[..., GateResult]
Failure = Callable[..., str]


def record_in(split: str, image_id: str) -> RecordReference:
    return RecordReference(kind="split", name=split, image_id=image_id, patient_id="p3", source="clinic")


LEAK = LeakReport(
    reason="exact_duplicate",
    text="split 'test': image 's1' (patient 'p3') is in split 'train' as 'copy' too",
    remedy="test sets must hold no image or patient that is trained on; ingest the set again",
    kept=record_in("test", "s1"),
    dropped=record_in("train", "copy"),
)


def summary(
    name: str, read: int, quarantined: int = 0, leaked: int = 0, kind: SetKind = "split", **reasons: int
) -> SetSummary:
    return SetSummary(
        kind=kind, name=name, read=read, validated=read - quarantined, quarantined=quarantined, patients=1,
        leaked=leaked, reasons=reasons, sources={}, sizes={},
    )  # fmt: skip


def report(sets: Sequence[SetSummary], leaks: int) -> ValidationReport:
    named = Leaks(total=leaks, named=[LEAK] * min(leaks, 100))
    return ValidationReport(limits={}, sets=list(sets), leaks=named, left_out=0)


def anomaly(split: str, feature: str, severity: Severity, text: str) -> Anomaly:
    return Anomaly(split=split, feature=feature, severity=severity, is_drift=False, text=text)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Calls the executor as TFX does; gives the verdict."""

    def do(
        *sets: SetSummary,
        leaks: int = 0,
        external: Sequence[SetSummary] = (),
        anomalies: Sequence[Anomaly] = (),
        settings: GateSettings | None = None,
    ) -> GateResult:
        keys = ("validation", "anomalies", "external_validation", "verdict")
        artifacts = {key: standard_artifacts.ExampleAnomalies() for key in keys}
        for key, artifact in artifacts.items():
            artifact.uri = str(tmp_path / key)
            Path(artifact.uri).mkdir(exist_ok=True)
        (tmp_path / "verdict" / "verdict.json").unlink(missing_ok=True)
        of_all = sets or (summary("train", 100), summary("eval", 10), summary("test", 10))
        report(of_all, leaks).write(tmp_path / "validation")
        report(external, 0).write(tmp_path / "external_validation")
        AnomalyReport(anomalies=list(anomalies)).write(tmp_path / "anomalies")
        present = keys[:3] if external else keys[:2]
        executor.Executor().Do(
            {key: [artifacts[key]] for key in present},
            {"verdict": [artifacts["verdict"]]},
            {"settings": (settings or GateSettings()).model_dump_json()},
        )
        assert [path.name for path in (tmp_path / "verdict").iterdir()] == ["verdict.json"]
        return GateResult.read(tmp_path / "verdict")

    return do


@pytest.fixture
def failure(gate: Gate, tmp_path: Path) -> Failure:
    """What the user reads, without the place of the report; no verdict may be there."""

    def of(*sets: SetSummary, **options: Any) -> str:
        with pytest.raises(DataError) as caught:
            gate(*sets, **options)
        assert not list((tmp_path / "verdict").iterdir())
        message = str(ComponentError("DataGate", caught.value))
        prefix = "DataGate failed: "
        assert message.startswith(prefix)
        return message.removeprefix(prefix).replace(f"; see {tmp_path}/validation/validation.json", "; see the report")

    return of


def case_of(gate: Gate, *sets: SetSummary, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        gate(*sets, **options)
    return caught.value.case


def test_the_case_names_no_image_and_no_patient(gate: Gate) -> None:
    assert case_of(gate, leaks=2) == (
        f"a leak between {LEAK.kept.kind} '{LEAK.kept.name}' and {LEAK.dropped.kind} '{LEAK.dropped.name}', "
        f"{LEAK.reason}, and 1 more (max_leaks is 0)"
    )
    assert case_of(gate, summary("train", 80), summary("test", 20, 20, components=20)) == (
        "split 'test' has none of 20 records left: components 20 (1 more over the limits)"
    )
    assert case_of(gate, summary("train", 80), summary("test", 20, 10, components=10)) == (
        "10 of 100 records of the splits are refused (max_bad_share is 0.05): components 10"
    )
    text = "Examples contain values missing from the schema: smith (~1%)."
    anomaly = Anomaly(split="train", feature="finding", severity="error", is_drift=False, text=text)
    assert case_of(gate, anomalies=[anomaly, anomaly]) == (
        "feature 'finding' of split 'train': an anomaly (error), and 1 more"
    )


def test_sound_data_pass(gate: Gate) -> None:
    limits = {"max_bad_share": 0.05, "max_leaks": 0, "severity": "error"}
    assert gate() == GateResult(limits=limits, records=120, quarantined=0, leaks=0, anomalies=[])


def test_a_leak_stops_the_run(failure: Failure) -> None:
    assert failure(leaks=1) == f"{LEAK.text} (max_leaks is 0): {LEAK.remedy}; see the report"


def test_the_first_leak_is_named_and_the_others_counted(failure: Failure) -> None:
    assert failure(leaks=130, settings=GateSettings(max_leaks=129)) == (
        f"{LEAK.text}, and 129 more (max_leaks is 129): {LEAK.remedy}; see the report"
    )


def test_leaks_up_to_the_limit_pass(gate: Gate) -> None:
    assert gate(leaks=3, settings=GateSettings(max_leaks=3)).leaks == 3


def test_a_share_of_bad_records(gate: Gate, failure: Failure) -> None:
    """Leaks are judged by themselves."""
    passing = [summary("train", 80, 4, 1, mask_area=3, near_duplicate=1), summary("test", 20, 2, mask_area=2)]
    assert gate(*passing).quarantined == 6
    assert failure(passing[0], summary("test", 20, 3, components=3)) == (
        "6 of 100 records of the splits are refused (max_bad_share is 0.05): mask_area 3, components 3, "
        "near_duplicate 1: mend them, or leave them out, and ingest the set again; see the report"
    )


def test_each_external_set_is_judged_by_itself(failure: Failure, tmp_path: Path) -> None:
    external = [summary("a", 100, kind="external set"), summary("b", 10, 1, kind="external set", undecodable=1)]
    assert failure(summary("train", 1000), external=external) == (
        "1 of 10 records of external set 'b' are refused (max_bad_share is 0.05): undecodable 1: "
        f"mend them, or leave them out, and ingest the set again; see {tmp_path}/external_validation/validation.json"
    )


def test_a_split_without_a_sound_record(failure: Failure) -> None:
    assert failure(summary("train", 1000), summary("eval", 2, 2, components=2)) == (
        "split 'eval' has none of 2 records left: components 2: add sound ones; see the report"
    )


def test_anomalies_at_the_severity_stop_the_run(gate: Gate, failure: Failure, tmp_path: Path) -> None:
    age, sex = anomaly("eval", "age", "error", "Out of range: 200."), anomaly("eval", "sex", "warning", "Drift.")
    anomalies = [sex, age]
    assert failure(anomalies=anomalies) == (
        "feature 'age' of split 'eval': Out of range: 200: mend the data, or the schema, or set severity to never; "
        f"see {tmp_path}/anomalies"
    )
    assert gate(anomalies=anomalies, settings=GateSettings(severity="never")).anomalies == [age, sex]


def test_warnings_stop_the_run_where_they_shall(gate: Gate, failure: Failure, tmp_path: Path) -> None:
    anomalies = [anomaly("train", "sex", "warning", "Drift."), anomaly("train", "age", "warning", "Odd.")]
    assert len(gate(anomalies=anomalies).anomalies) == 2
    assert failure(anomalies=anomalies, settings=GateSettings(severity="warning")) == (
        "feature 'age' of split 'train': Odd, and 1 more: mend the data, or the schema, "
        f"or set severity to error or never; see {tmp_path}/anomalies"
    )


def test_several_limits(failure: Failure) -> None:
    assert failure(summary("train", 10, 5, components=5), leaks=1) == (
        f"{LEAK.text} (max_leaks is 0): {LEAK.remedy}; see the report (1 more over the limits)"
    )


def test_the_sheet_is_named_where_there_is_one(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "thumbnails.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        gate(leaks=1)
    assert str(caught.value).endswith(f"; see {tmp_path / 'validation' / 'thumbnails.png'}")


def test_the_component_is_wired() -> None:
    report = channel.OutputChannel(standard_artifacts.ExampleAnomalies, None, "report")
    anomalies = channel.OutputChannel(standard_artifacts.ExampleAnomalies, None, "anomalies")
    settings = GateSettings(max_leaks=2)
    external = channel.OutputChannel(standard_artifacts.ExampleAnomalies, None, "report")
    reports = {"validation": report, "external_validation": external, "anomalies": anomalies}
    gate = DataGate(**reports, settings=settings)
    assert gate.id == "DataGate"
    assert gate.inputs == reports
    version = code_version("components.data_gate.executor")
    assert gate.exec_properties == {"settings": base.write_settings(settings), "code_version": version}
    assert isinstance(gate.executor_spec, executor_spec.ExecutorClassSpec)
    assert gate.executor_spec.executor_class is executor.Executor
