"""Compares external test sets with the other data on Beam.

Ids of two hospitals may coincide by chance, so the same image is one with equal pixels, whatever its id, and however
its file is compressed; images that were stored at different sizes are not recognised. The same patient is one with
equal `patient_id` and `source`: ids are unique within a source alone, and who is ingested under two is found by pixels.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.counters import count, read_counters
from components.outputs import all_or_nothing
from schema.record import RecordError, decode

EXAMPLES = "examples"
EXTERNAL_EXAMPLES = "external_examples"
REPORT = "report"
CODE_VERSION = "code_version"
REPORT_FILE = "independence.json"

IMAGE, PATIENT = "image", "patient"
_SPLIT, _EXTERNAL = "split", "external set"
_READ, _PATIENTS, _OVERLAPS = "read", "patients", "overlaps"
_NAMED = 20
"""Overlaps that are logged; the error names the first."""

_LOG = logging.getLogger("lungseg.independence")


class OverlapError(ValueError):
    """An external set shares an image or a patient with other data; the message names both places."""


class Place(NamedTuple):
    """A split of the training data, or an external set."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}'"


_TEST = Place(_SPLIT, "test")
"""The one split that is not trained on."""


class Presence(NamedTuple):
    """An image or a patient in one place: the first of its records, by name, and how many there are."""

    image_id: str
    patient_id: str
    source: str
    records: int


class Overlap(NamedTuple):
    """An image or a patient that is in two places; sorts the gravest first."""

    is_tested: bool
    """Whether the other place is a test set as well, and nothing that is trained on."""
    kind: str
    external: Place
    here: Presence
    other: Place
    there: Presence

    def __str__(self) -> str:
        if self.kind == IMAGE:
            what = f"image '{self.here.image_id}' (patient '{self.here.patient_id}')"
            return f"{self.external}: {what} is in {self.other} as '{self.there.image_id}' too"
        what = f"patient '{self.here.patient_id}' of source '{self.here.source}' (image '{self.here.image_id}')"
        return f"{self.external}: {what} is in {self.other} too (image '{self.there.image_id}')"

    def remedy(self) -> str:
        """What is wrong with it, and what to do."""
        trained_on = "test sets must hold no image or patient that is trained on"
        rule = f"test sets must have no {self.kind} in common" if self.is_tested else trained_on
        unless = ", or give other people a source of their own," if self.kind == PATIENT else ""
        return f"{rule}; remove them{unless} and ingest the set again"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Groups all records by image and by patient, and looks for groups that should not be."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],  # noqa: ARG002
    ) -> None:
        """Checks.

        Args:
            input_dict: `examples`, of whose splits all but `test` are trained on, and `external_examples`, each split
                an external set; an Examples artifact of original tf.train.Example records each.
            output_dict: `report`: `independence.json`, the numbers of images and patients that were compared:
                `{"external_sets": {"hannover": {"images": 9, "patients": 5}}, "splits": {"train": {...}, ...}}`.
            exec_properties: `code_version`, which is not read.

        Raises:
            OverlapError: an image of an external set is in a split or in another set too, or a patient is in a split
                that is trained on or in another set.
            ValueError: a record breaks the contract.
            RuntimeError: a split or a set is empty, or records got lost on the way.
        """
        report = artifact_utils.get_single_instance(output_dict[REPORT])
        with all_or_nothing(report):
            counts = self._compare(
                _uris(input_dict[EXAMPLES], _SPLIT) | _uris(input_dict[EXTERNAL_EXAMPLES], _EXTERNAL)
            )
            io_utils.write_string_file(os.path.join(report.uri, REPORT_FILE), json.dumps(_report(counts), indent=1))

    def _compare(self, uris: dict[Place, str]) -> dict[Place, Counter[str]]:
        """The counts of each place, if nothing is wrong."""
        path = os.path.join(self._get_tmp_dir(), "overlaps.json")
        with self._make_beam_pipeline() as pipeline:
            identified = [
                pipeline
                | f"Read[{place}]" >> beam.io.ReadFromTFRecord(io_utils.all_files_pattern(uri))
                | f"Identify[{place}]" >> beam.FlatMap(_identify, place)
                for place, uri in uris.items()
            ]
            _ = (
                identified
                | beam.Flatten()
                | "Gather" >> beam.CombinePerKey(_Gather())
                | "Compare" >> beam.FlatMap(_overlaps)
                | "First" >> beam.combiners.Top.Smallest(_NAMED)
                | "Tell" >> beam.Map(_tell)
                | "Write" >> beam.io.WriteToText(path, shard_name_template="")
            )
        counts = {place: read_counters(pipeline.result, str(place)) for place in uris}
        for place, of_place in counts.items():
            _reconcile(place, of_place)
        with fileio.open(path) as file:
            _judge(json.loads(file.read()), read_counters(pipeline.result, _OVERLAPS)[_OVERLAPS])
        return counts


