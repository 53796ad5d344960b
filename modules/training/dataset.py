"""Reads what Transform wrote, in an order that follows from the seed and the epoch, and deals it out to the replicas.

A step's images are dealt out in shares that differ by one at most, and the steps of an epoch as well: no replica is
ever without an image. An epoch has each image once, unless originals stand in for copies, or it is told how many images
it has: then no image comes more than once oftener than another, over any number of epochs.

    examples = read_examples(["Split-train/*"], size=128)
    plan = plan_steps(examples.total, batch_size=8, replicas=2)
    steps = distribute(strategy, examples, plan, epochs=range(3), seed=7)
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import tensorflow as tf

from modules.preprocessing.transform import parse_pixels
from schema import features

MEMORY_BYTES: Final = 96 * 2**20
"""For records that are kept in memory: all of them where they fit, else those among which the order is shuffled."""

HALF: Final = 127
"""Share of lung, 0-255, above which a pixel is lung."""

_FILES_AT_ONCE = 8
# A long-lived iterator with autotuning waits when it goes for its tuner, which may be asleep: on one core, the end of a
# training of half a minute took up to half a minute more.
_WITHOUT_TUNER: Final = tf.data.Options()
_WITHOUT_TUNER.autotune.enabled = False
_PREFETCHED: Final = 2

_LOG = logging.getLogger("lungseg.trainer")


@dataclass(frozen=True)
class Examples:
    """Transformed examples.

    Attributes:
        records: serialized examples, string scalars, in the order of the files.
        distinct: how many records there are.
        total: images of an epoch; not `distinct` where originals stand in for copies, or another number is asked for.
        length: bytes of all records.
        buffer: among how many at a time the order is shuffled; all where they fit into `MEMORY_BYTES`.
        size: side of the images, pixels.
    """

    records: tf.data.Dataset
    distinct: int
    total: int
    length: int
    buffer: int
    size: int

    def parse(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Read image, float16, and share of lung, uint8 (0-255), [size, size, 1] each, of one record."""
        spec = {name: tf.io.FixedLenFeature([], tf.string) for name in (features.IMAGE, features.MASK)}
        parsed = tf.io.parse_single_example(record, spec)
        return (
            parse_pixels(parsed[features.IMAGE], tf.float16, self.size),
            parse_pixels(parsed[features.MASK], tf.uint8, self.size),
        )


