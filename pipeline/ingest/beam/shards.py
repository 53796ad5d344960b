"""Beam transforms that write samples as shards: each sample goes to one shard, by a hash of its name.

What is shuffled is samples, never pixels. A shard's file is written under a temporary name and renamed, so that a
bundle that a runner tries again, or runs twice, leaves the same file.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import apache_beam as beam
from apache_beam.typehints.decorators import no_annotations

from pipeline.errors import UserError
from pipeline.ingest.beam.file_listing import stem_key
from pipeline.ingest.beam.pickling import pack, unpack
from pipeline.ingest.pairing import Rejection
from pipeline.ingest.samples import Reading, Sample
from pipeline.ingest.storage.tfrecord import Shard, write_shard

RECORDS_PER_SHARD: Final = 250
"""About how many records a file holds: 35 MB of 512-pixel radiographs."""

_SAMPLES, _INDICES = "samples", "indices"
_NAMED_TWINS: Final = 3


class WriteShards(beam.PTransform):
    """Samples to shards in a folder: a collection of `Shard`, whose rejections are the samples that were refused."""

    def __init__(self, folder: str, shards: int, records_per_sample: int, reading: Reading) -> None:
        """Takes how to write.

        Args:
            folder: where to write.
            shards: fewest files, unless there are fewer samples.
            records_per_sample: about how many a sample becomes.
            reading: how samples are read.
        """
        super().__init__()
        self._folder, self._shards, self._records_per_sample, self._reading = (
            folder,
            shards,
            records_per_sample,
            reading,
        )

    @no_annotations  # Beam knows no such types
    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        """Takes `samples`, and `mistakes` that keep all of them from being written."""
        samples, mistakes = inputs["samples"], inputs["mistakes"]
        counted = (
            samples
            | "Count samples" >> beam.combiners.Count.Globally()
            | "Count shards"
            >> beam.Map(count_shards, self._shards, self._records_per_sample, beam.pvalue.AsIter(mistakes))
        )
        count = beam.pvalue.AsSingleton(counted)
        grouped = {
            _SAMPLES: samples | "Assign" >> beam.FlatMap(_assign, count),
            _INDICES: counted | "Number" >> beam.FlatMap(_number),
        } | "Group by shard" >> beam.CoGroupByKey()
        write = _Write(self._folder, self._reading, 1 if self._records_per_sample > 1 else None)
        written = grouped | "Write" >> beam.ParDo(write, count)
        twins = (
            written
            | "Name records" >> beam.FlatMap(_name_records)
            | "Group by image_id" >> beam.GroupByKey()
            | "Find twins" >> beam.FlatMap(_find_twins)
            | "Twins by shard" >> beam.GroupByKey()
        )
        by_shard = beam.pvalue.AsDict(twins)
        again = grouped | "Write again" >> beam.ParDo(_WriteWithoutTwins(write), count, by_shard)
        return (written | "Sound" >> beam.Filter(_has_no_twins, by_shard), again) | beam.Flatten() | beam.Values()


def count_shards(samples: int, fewest: int, records_per_sample: int, mistakes: Iterable[UserError]) -> int:
    """How many files to write: none where there are mistakes."""
    if not samples or any(True for _ in mistakes):
        return 0
    return max(min(fewest, samples), -(-samples * records_per_sample // RECORDS_PER_SHARD))


def shard_of(name: str, count: int) -> int:
    """The shard that a sample goes to, by its name."""
    digest = hashlib.sha256(stem_key(name)).digest()
    return int.from_bytes(digest[:8], "big") % count


def _assign(sample: Sample, count: int) -> Iterator[tuple[int, bytes]]:
    if count:
        yield shard_of(sample.name, count), pack(sample)


def _number(count: int) -> Iterator[tuple[int, None]]:
    """Every shard, so that one to which no sample went has its file as well."""
    for index in range(count):
        yield index, None


class _Write(beam.DoFn):
    """The samples of a shard to its file."""

    def __init__(self, folder: str, reading: Reading, threads: int | None) -> None:
        self._folder, self._reading, self._threads = folder, reading, threads

    def process(self, grouped: tuple[int, dict[str, Iterable[Any]]], count: int) -> Iterator[tuple[int, Shard]]:
        index, group = grouped
        yield index, self.write(index, count, list(map(unpack, group[_SAMPLES])))

    def write(self, index: int, count: int, samples: list[Sample]) -> Shard:
        return write_shard(self._folder, index, count, samples, self._reading, self._threads)


class _WriteWithoutTwins(beam.DoFn):
    """Writes a shard again of which some samples have records of the same image_id as others."""

    def __init__(self, write: _Write) -> None:
        self._write = write

    def process(
        self, grouped: tuple[int, dict[str, Iterable[Any]]], count: int, twins: Mapping[int, Iterable[Rejection]]
    ) -> Iterator[tuple[int, Shard]]:
        index, group = grouped
        if index not in twins:
            return
        refused: dict[str, Rejection] = {one.file: one for one in sorted(twins[index], reverse=True)}
        samples = [sample for sample in map(unpack, group[_SAMPLES]) if sample.name not in refused]
        again = self._write.write(index, count, samples)
        yield index, replace(again, rejections=(*again.rejections, *refused.values()))


def _has_no_twins(written: tuple[int, Shard], twins: Mapping[int, Iterable[Rejection]]) -> bool:
    index, _ = written
    return index not in twins


def _name_records(written: tuple[int, Shard]) -> Iterator[tuple[str, tuple[int, str]]]:
    index, shard = written
    for image_id, name in shard.origins:
        yield image_id, (index, name)


def _find_twins(grouped: tuple[str, Iterable[tuple[int, str]]]) -> Iterator[tuple[int, Rejection]]:
    image_id, found = grouped
    origins = sorted(found)
    if len(origins) == 1:
        return
    for position, (index, name) in enumerate(origins):
        others = [other for _, other in origins[:position] + origins[position + 1 :]]
        named = ", ".join(others[:_NAMED_TWINS]) + ", ..." * (len(others) > _NAMED_TWINS)
        yield index, Rejection(name, f"has the image_id '{image_id}', as has {named}")
