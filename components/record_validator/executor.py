"""Runs the RecordValidator on Beam."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import apache_beam as beam
from tfx import types
from apache_beam.pvalue import AsDict, PCollection
from apache_beam.runners.runner import PipelineResult

from components import artifacts, base
from components.record_validator.checks.check_records import (
    CheckRecords,
    ReadRecords,
    is_finding,
    is_refused,
    route,
)
from components.record_validator.leaks.find_leaks import find_leaks
from components.record_validator.leaks.leak import Leak
from components.record_validator.records import (
    EXTERNAL,
    SPLIT,
    Finding,
    NumberedRecord,
    Partition,
    RecordRef,
    RefusedRecord,
)
from components.record_validator.report import build_report
from components.record_validator.settings import RecordValidationSettings
from components.record_validator.thumbnails import SHOWN, write_sheet
from schema.reports.validation import SHEET_FILE, LeakReport, QuarantinedRecord, SetKind, read_lines, write_quarantined

_QUARANTINED: Final = "quarantined.jsonl"
_LEAKS: Final = "leaks.jsonl"
"""Temporary files, a line a model."""

_LOG = logging.getLogger("lungseg.validator")

_Output = tuple[Partition, bool]
"""What was read from a partition, and whether it is refused."""


class Executor(base.BeamExecutor[RecordValidationSettings]):
    """Checks each record, compares them all, and parts the sound from the refused."""

    SETTINGS = RecordValidationSettings

    def run(self, inputs: base.Artifacts, outputs: base.Artifacts, settings: RecordValidationSettings) -> None:
        """Validate.

        Args:
            inputs: `examples`, of tf.train.Example records, of whose splits all but `test` are trained on. With
                `reference_examples`, which are such splits and sound, those of `examples` are external test sets that
                are compared with them.
            outputs: `validated_examples` and `quarantined_examples`, whose records are those of `examples`, byte for
                byte, with the same splits, span, `spans` and version; `report`: a `ValidationReport`,
                `quarantined.jsonl` and, where any record is in quarantine, `thumbnails.png`.
            settings: What a sound record is.

        Raises:
            RuntimeError: A split or a set is empty, or records got lost on the way.
        """
        examples, reference = inputs["examples"], inputs.get("reference_examples")
        validated, refused = outputs["validated_examples"], outputs["quarantined_examples"]
        for artifact in (validated, refused):
            artifacts.inherit(artifact, examples)
        folders = _folders(examples, EXTERNAL if reference else SPLIT)
        reference_folders = _folders(reference, SPLIT) if reference else {}
        targets = {
            (partition, is_bad): artifacts.split_folder(artifact, partition.name)
            for artifact, is_bad in ((validated, False), (refused, True))
            for partition in folders
        }
        report = outputs["report"].uri
        result = self._validate(folders, reference_folders, targets, settings, os.path.join(report, SHEET_FILE))
        quarantined = sorted(read_lines(self._temporary(_QUARANTINED), QuarantinedRecord), key=_by_name)
        leaks = read_lines(self._temporary(_LEAKS), LeakReport)
        validation = build_report(list(folders), result, settings, quarantined, leaks)
        write_quarantined(report, quarantined)
        validation.write(report)
        for set_ in validation.sets:
            _LOG.info("%s '%s': %d validated, %d in quarantine", set_.kind, set_.name, set_.validated, set_.quarantined)

    def _validate(
        self,
        folders: Mapping[Partition, str],
        reference: Mapping[Partition, str],
        targets: Mapping[_Output, str],
        settings: RecordValidationSettings,
        sheet: str,
    ) -> PipelineResult:
        """Write all records to their targets, the temporary files, and the sheet of thumbnails."""
        partitions = [*folders, *reference]
        with self._make_beam_pipeline() as pipeline:
            read = pipeline | "Read" >> ReadRecords({**folders, **reference})
            checked = read | beam.ParDo(CheckRecords(settings))
            summaries, faults = checked | "Checked" >> beam.Partition(is_finding, 2)
            leaked, leaks = find_leaks(summaries, self._get_tmp_dir(), settings, partitions, list(folders))
            findings = (faults, leaked) | "Findings" >> beam.Flatten() | beam.Map(_keyed)
            gravest = findings | "Gravest" >> beam.CombinePerKey(min)
            # Once more, since records are not held in memory.
            routed = pipeline | "ReadAgain" >> ReadRecords(folders) | beam.Map(route, AsDict(gravest))
            _write(routed, targets)
            refused = routed | beam.Filter(is_refused).with_output_types(RefusedRecord)
            first = refused | beam.combiners.Top.Smallest(SHOWN, key=_ref)
            _ = first | beam.Filter(bool) | beam.Map(write_sheet, sheet)
            _ = refused | beam.Map(_to_line) | "WriteQuarantined" >> self._write_lines(_QUARANTINED)
            _ = leaks | beam.FlatMap(_to_lines) | "WriteLeaks" >> self._write_lines(_LEAKS)
        return pipeline.result

    def _write_lines(self, name: str) -> beam.PTransform:
        return beam.io.WriteToText(str(self._temporary(name)), shard_name_template="")

    def _temporary(self, name: str) -> Path:
        return Path(self._get_tmp_dir(), name)


def _folders(examples: types.Artifact, kind: SetKind) -> dict[Partition, str]:
    """Return the folder of each split."""
    return {Partition(kind, split): artifacts.split_folder(examples, split) for split in artifacts.splits_of(examples)}


def _write(routed: PCollection, targets: Mapping[_Output, str]) -> None:
    """Write sound and refused records of each partition to their folders."""
    outputs = routed | "Route" >> beam.Partition(_output_of, len(targets), list(targets))
    for folder, records in zip(targets.values(), outputs, strict=True):
        serialized = records | f"Bytes[{folder}]" >> beam.Map(_serialized)
        _ = serialized | f"Write[{folder}]" >> beam.io.WriteToTFRecord(os.path.join(folder, "data_tfrecord"))


def _output_of(record: NumberedRecord | RefusedRecord, _: int, outputs: Sequence[_Output]) -> int:
    return outputs.index((record.partition, is_refused(record)))


def _serialized(record: NumberedRecord | RefusedRecord) -> bytes:
    return record.serialized


def _keyed(finding: Finding) -> tuple[str, Finding]:
    return finding.ref.key, finding


def _ref(refused: RefusedRecord) -> RecordRef:
    return refused.finding.ref


def _to_line(refused: RefusedRecord) -> str:
    return refused.to_report().model_dump_json()


def _to_lines(leaks: list[Leak]) -> Iterator[str]:
    return (leak.to_report().model_dump_json() for leak in leaks)


def _by_name(record: QuarantinedRecord) -> tuple[str, str, str, str]:
    return record.kind, record.name, record.image_id, record.record
