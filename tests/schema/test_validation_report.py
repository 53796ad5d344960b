"""What the RecordValidator tells is read as it was written, and put together."""

from pathlib import Path

import pytest

from schema.reports.validation import (
    LeakReport,
    Leaks,
    QuarantinedRecord,
    RecordReference,
    SetSummary,
    ValidationReport,
    read_quarantined,
    write_quarantined,
)


def _quarantined(image_id: str) -> QuarantinedRecord:
    return QuarantinedRecord(
        kind="split", name="train", image_id=image_id, patient_id="p1", source="clinic", record="file#7",
        sha256="hash", reason="size", detail="is too small", leaked=False,
    )  # fmt: skip


@pytest.mark.parametrize("image_ids", [[], ["a", "b"], ["line\u2028\x85\u2029\r\n\x1c separators", "\u00e4 \"'\\"]])
def test_the_list_of_quarantined_records_is_read_as_it_was_written(image_ids: list[str], tmp_path: Path) -> None:
    records = [_quarantined(image_id) for image_id in image_ids]
    write_quarantined(tmp_path, records)
    assert read_quarantined(tmp_path) == records


def test_reports_on_different_sets_are_put_together() -> None:
    reference = RecordReference(kind="split", name="train", image_id="a", patient_id="p1", source="clinic")
    reports = []
    for name in ("train", "test"):
        set_ = SetSummary(
            kind="split", name=name, read=2, validated=1, quarantined=1, patients=1, leaked=1, reasons={"size": 1},
            sources={}, sizes={},
        )  # fmt: skip
        leak = LeakReport(reason="duplicate_id", text=name, remedy="", kept=reference, dropped=reference)
        leaks = Leaks(total=101, named=[leak])
        reports.append(ValidationReport(limits={"of": name}, sets=[set_], leaks=leaks, left_out=3))
    merged = ValidationReport.merge(reports)
    assert merged.limits == {"of": "train"}
    assert [set_.name for set_ in merged.sets] == ["train", "test"]
    assert (merged.leaks.total, [leak.text for leak in merged.leaks.named]) == (202, ["train", "test"])
    assert merged.left_out == 6
