"""Reads samples on all CPUs and writes their records to the file of a shard.

>>> written = write_shard("data/.span-1.partial", 0, 16, samples, ReadOptions(size=512))
>>> written.samples, len(written.rejections)
(249, 1)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from components.threads import OrderedPool, count_cpus
from pipeline.errors import UserError
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.pairing import Rejection
from pipeline.ingest.samples import ReadOptions, Sample
from pipeline.ingest.storage.errors import error_reason
from pipeline.ingest.storage.files import is_local, join, replace_file
from pipeline.ingest.storage.tfrecord import write_record

_MOST_THREADS: Final = 16
# Now and then a thread waits for the GIL; one more keeps its CPU at work meanwhile. With four more an image takes 8 %
# more of a CPU's time, for their pixels push each other out of its cache: they pay only where files are waited for.
_SPARE_THREADS: Final = 1
_SPARE_THREADS_FOR_A_STORE: Final = 4


@dataclass(frozen=True)
class WrittenShard:
    """What became of the samples of one shard.

    Attributes:
        index: Number of the shard.
        size: Of its file, bytes.
        samples: How many were written.
        origins: Of each record its image_id, and the name of its sample.
        patients: Different patients among the records.
        rejections: Of samples that were not written.
    """

    index: int
    size: int
    samples: int
    origins: tuple[tuple[str, str], ...]
    patients: frozenset[str]
    rejections: tuple[Rejection, ...]


@dataclass(frozen=True)
class EncodedSample:
    """The records of one sample: serialized, their image_ids, and their patients."""

    name: str
    records: list[bytes]
    image_ids: list[str]
    patients: set[str]


def shard_name(index: int, count: int) -> str:
    """Return the name of the file of a shard."""
    return f"records-{index:05d}-of-{count:05d}.tfrecord"


def write_shard(
    folder: str, index: int, count: int, samples: Sequence[Sample], options: ReadOptions, threads: int | None = None
) -> WrittenShard:
    """Read samples on all CPUs and write their records, in the order of the samples' names, to one TFRecord file.

    The file appears whole, in place of what an earlier attempt left; the same samples give the same bytes.

    Args:
        folder: Where to write, in the output folder.
        index: Number of the shard.
        count: Number of shards.
        samples: In any order.
        options: How they are read.
        threads: On which they are read, where all CPUs would need too much memory.

    Raises:
        UserError: The file cannot be written.
    """
    size, origins, patients, rejections = 0, [], set[str](), []
    encode = partial(encode_sample, options=options)
    ordered = sorted(samples, key=lambda sample: sample.name)
    from_store = not all(is_local(path) for sample in ordered for path in sample.files)
    try:
        with (
            replace_file(join(folder, shard_name(index, count))) as file,
            OrderedPool(threads or count_threads(from_store=from_store)) as pool,
        ):
            for result in pool.map(encode, ordered):
                if isinstance(result, Rejection):
                    rejections.append(result)
                    continue
                size += sum(write_record(file, record) for record in result.records)
                origins += [(image_id, result.name) for image_id in result.image_ids]
                patients |= result.patients
    except OSError as error:
        raise UserError(f"cannot write to {folder.rpartition('/')[0]}: {error_reason(error)}") from error
    written = len(ordered) - len(rejections)
    return WrittenShard(index, size, written, tuple(origins), frozenset(patients), tuple(rejections))


def count_threads(*, from_store: bool = False) -> int:
    """Return how many threads keep all CPUs at work, given whether the files they read come from a store."""
    cpus = count_cpus()
    if cpus == 1:
        return 1
    return min(cpus + (_SPARE_THREADS_FOR_A_STORE if from_store else _SPARE_THREADS), _MOST_THREADS)


def encode_sample(sample: Sample, options: ReadOptions) -> EncodedSample | Rejection:
    """Read a sample and serialize its records; what cannot be taken is refused as a whole."""
    from schema.record import RecordError, encode

    encoded = EncodedSample(sample.name, [], [], set())
    try:
        for record in sample.read(options):
            encoded.records.append(encode(record))
            encoded.image_ids.append(record.image_id)
            encoded.patients.add(record.patient_id)
    except UnicodeEncodeError:
        return Rejection(sample.name, "has a name that is no UTF-8 text")
    except RecordError as error:
        return Rejection(sample.name, f"makes a record that breaks the contract: {error}")
    except ImageError as error:
        return Rejection(sample.name, str(error))
    return encoded if encoded.records else Rejection(sample.name, "holds nothing to keep")
