"""Puts together what the RecordValidator tells: a `ValidationReport`, from counters and from what Beam wrote."""

from collections import Counter
from collections.abc import Sequence

from apache_beam.runners.runner import PipelineResult

from components.counters import read_counters, reconcile
from components.record_validator.checks.check_records import QUARANTINED, READ, VALIDATED, sizes_of, sources_of
from components.record_validator.leaks.duplicate_keys import PATIENTS
from components.record_validator.leaks.find_leaks import COMPARED, KEPT, LEAKS
from components.record_validator.leaks.leak import NAMED
from components.record_validator.near_duplicates.pairs import LEFT_OUT, NEAR_DUPLICATES
from components.record_validator.records import Partition
from components.record_validator.settings import RecordValidationSettings
from schema.reports.validation import (
    LeakReport,
    Leaks,
    QuarantinedRecord,
    Reason,
    SetSummary,
    SourceSummary,
    ValidationReport,
)


def build_report(
    partitions: Sequence[Partition],
    result: PipelineResult,
    settings: RecordValidationSettings,
    quarantined: Sequence[QuarantinedRecord],
    leaks: Sequence[LeakReport],
) -> ValidationReport:
    """Summarise a run.

    Args:
        partitions: Those whose records were validated.
        result: Of the pipeline, with its counters.
        settings: What the records were held against.
        quarantined: All records in quarantine.
        leaks: The gravest, `NAMED` at most.

    Raises:
        RuntimeError: A partition is empty, or records or leaks got lost on the way.
    """
    counts = read_counters(result, LEAKS)
    if len(leaks) != min(counts[LEAKS], NAMED):
        raise RuntimeError(f"leaks got lost: {counts[LEAKS]} found, {len(leaks)} of at most {NAMED} listed")
    if counts[COMPARED] != counts[KEPT]:
        raise RuntimeError(f"facts got lost: {counts[KEPT]} records were to be compared, {counts[COMPARED]} were")
    return ValidationReport(
        limits=settings.model_dump(mode="json"),
        sets=[_summarise(partition, result, quarantined) for partition in partitions],
        leaks=Leaks(total=counts[LEAKS], named=list(leaks)),
        left_out=read_counters(result, NEAR_DUPLICATES)[LEFT_OUT],
    )


def _summarise(partition: Partition, result: PipelineResult, quarantined: Sequence[QuarantinedRecord]) -> SetSummary:
    counts = read_counters(result, str(partition))
    of_partition = [record for record in quarantined if (record.kind, record.name) == partition]
    _reconcile(partition, counts, len(of_partition))
    return SetSummary(
        kind=partition.kind,
        name=partition.name,
        read=counts[READ],
        validated=counts[VALIDATED],
        quarantined=counts[QUARANTINED],
        patients=counts[PATIENTS],
        leaked=sum(record.leaked for record in of_partition),
        reasons=_count_reasons(of_partition),
        sources={
            source: _summarise_source(read, [record for record in of_partition if record.source == source])
            for source, read in sorted(read_counters(result, sources_of(partition)).items())
        },
        sizes=dict(sorted(read_counters(result, sizes_of(partition)).items())),
    )


def _summarise_source(read: int, quarantined: Sequence[QuarantinedRecord]) -> SourceSummary:
    return SourceSummary(read=read, quarantined=len(quarantined), reasons=_count_reasons(quarantined))


def _count_reasons(quarantined: Sequence[QuarantinedRecord]) -> dict[Reason, int]:
    return dict(sorted(Counter(record.reason for record in quarantined).items()))


def _reconcile(partition: Partition, counts: Counter[str], listed: int) -> None:
    reconcile(
        str(partition),
        counts[READ],
        {"validated": counts[VALIDATED], "in quarantine": counts[QUARANTINED]},
        if_empty="each of train, eval, test and external sets needs patients, so add more of them",
    )
    if counts[QUARANTINED] != listed:
        raise RuntimeError(f"{partition} lost records: {counts[QUARANTINED]} in quarantine, {listed} listed")
