"""Samples to records, and records to shards.

TensorFlow takes seconds to import: it is imported where it is used, so that wrong arguments are answered at once.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import reduce
from itertools import cycle
from pathlib import Path

import numpy as np

from pipeline.errors import UserError
from pipeline.ingest.images import ImageError, Pixels, read_image, resize_image
from pipeline.ingest.layouts import Sample
from pipeline.ingest.masks import read_mask, resize_mask
from pipeline.ingest.pairing import relative


def encode_sample(sample: Sample, root: Path, size: int) -> bytes:
    """Reads a sample and serializes it as a record of `size` x `size` pixels.

    Raises:
        ImageError: image or mask cannot be taken; a mask is named by its path below `root`.
    """
    from schema.record import Record, encode

    image = read_image(sample.image)
    height, width = image.shape
    mask = reduce(np.maximum, [_read_mask_of(image, path, root) for path in sample.masks])
    description = sample.description
    try:
        return encode(
            Record(
                image=resize_image(image, size),
                mask=resize_mask(mask, size),
                image_id=sample.image_id,
                patient_id=description.patient_id,
                source=description.source,
                width=width,
                height=height,
                finding=description.finding,
                view=description.view,
                sex=description.sex,
                age=description.age,
            )
        )
    except UnicodeEncodeError as error:
        raise ImageError("has a name that is no UTF-8 text") from error


@contextmanager
def open_shards(folder: Path, count: int) -> Iterator[Callable[[bytes], None]]:
    """Yields a function that deals serialized records over `count` uncompressed TFRecord files in turn.

    Raises:
        UserError: a file cannot be written.
    """
    import tensorflow as tf

    paths = [folder / f"records-{index:05d}-of-{count:05d}.tfrecord" for index in range(count)]
    try:
        with ExitStack() as stack:
            shards = cycle([stack.enter_context(tf.io.TFRecordWriter(str(path))) for path in paths])
            yield lambda record: next(shards).write(record)
    except tf.errors.OpError as error:
        raise UserError(f"cannot write to {folder.parent}: {error.message}") from error


def _read_mask_of(image: Pixels, path: Path, root: Path) -> Pixels:
    name = relative(root, path)
    try:
        mask = read_mask(path)
    except ImageError as error:
        raise ImageError(f"has the mask {name}, which {error}") from error
    if mask.shape != image.shape:
        raise ImageError(f"is {_size(image)}, but its mask {name} is {_size(mask)}")
    return mask


def _size(pixels: Pixels) -> str:
    height, width = pixels.shape
    return f"{width} x {height}"
