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
from pipeline.ingest.beam.pickling import pack, unpack
from pipeline.ingest.pairing import Rejection, stem_key
from pipeline.ingest.samples import ReadOptions, Sample
from pipeline.ingest.shard_writer import WrittenShard, write_shard

RECORDS_PER_SHARD: Final = 250
"""About how many records a file holds: 35 MB of 512-pixel radiographs."""

_SAMPLES, _INDICES = "samples", "indices"
_MOST_NAMED: Final = 3


class WriteShards(beam.PTransform):
    """Samples to shards: a collection of `WrittenShard`, whose rejections are the samples that were refused.

    Args:
        folder: Where to write.
        shards: Fewest files, unless there are fewer samples.
        records_per_sample: About how many a sample becomes.
        options: How samples are read.
    """

    def __init__(self, folder: str, shards: int, records_per_sample: int, options: ReadOptions) -> None:
        super().__init__()
        self._folder, self._options = folder, options
        self._shards, self._records_per_sample = shards, records_per_sample

    @no_annotations  # Beam knows no such types
    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        """Write `samples`, none of them where there are `errors`."""
        samples, errors = inputs["samples"], inputs["errors"]
        counted = (
            samples
            | "Count samples" >> beam.combiners.Count.Globally()
            | "Count shards"
            >> beam.Map(count_shards, self._shards, self._records_per_sample, beam.pvalue.AsIter(errors))
        )
        count = beam.pvalue.AsSingleton(counted)
        grouped = {
            _SAMPLES: samples | "Assign" >> beam.FlatMap(_assign, count),
            _INDICES: counted | "List shards" >> beam.FlatMap(_list_shards),
        } | "Group by shard" >> beam.CoGroupByKey()
        write = _Write(self._folder, self._options, 1 if self._records_per_sample > 1 else None)
        written = grouped | "Write" >> beam.ParDo(write, count)
        collisions = (
            written
            | "Name records" >> beam.FlatMap(_name_records)
            | "Group by image_id" >> beam.GroupByKey()
            | "Find collisions" >> beam.FlatMap(_find_collisions)
            | "Collisions by shard" >> beam.GroupByKey()
        )
        by_shard = beam.pvalue.AsDict(collisions)
        rewritten = grouped | "Rewrite" >> beam.ParDo(_Rewrite(write), count, by_shard)
        sound = written | "Sound" >> beam.Filter(_has_no_collision, by_shard)
        return (sound, rewritten) | beam.Flatten() | beam.Values()


def count_shards(samples: int, fewest: int, records_per_sample: int, errors: Iterable[UserError]) -> int:
    """Return how many files to write: none where there are errors."""
    if not samples or any(True for _ in errors):
        return 0
    return max(min(fewest, samples), -(-samples * records_per_sample // RECORDS_PER_SHARD))


def shard_of(name: str, count: int) -> int:
    """Return the number of the shard that a sample goes to, by its name."""
    digest = hashlib.sha256(stem_key(name)).digest()
    return int.from_bytes(digest[:8], "big") % count


def _assign(sample: Sample, count: int) -> Iterator[tuple[int, bytes]]:
    if count:
        yield shard_of(sample.name, count), pack(sample)


def _list_shards(count: int) -> Iterator[tuple[int, None]]:
    """Yield every shard, so that one to which no sample went has its file as well."""
    for index in range(count):
        yield index, None


class _Write(beam.DoFn):
    """The samples of a shard to its file."""

    def __init__(self, folder: str, options: ReadOptions, threads: int | None) -> None:
        self._folder, self._options, self._threads = folder, options, threads

    def process(self, grouped: tuple[int, dict[str, Iterable[Any]]], count: int) -> Iterator[tuple[int, WrittenShard]]:
        index, group = grouped
        yield index, self.write(index, count, list(map(unpack, group[_SAMPLES])))

    def write(self, index: int, count: int, samples: list[Sample]) -> WrittenShard:
        return write_shard(self._folder, index, count, samples, self._options, self._threads)


class _Rewrite(beam.DoFn):
    """Writes a shard again, without the samples whose records have the same image_id as those of others."""

    def __init__(self, write: _Write) -> None:
        self._write = write

    def process(
        self, grouped: tuple[int, dict[str, Iterable[Any]]], count: int, collisions: Mapping[int, Iterable[Rejection]]
    ) -> Iterator[tuple[int, WrittenShard]]:
        index, group = grouped
        if index not in collisions:
            return
        refused = {rejection.file: rejection for rejection in sorted(collisions[index], reverse=True)}
        samples: list[Sample] = list(map(unpack, group[_SAMPLES]))
        rewritten = self._write.write(index, count, [sample for sample in samples if sample.name not in refused])
        # One a sample, not a name, so that what was found adds up even where a layout gives two samples one name.
        rejections = (refused[sample.name] for sample in samples if sample.name in refused)
        yield index, replace(rewritten, rejections=(*rewritten.rejections, *rejections))


def _has_no_collision(written: tuple[int, WrittenShard], collisions: Mapping[int, Iterable[Rejection]]) -> bool:
    index, _ = written
    return index not in collisions


def _name_records(written: tuple[int, WrittenShard]) -> Iterator[tuple[str, tuple[int, str]]]:
    index, shard = written
    for image_id, name in shard.origins:
        yield image_id, (index, name)


def _find_collisions(grouped: tuple[str, Iterable[tuple[int, str]]]) -> Iterator[tuple[int, Rejection]]:
    """Reject all samples whose records have one image_id: which of them is right cannot be told."""
    image_id, found = grouped
    origins = sorted(found)
    if len(origins) == 1:
        return
    for position, (index, name) in enumerate(origins):
        others = [other for _, other in origins[:position] + origins[position + 1 :]]
        named = ", ".join(others[:_MOST_NAMED]) + ", ..." * (len(others) > _MOST_NAMED)
        yield index, Rejection(name, f"has the image_id '{image_id}', as has {named}")
