"""Writes what comes out of an ingest beside records: the list of refused files, and a summary for its caller.

A pipeline hands nothing back but files, whatever it runs on.
"""

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import apache_beam as beam
from apache_beam.typehints.decorators import no_annotations

from pipeline.errors import UserError
from pipeline.ingest.pairing import Rejection, Remark
from pipeline.ingest.shard_writer import WrittenShard
from pipeline.ingest.storage.errors import error_reason
from pipeline.ingest.storage.files import join, replace_file
from pipeline.ingest.storage.span import REJECTED_FILE, write_rejections

SUMMARY_FILE: Final = "summary.json"
MOST_LISTED: Final = 100_000
"""Refused files that are listed by name; more are only counted."""

_LEADING_ZEROS: Final = re.compile(r"(?<![\d.])0+(?=\d)")
_PARTICULARS: Final = re.compile(r"'[^']*'|\S*[./]\S+|\d+")


@dataclass(frozen=True)
class Summary:
    """What became of an input.

    Attributes:
        error: Why nothing was written, for the user; empty where it was.
        found: Samples, and files that were refused before any was read.
        written: Samples.
        records: Of the samples.
        rejected: Files refused.
        patients: Different patients among the records.
        example: File and reason of the first, by name, that is refused for the most frequent kind of reason; empty
            where none is refused.
        remarks: What the user should know beside, in lines.
        sizes: Of the files of the shards by their number, bytes.
    """

    error: str
    found: int
    written: int
    records: int
    rejected: int
    patients: int
    example: str
    remarks: list[str]
    sizes: dict[int, int]

    @classmethod
    def from_json(cls, text: bytes) -> "Summary":
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        sizes = {int(index): size for index, size in fields.pop("sizes").items()}
        return cls(sizes=sizes, **fields)

    def to_json(self) -> bytes:
        """Write as JSON."""
        return json.dumps(dataclasses.asdict(self)).encode()


class WriteSummary(beam.PTransform):
    """Writes `rejected.csv` and the summary into a folder, on one worker.

    Args:
        folder: Where to write.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    @no_annotations  # Beam knows no such types
    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        """Sum up `samples`, `rejections`, `remarks` and `errors` as listed, and `shards`."""
        samples, refused, remarks, errors, shards = (
            inputs[name] for name in ("samples", "rejections", "remarks", "errors", "shards")
        )
        rejections = (refused, shards | "Refused" >> beam.FlatMap(_rejections_of)) | "All rejections" >> beam.Flatten()
        patients = shards | "Patients" >> beam.FlatMap(_patients_of) | "Different patients" >> beam.Distinct()
        counts = {
            name: beam.pvalue.AsSingleton(collection | f"Count {name}" >> beam.combiners.Count.Globally())
            for name, collection in {
                "samples": samples, "refused": refused, "rejected": rejections, "patients": patients,
            }.items()
        }  # fmt: skip
        twins = (
            patients
            | "Loose spelling" >> beam.Map(_spell_loosely)
            | "Group by spelling" >> beam.GroupByKey()
            | "Find twins" >> beam.FlatMap(_find_twins)
            | "Sum up twins" >> beam.CombineGlobally(_sum_up_twins)
            | "Remark twins" >> beam.FlatMapTuple(_remark_twins)
        )
        first = rejections | "First rejections" >> beam.combiners.Top.Smallest(MOST_LISTED)
        return (
            samples.pipeline
            | "Begin" >> beam.Create([self._folder])
            | "Summarize"
            >> beam.Map(
                _summarize,
                errors=beam.pvalue.AsIter(errors | "Error messages" >> beam.Map(str)),
                remarks=beam.pvalue.AsIter((remarks, twins) | "All remarks" >> beam.Flatten()),
                listed=beam.pvalue.AsSingleton(first),
                shards=beam.pvalue.AsIter(shards | "Measure" >> beam.Map(_measure)),
                **counts,
            )
        )


def find_example(rejections: Sequence[Rejection]) -> str:
    """Return file and reason of the first rejection of the most frequent kind; reasons of a kind differ in names."""
    kinds = Counter(_kind_of(rejection) for rejection in rejections)
    frequent = max(kinds.values(), default=0)
    for rejection in rejections:
        if kinds[_kind_of(rejection)] == frequent:
            return f"{rejection.file}: {rejection.reason}"
    return ""


def _kind_of(rejection: Rejection) -> str:
    """Return a reason without what differs between the files: names in quotes, paths and numbers."""
    return _PARTICULARS.sub("", rejection.reason)


def _rejections_of(shard: WrittenShard) -> Iterator[Rejection]:
    yield from shard.rejections


def _patients_of(shard: WrittenShard) -> Iterator[str]:
    yield from shard.patients


def _spell_loosely(patient: str) -> tuple[str, str]:
    """Return a patient by the name without what spreadsheets and typists change: case, leading zeros, a trailing .0."""
    return _LEADING_ZEROS.sub("", patient.casefold()).removesuffix(".0"), patient


def _find_twins(grouped: tuple[str, Iterable[str]]) -> Iterator[tuple[int, str]]:
    """Yield how many patients have one loose spelling, and two of them, where there are several."""
    patients = sorted(grouped[1])
    if len(patients) > 1:
        yield len(patients), f"'{patients[0]}' and '{patients[1]}'"


def _sum_up_twins(twins: Iterable[tuple[int, str]]) -> tuple[int, str]:
    """Return how many patients there are with others of their loose spelling, and the first two for example."""
    counts, examples = zip((0, ""), *twins, strict=True)
    return sum(counts), min(filter(None, examples), default="")


def _remark_twins(count: int, example: str) -> Iterator[Remark]:
    if count:
        yield Remark(
            f"{count} patients differ from another only in case, leading zeros or a trailing .0, such as {example}: "
            "spell those who are one alike"
        )


def _measure(shard: WrittenShard) -> tuple[int, int, int, int]:
    return shard.index, shard.size, shard.samples, len(shard.origins)


def _summarize(
    folder: str,
    *,
    errors: Iterable[str],
    remarks: Iterable[Remark],
    listed: list[Rejection],
    shards: Iterable[tuple[int, int, int, int]],
    samples: int,
    refused: int,
    rejected: int,
    patients: int,
) -> None:
    """Write both files."""
    measured = sorted(shards)
    summary = Summary(
        error=min(errors, default=""),
        found=samples + refused,
        written=sum(written for _, _, written, _ in measured),
        records=sum(records for *_, records in measured),
        rejected=rejected,
        patients=patients,
        example=find_example(listed),
        remarks=sorted(remark.text for remark in remarks),
        sizes={index: size for index, size, _, _ in measured},
    )
    try:
        write_rejections(join(folder, REJECTED_FILE), listed)
        with replace_file(join(folder, SUMMARY_FILE)) as file:
            file.write(summary.to_json())
    except OSError as error:
        raise UserError(f"cannot write to {folder.rpartition('/')[0]}: {error_reason(error)}") from error