def read_examples(
    patterns: Sequence[str],
    size: int,
    copies: Literal["keep", "replace", "drop"] = "keep",
    images_per_original: int | None = None,
) -> Examples:
    """Look through the files once, and keep the records in memory where they fit.

    Args:
        patterns: gzipped TFRecord files, or patterns of them.
        size: side of the images, pixels.
        copies: what becomes of augmented copies. `replace`: an epoch has as many images as with them, but only
            originals, each the same number of times or once more; which come once more changes from epoch to epoch.
        images_per_original: how many images an epoch has for each original, of those that `copies` leaves: each as
            often as another or once more, or only some of them, others in the next epoch. None: as `copies` says.

    Raises:
        ValueError: there are no files, no examples in them, or no originals where they are asked for.
    """
    records = _read_records(patterns)
    everything, distinct, length = _count(records, _is_any if copies == "keep" else _is_original)
    if everything == 0:
        raise ValueError(f"no examples in {', '.join(patterns)}")
    originals = _count(records, _is_original)[1] if images_per_original else distinct
    if min(distinct, originals) == 0:
        raise ValueError(
            f"no originals in {', '.join(patterns)}, only copies: set train.copies to true, or augment originals"
        )
    if copies != "keep":
        records = records.filter(_is_original)
    total = everything if copies == "replace" else distinct
    if images_per_original:
        total = originals * images_per_original
    fits = length <= MEMORY_BYTES
    kind = "examples" if copies == "keep" else "originals"
    anew = "" if fits else ", read anew in each epoch"
    _LOG.info("%d %s of %.0f kB%s", distinct, kind, length / distinct / 1e3, anew)
    buffer = total if fits else max(1, MEMORY_BYTES * distinct // length)
    return Examples(records.cache() if fits else records, distinct, total, length, buffer, size)


def draw_examples(patterns: Sequence[str], size: int, most: int, *, originals: bool = False) -> tf.data.Dataset:
    """Draw some records, the same ones each time: the first ones would be of a few patients, or slices of one volume.

    Args:
        patterns: As for `read_examples`.
        size: side of the images, pixels.
        most: how many at most.
        originals: leaves copies out.

    Returns:
        Images and shares of lung, as `Examples.parse` gives them, in the order of the files.
    """
    records = _read_records(patterns)
    if originals:
        records = records.filter(_is_original)
    _, distinct, length = _count(records, _is_any)
    drawn = Examples(records, distinct, min(most, distinct), length, buffer=1, size=size)
    return _in_turn(drawn, tf.constant(0, tf.int64), seed=0).map(drawn.parse)


def _read_records(patterns: Sequence[str]) -> tf.data.Dataset:
    """Read serialized examples, in the order of the files."""
    # A Beam worker that died may have left a folder beside the files.
    files = [file for file in sorted(tf.io.gfile.glob(list(patterns))) if not tf.io.gfile.isdir(file)]
    if not files:
        raise ValueError(f"no files {', '.join(patterns)}")
    return tf.data.Dataset.from_tensor_slices(files).interleave(
        lambda file: tf.data.TFRecordDataset(file, compression_type="GZIP"),
        cycle_length=_FILES_AT_ONCE,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


def _count(records: tf.data.Dataset, is_kept: Callable[[tf.Tensor], tf.Tensor]) -> tuple[int, int, int]:
    """Count the records, those of them that are kept, and the bytes of those."""

    def add(sums: tuple[tf.Tensor, ...], record: tf.Tensor) -> tuple[tf.Tensor, ...]:
        kept = tf.cast(is_kept(record), tf.int64)
        return sums[0] + 1, sums[1] + kept, sums[2] + kept * tf.cast(tf.strings.length(record), tf.int64)

    everything, kept, length = records.reduce((tf.constant(0, tf.int64),) * 3, add)
    return int(everything), int(kept), int(length)


def _is_any(_: tf.Tensor) -> tf.Tensor:
    return tf.constant(True)


def _is_original(record: tf.Tensor) -> tf.Tensor:
    spec = {features.IS_AUGMENTED: tf.io.FixedLenFeature([], tf.int64)}
    return tf.equal(tf.io.parse_single_example(record, spec)[features.IS_AUGMENTED], 0)


@dataclass(frozen=True)
class StepPlan:
    """How an epoch's images fall into steps, and a step's images to replicas.

    Attributes:
        total: images of an epoch.
        steps: of an epoch.
        replicas: over all workers.
    """

    total: int
    steps: int
    replicas: int

    def step_of(self, place: tf.Tensor) -> tf.Tensor:
        """Return the step to which the image at a place of the epoch's order belongs; int64 scalars."""
        return ((place + 1) * self.steps - 1) // self.total

    def images_of(self, step: tf.Tensor) -> tf.Tensor:
        """Return how many images a step has."""
        return self._start(step + 1) - self._start(step)

    def replica_of(self, place: tf.Tensor) -> tf.Tensor:
        """Return the replica to which the image at a place of the epoch's order is dealt."""
        step = self.step_of(place)
        return ((place - self._start(step) + 1) * self.replicas - 1) // self.images_of(step)

    def share_of(self, step: tf.Tensor, replica: tf.Tensor) -> tf.Tensor:
        """Return how many images of a step are dealt to a replica."""
        images = self.images_of(step)
        return images * (replica + 1) // self.replicas - images * replica // self.replicas

    def _start(self, step: tf.Tensor) -> tf.Tensor:
        return self.total * step // self.steps


def plan_steps(total: int, batch_size: int, replicas: int) -> StepPlan:
    """Plan as few steps as `batch_size` images a replica allow.

    Raises:
        ValueError: some replica would be without an image in some step.
    """
    steps = math.ceil(total / (batch_size * replicas))
    if total // steps < replicas:
        remedy = "raise train.batch_size" if total >= replicas else "use fewer devices or more data"
        raise ValueError(
            f"{total} examples cannot be dealt out to {replicas} replicas with a batch size of {batch_size}: {remedy}"
        )
    return StepPlan(total, steps, replicas)


def distribute(
    strategy: tf.distribute.Strategy,
    examples: Examples,
    plan: StepPlan,
    *,
    epochs: range = range(1),
    seed: int | None = None,
) -> tf.distribute.DistributedDataset:
    """Deal out the steps of some epochs to the replicas of this worker.

    Args:
        strategy: whose replicas and workers share the images out among themselves.
        examples: of which there are `plan.total`.
        plan: of the epochs.
        epochs: numbers of the epochs; the order of each follows from the seed and its number alone, so that it can be
            the first one after an interruption.
        seed: None leaves the order as it is.

    Returns:
        Elements of a replica in a step: images and shares of lung, float32 [batch, size, size, 1], and the number of
        images over all replicas, float32 scalar.
    """

    def shares_of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local = plan.replicas // context.num_input_pipelines
        mine = range(context.input_pipeline_id * local, (context.input_pipeline_id + 1) * local)
        shares = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(
            lambda epoch: _shares_of_epoch(_ordered(examples, seed, epoch), examples, plan, mine)
        )
        return shares.prefetch(_PREFETCHED).with_options(_WITHOUT_TUNER)

    return strategy.distribute_datasets_from_function(shares_of_worker)


def _ordered(examples: Examples, seed: int | None, epoch: tf.Tensor) -> tf.data.Dataset:
    records = _in_turn(examples, epoch, seed or 0) if examples.distinct != examples.total else examples.records
    if seed is None:
        return records
    return records.shuffle(examples.buffer, seed=seed + epoch, reshuffle_each_iteration=False)


def _in_turn(examples: Examples, epoch: tf.Tensor, seed: int) -> tf.data.Dataset:
    """Make as many records as an epoch has images.

    Each is repeated on the spot, or left out: the files are read once all the same. Over n epochs from any one on, the
    record whose turn is t in the first comes floor((t + n) * total / distinct) - floor(t * total / distinct) times,
    since its turns in each add up to that: none more than once oftener than another. Turns are drawn by the seed: in
    the order of the files, where each original lies before its copies, all originals would have theirs at once.
    """
    places = tf.range(examples.distinct, dtype=tf.int64)
    turns = tf.random.experimental.stateless_shuffle(places, seed=tf.constant([seed, 0], tf.int64))

    def times_before(turn: tf.Tensor) -> tf.Tensor:
        return examples.total * turn // examples.distinct

    def repeat(place: tf.Tensor, record: tf.Tensor) -> tf.data.Dataset:
        turn = turns[place] + epoch
        return tf.data.Dataset.from_tensors(record).repeat(times_before(turn + 1) - times_before(turn))

    return examples.records.enumerate().flat_map(repeat)


def _shares_of_epoch(records: tf.data.Dataset, examples: Examples, plan: StepPlan, mine: range) -> tf.data.Dataset:
    """Make the shares of the replicas in `mine`, in the order of steps and replicas."""

    def is_mine(place: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        replica = plan.replica_of(place)
        return tf.logical_and(replica >= mine.start, replica < mine.stop)

    def parse(place: tf.Tensor, record: tf.Tensor) -> tuple[tf.Tensor, ...]:
        share = plan.step_of(place) * plan.replicas + plan.replica_of(place)
        return share, *examples.parse(record)

    def size(share: tf.Tensor) -> tf.Tensor:
        return plan.share_of(share // plan.replicas, share % plan.replicas)

    def batch(share: tf.Tensor, images: tf.data.Dataset) -> tf.data.Dataset:
        images_of_step = tf.cast(plan.images_of(share // plan.replicas), tf.float32)
        # Pixels become single precision here and not before: there is less to copy.
        return images.batch(size(share)).map(
            lambda _, image, lung: (tf.cast(image, tf.float32), tf.cast(lung, tf.float32) / 255, images_of_step)
        )

    numbered = records.enumerate()
    if len(mine) < plan.replicas:
        numbered = numbered.filter(is_mine)  # before the work that other workers do
    parsed = numbered.map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return parsed.group_by_window(lambda share, *_: share, batch, window_size_func=size)