def _uris(examples: list[types.Artifact], kind: str) -> dict[Place, str]:
    splits = artifact_utils.decode_split_names(artifact_utils.get_single_instance(examples).split_names)
    return {Place(kind, split): artifact_utils.get_split_uri(examples, split) for split in splits}


def _identify(serialized: bytes, place: Place) -> Iterator[tuple[tuple[str, str], tuple[Place, Presence]]]:
    """The record under the key of its image and under that of its patient."""
    count(None, str(place), _READ)
    try:
        record = decode(serialized)
    except RecordError as error:
        msg = f"{place}: {error}"
        raise ValueError(msg) from error
    presence = Presence(record.image_id, record.patient_id, record.source, records=1)
    pixels = hashlib.sha256(str(record.image.shape).encode() + record.image.tobytes())
    yield (IMAGE, pixels.hexdigest()), (place, presence)
    yield (PATIENT, json.dumps([record.source, record.patient_id])), (place, presence)


class _Gather(beam.CombineFn):
    """Where an image or a patient is; grows with the number of places, not with that of records."""

    def create_accumulator(self) -> dict[Place, Presence]:
        return {}

    def add_input(self, gathered: dict[Place, Presence], one: tuple[Place, Presence]) -> dict[Place, Presence]:
        place, presence = one
        known = gathered.get(place)
        if known:
            first = min(known, presence)
            presence = first._replace(records=known.records + presence.records)
        return {**gathered, place: presence}

    def merge_accumulators(self, accumulators: Iterable[dict[Place, Presence]]) -> dict[Place, Presence]:
        merged = self.create_accumulator()
        for gathered in accumulators:
            for one in gathered.items():
                merged = self.add_input(merged, one)
        return merged

    def extract_output(self, gathered: dict[Place, Presence]) -> dict[Place, Presence]:
        return gathered


def _overlaps(group: tuple[tuple[str, str], dict[Place, Presence]]) -> Iterator[Overlap]:
    (kind, _), gathered = group
    for place, presence in gathered.items():
        count(None, str(place), kind, presence.records)
        if kind == PATIENT:
            count(None, str(place), _PATIENTS)
    for external, here in gathered.items():
        if external.kind != _EXTERNAL:
            continue
        for other, there in gathered.items():
            is_tested = other == _TEST or other.kind == _EXTERNAL
            if (other.kind == _EXTERNAL and other <= external) or (other == _TEST and kind == PATIENT):
                continue
            count(None, _OVERLAPS, _OVERLAPS)
            yield Overlap(is_tested, kind, external, here, other, there)


def _tell(overlaps: list[Overlap]) -> str:
    return json.dumps([(str(overlap), overlap.remedy()) for overlap in overlaps])


def _reconcile(place: Place, counts: Counter[str]) -> None:
    """What was read must have been compared: runners have been seen to lose records without an error."""
    read, by_image, by_patient = (counts[name] for name in (_READ, IMAGE, PATIENT))
    if read == 0:
        msg = f"{place} has no records: add images of more patients"
        raise RuntimeError(msg)
    if not read == by_image == by_patient:
        msg = f"{place} lost records: {read} read, {by_image} compared by image and {by_patient} by patient"
        raise RuntimeError(msg)


def _judge(named: list[tuple[str, str]], total: int) -> None:
    """Raises OverlapError if there are overlaps, of which the first few are given, in words and with their remedies."""
    if len(named) != min(total, _NAMED):
        msg = f"overlaps got lost: {total} found, {len(named)} of at most {_NAMED} listed"
        raise RuntimeError(msg)
    if not named:
        return
    for overlap, _ in named:
        _LOG.error("%s", overlap)
    overlap, remedy = named[0]
    more = f", and {total - 1} more" if total > 1 else ""
    msg = f"{overlap}{more}: {remedy}"
    raise OverlapError(msg)


def _report(counts: dict[Place, Counter[str]]) -> dict[str, dict[str, dict[str, int]]]:
    report: dict[str, dict[str, dict[str, int]]] = {"external_sets": {}, "splits": {}}
    for place, of_place in counts.items():
        section = "external_sets" if place.kind == _EXTERNAL else "splits"
        report[section][place.name] = {"images": of_place[_READ], "patients": of_place[_PATIENTS]}
    return report
