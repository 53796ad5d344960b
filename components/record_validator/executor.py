"""Runs the RecordValidator on Beam."""

import json
import logging
import os
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from tfx import types
from apache_beam.pvalue import AsDict
from apache_beam.runners.runner import PipelineResult
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.artifacts import all_or_nothing, inherit
from components.record_validator import report
from components.record_validator.checks.check_records import Examine, Numbered, ReadNumbered, Refused, is_refused, part
from components.record_validator.leaks.find_leaks import compare, is_finding
from components.record_validator.leaks.partitions import EXTERNAL, SPLIT, Kind, Place
from components.record_validator.settings import RecordValidationSettings
from components.record_validator.thumbnails import SHOWN, write_sheet

EXAMPLES = "examples"
REFERENCE_EXAMPLES = "reference_examples"
VALIDATED_EXAMPLES = "validated_examples"
QUARANTINED_EXAMPLES = "quarantined_examples"
REPORT = "report"
SETTINGS = "settings"
CODE_VERSION = "code_version"

_LISTING, _LEAKS = "quarantined.jsonl", "leaks.json"

_LOG = logging.getLogger("lungseg.validator")


class Executor(base_beam_executor.BaseBeamExecutor):
    """Examines each record, compares them all, and parts the sound from the refused."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Validates.

        Args:
            input_dict: `examples`, one Examples artifact of tf.train.Example records, of whose splits all but `test`
                are trained on. With `reference_examples`, which are such splits and sound, those of `examples` are
                external test sets that are compared with them.
            output_dict: `validated_examples` and `quarantined_examples`, whose records are those of `examples`, byte
                for byte, with the same splits, span, `spans` and version; `report`, see `report.write`.
            exec_properties: `settings`, as JSON of `RecordValidationSettings`, and `code_version`, which is not read.

        Raises:
            RuntimeError: a split or a set is empty, or records got lost on the way.
        """
        settings = RecordValidationSettings.model_validate_json(exec_properties[SETTINGS])
        made = [artifact for artifacts in output_dict.values() for artifact in artifacts]
        with all_or_nothing(*made):
            reference = input_dict.get(REFERENCE_EXAMPLES, [])
            examples, outputs = (
                input_dict[EXAMPLES],
                (output_dict[VALIDATED_EXAMPLES], output_dict[QUARANTINED_EXAMPLES]),
            )
            for artifacts in outputs:
                inherit(artifact_utils.get_single_instance(artifacts), artifact_utils.get_single_instance(examples))
            uris = _uris(examples, EXTERNAL if reference else SPLIT)
            targets = [_targets(artifacts, uris) for artifacts in outputs]
            folder = artifact_utils.get_single_instance(output_dict[REPORT]).uri
            result = self._run(uris, _uris(reference, SPLIT), targets, settings, folder)
            told = report.Told(self._read_back(_LISTING), self._read_back(_LEAKS))
            reported = report.write(folder, list(uris), result, settings, told)
        for one in reported["sets"]:
            _LOG.info("%(kind)s '%(name)s': %(validated)d validated, %(quarantined)d in quarantine", one)

    def _run(
        self,
        uris: dict[Place, str],
        reference: dict[Place, str],
        targets: list[dict[Place, str]],
        settings: RecordValidationSettings,
        folder: str,
    ) -> PipelineResult:
        with self._make_beam_pipeline() as pipeline:
            examined = pipeline | "Read" >> ReadNumbered(uris | reference) | beam.ParDo(Examine(settings))
            facts, faults = examined | "Examined" >> beam.Partition(is_finding, 2)
            found, leaks = compare(facts, self._get_tmp_dir(), settings, [*uris, *reference], list(uris))
            findings = (faults, found) | "Findings" >> beam.Flatten() | "Gravest" >> beam.CombinePerKey(min)
            # Once more, since records are not held in memory.
            parted = pipeline | "ReadAgain" >> ReadNumbered(uris) | beam.Map(part, AsDict(findings))
            _write(parted, targets)
            refused = parted | beam.Filter(is_refused).with_output_types(Refused)
            for name, lines in (
                (_LISTING, refused | beam.Map(report.line)),
                (_LEAKS, leaks | beam.FlatMap(report.lines_of_leaks)),
            ):
                _ = lines | f"Tell[{name}]" >> beam.io.WriteToText(self._path(name), shard_name_template="")
            first = refused | beam.combiners.Top.Smallest(SHOWN)
            _ = first | beam.Filter(bool) | beam.Map(write_sheet, os.path.join(folder, report.SHEET))
        return pipeline.result

    def _path(self, name: str) -> str:
        return os.path.join(self._get_tmp_dir(), name)

    def _read_back(self, name: str) -> list[dict[str, Any]]:
        with fileio.open(self._path(name)) as file:
            return [json.loads(line) for line in file.read().splitlines()]


def _uris(examples: list[types.Artifact], kind: Kind) -> dict[Place, str]:
    """The folders of all splits; none where there is no artifact."""
    return {
        Place(kind, split): artifact_utils.get_split_uri([artifact], split)
        for artifact in examples
        for split in artifact_utils.decode_split_names(artifact.split_names)
    }


def _targets(made: list[types.Artifact], places: Iterable[Place]) -> dict[Place, str]:
    return {place: artifact_utils.get_split_uri(made, place.name) for place in places}


def _write(parted: beam.PCollection, targets: list[dict[Place, str]]) -> None:
    """Writes what is sound to the first of the targets, and what is refused to the second."""
    folders = {(place, bad): folder for bad, of_kind in enumerate(targets) for place, folder in of_kind.items()}
    outputs = parted | "Part" >> beam.Partition(_output_of, len(folders), list(folders))
    for folder, records in zip(folders.values(), outputs, strict=True):
        serialized = records | f"Bytes[{folder}]" >> beam.Map(_serialized)
        _ = serialized | f"Write[{folder}]" >> beam.io.WriteToTFRecord(os.path.join(folder, "data_tfrecord"))


def _output_of(parted: Numbered | Refused, _: int, outputs: list[tuple[Place, int]]) -> int:
    return outputs.index((parted.place, int(is_refused(parted))))


def _serialized(parted: Numbered | Refused) -> bytes:
    return parted.serialized
