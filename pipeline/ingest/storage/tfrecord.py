"""Samples to records, and records to the file of a shard.

TensorFlow takes seconds to import: it is imported where it is used, so that wrong arguments are answered at once.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Final

import google_crc32c

from pipeline.errors import UserError
from pipeline.ingest.formats.raster import ImageError
from pipeline.ingest.pairing import Rejection
from pipeline.ingest.parallel import count_threads, parallel_map
from pipeline.ingest.samples import Reading, Sample
from pipeline.ingest.storage.files import is_local, join, reason_of, replace_file

_MASK_DELTA: Final = 0xA282EAD8  # of TensorFlow's masked checksums


@dataclass(frozen=True)
class Shard:
    """What became of the samples of one shard.

    Attributes:
        index: number of the shard.
        size: of its file, bytes.
        samples: how many were written.
        origins: of each record its image_id, and the name of its sample.
        patients: different patients among the records.
        rejections: of samples that were not written.
    """

    index: int
    size: int
    samples: int
    origins: tuple[tuple[str, str], ...]
    patients: frozenset[str]
    rejections: tuple[Rejection, ...]


@dataclass(frozen=True)
class Encoded:
    """The records of one sample: serialized, their image_ids, and their patients."""

    name: str
    records: list[bytes]
    image_ids: list[str]
    patients: set[str]


def shard_name(index: int, count: int) -> str:
    """Name of the file of a shard."""
    return f"records-{index:05d}-of-{count:05d}.tfrecord"


def write_shard(
    folder: str, index: int, count: int, samples: Sequence[Sample], reading: Reading, threads: int | None = None
) -> Shard:
    """Reads samples on all cores and writes their records, in the order of the samples' names, to one TFRecord file.

    The file appears whole, in place of what an earlier attempt left; the same samples give the same bytes.

    Args:
        folder: where to write, in the output folder.
        index: number of the shard.
        count: number of shards.
        samples: in any order.
        reading: how they are read.
        threads: on which they are read, where all cores would need too much memory.

    Raises:
        UserError: the file cannot be written.
    """
    size, origins, patients, rejections = 0, [], set[str](), []
    encode = partial(encode_sample, reading=reading)
    ordered = sorted(samples, key=lambda sample: sample.name)
    from_store = not all(is_local(path) for sample in ordered for path in sample.files)
    try:
        with (
            replace_file(join(folder, shard_name(index, count))) as file,
            parallel_map(encode, ordered, threads or count_threads(from_store=from_store)) as results,
        ):
            for result in results:
                if isinstance(result, Rejection):
                    rejections.append(result)
                    continue
                size += sum(write_record(file, record) for record in result.records)
                origins += [(image_id, result.name) for image_id in result.image_ids]
                patients |= result.patients
    except OSError as error:
        raise UserError(f"cannot write to {folder.rpartition('/')[0]}: {reason_of(error)}") from error
    written = len(ordered) - len(rejections)
    return Shard(index, size, written, tuple(origins), frozenset(patients), tuple(rejections))


def encode_sample(sample: Sample, reading: Reading) -> Encoded | Rejection:
    """Reads a sample and serializes its records; what cannot be taken is refused as a whole."""
    from schema.record import RecordError, encode

    encoded = Encoded(sample.name, [], [], set())
    try:
        for record in sample.read(reading):
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


def write_record(file: BinaryIO, data: bytes) -> int:
    """Appends a record to an uncompressed TFRecord file: length, its checksum, data, their checksum.

    Returns:
        Bytes written.
    """
    length = struct.pack("<Q", len(data))
    framed = (length, _checksum(length), data, _checksum(data))
    file.writelines(framed)
    return sum(map(len, framed))


def _checksum(data: bytes) -> bytes:
    """CRC-32C, rotated right by 15 bits, plus a constant."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)
