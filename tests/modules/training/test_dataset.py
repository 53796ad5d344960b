"""Reading and dealing out: every image once in an epoch, in equal shares, in an order that follows from the seed."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.training import dataset as reading
from modules.training.dataset import (
    Examples,
    StepPlan,
    _ordered,
    _shares_of_epoch,
    distribute,
    draw_examples,
    plan_steps,
    read_examples,
)

SIZE = 16

Write = Callable[..., str]


def shares_of(examples: Examples, plan: StepPlan, mine: range) -> list[np.ndarray]:
    """The first pixel of each image, which tells them apart, by share."""
    shares = _shares_of_epoch(examples.records, examples, plan, mine)
    return [image[:, 0, 0, 0] for image, _, _ in shares.as_numpy_iterator()]


def epochs_of(examples: Examples, plan: StepPlan, **order: Any) -> list[tuple[Any, ...]]:
    return [
        tuple(part.numpy() for part in step)
        for step in distribute(tf.distribute.get_strategy(), examples, plan, **order)
    ]


def same(batches: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> bool:
    return len(batches) == len(other) and all(
        np.array_equal(a, b) for x, y in zip(batches, other, strict=True) for a, b in zip(x, y, strict=True)
    )


@settings(deadline=None)
@given(total=st.integers(1, 200), batch_size=st.integers(1, 9), replicas=st.integers(1, 5))
def test_a_plan_deals_everything_out_evenly(total: int, batch_size: int, replicas: int) -> None:
    try:
        plan = plan_steps(total, batch_size, replicas)
    except ValueError:
        assert total // -(-total // (batch_size * replicas)) < replicas
        return
    places = [(int(plan.step_of(place)), int(plan.replica_of(place))) for place in range(total)]
    assert places == sorted(places)
    shares = {place: places.count(place) for place in places}
    assert len(shares) == plan.steps * replicas
    assert max(shares.values()) <= batch_size
    for (step, replica), count in shares.items():
        assert count == plan.share_of(step, replica)
    images = [sum(shares[step, replica] for replica in range(replicas)) for step in range(plan.steps)]
    assert images == [plan.images_of(step) for step in range(plan.steps)]
    assert max(images) - min(images) <= 1


def test_one_image_for_several_replicas() -> None:
    with pytest.raises(ValueError, match=r"^3 examples cannot be dealt out to 4 replicas with .* of 8: use few"):
        plan_steps(3, 8, 4)
    with pytest.raises(ValueError, match=r"^5 examples cannot be dealt out to 4 .* of 1: raise train\.batch_size$"):
        plan_steps(5, 1, 4)
    with pytest.raises(ValueError, match=r"^9 examples cannot be dealt out to 4 .* of 1: raise train\.batch_size$"):
        plan_steps(9, 1, 4)


@pytest.mark.parametrize(("total", "batch_size", "replicas"), [(13, 4, 1), (13, 4, 2), (9, 2, 4), (16, 2, 4)])
def test_every_image_comes_once(
    write_examples: Write, tmp_path: Path, total: int, batch_size: int, replicas: int
) -> None:
    examples = read_examples([write_examples(tmp_path / "a.gz", total)], SIZE)
    plan = plan_steps(total, batch_size, replicas)
    everything = shares_of(examples, plan, range(replicas))
    assert len(everything) == plan.steps * replicas
    assert len(np.unique(np.concatenate(everything))) == total
    alone = [shares_of(examples, plan, range(replica, replica + 1)) for replica in range(replicas)]
    for index, share in enumerate(everything):
        assert np.array_equal(alone[index % replicas][index // replicas], share)


def test_files_are_read_to_the_end(write_examples: Write, tmp_path: Path) -> None:
    write_examples(tmp_path / "a-0.gz", 2)
    write_examples(tmp_path / "a-1.gz", 3, seed=1)
    examples = read_examples([f"{tmp_path}/a-*"], SIZE)
    assert (examples.total, examples.buffer, examples.size) == (5, 5, SIZE)
    (image, lung, count), *rest = epochs_of(examples, plan_steps(5, 8, 1))
    assert not rest
    assert count == 5
    assert image.shape == lung.shape == (5, SIZE, SIZE, 1)
    assert image.dtype == lung.dtype == np.float32
    assert set(np.unique(lung)) == {0, 1}


def test_the_order_follows_from_the_seed_and_the_epoch(write_examples: Write, tmp_path: Path) -> None:
    examples = read_examples([write_examples(tmp_path / "a.gz", 12)], SIZE)
    plan = plan_steps(12, 4, 1)
    three = epochs_of(examples, plan, epochs=range(3), seed=7)
    assert same(three, epochs_of(examples, plan, epochs=range(3), seed=7))
    assert same(three[3:], epochs_of(examples, plan, epochs=range(1, 3), seed=7))
    assert not same(three[:3], three[3:6])
    assert not same(three, epochs_of(examples, plan, epochs=range(3), seed=20))
    for epoch in range(3):
        images = np.concatenate([step[0] for step in three[3 * epoch : 3 * epoch + 3]])
        assert len(np.unique(images[:, 0, 0, 0])) == 12


def test_what_does_not_fit_the_memory_is_shuffled_in_part(
    write_examples: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_examples(tmp_path / "a.gz", 12)
    fitting = read_examples([file], SIZE)
    monkeypatch.setattr(reading, "MEMORY_BYTES", 4000)  # of 12 records of about 900 bytes
    streamed = read_examples([file], SIZE)
    assert fitting.buffer == 12
    assert 1 < streamed.buffer < 12
    plan = plan_steps(12, 4, 1)
    images = np.concatenate([step[0] for step in epochs_of(streamed, plan, epochs=range(1), seed=7)])
    assert len(np.unique(images[:, 0, 0, 0])) == 12
    assert same(epochs_of(fitting, plan), epochs_of(streamed, plan))


@pytest.fixture
def mixed(transform_graph: Path, tmp_path: Path) -> Path:
    """What Transform wrote of six originals and three copies."""
    (file,) = transform_graph.glob("examples*.gz")
    return Path(shutil.copy(file, tmp_path / "mixed.gz"))


def images_of(path: Path, is_augmented: int) -> Counter[bytes]:
    """The pixels of all originals, or of all copies, of a file, without the code under test."""
    images: list[bytes] = []
    for serialized in tf.data.TFRecordDataset(str(path), compression_type="GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(serialized).features.feature
        if feature["is_augmented"].int64_list.value[0] == is_augmented:
            pixels = tf.io.parse_tensor(feature["image"].bytes_list.value[0], tf.float16)
            images.append(pixels.numpy().astype(np.float32).tobytes())
    return Counter(images)


def images_seen(examples: Examples, plan: StepPlan, **order: Any) -> list[bytes]:
    return [image.tobytes() for step in epochs_of(examples, plan, **order) for image in step[0]]


def test_an_epoch_on_originals_has_as_many_images_as_one_with_copies(mixed: Path) -> None:
    """Nine places for six originals: three of them come twice, in the next epoch the three others."""
    originals = images_of(mixed, 0)
    assert (len(originals), len(images_of(mixed, 1))) == (6, 3)
    kept, replaced = read_examples([str(mixed)], SIZE), read_examples([str(mixed)], SIZE, "replace")
    assert (kept.distinct, kept.total) == (9, 9)
    assert (replaced.distinct, replaced.total) == (6, 9)
    plan = plan_steps(replaced.total, 4, 1)
    assert plan == plan_steps(kept.total, 4, 1)

    seen = images_seen(replaced, plan, epochs=range(4), seed=7)
    epochs = [Counter(seen[9 * epoch : 9 * epoch + 9]) for epoch in range(4)]
    for epoch in epochs:
        assert set(epoch) == set(originals)
        assert sorted(epoch.values()) == [1, 1, 1, 2, 2, 2]
    assert epochs[0] + epochs[1] == epochs[2] + epochs[3] == Counter(dict.fromkeys(originals, 3))
    with_copies = Counter(images_seen(kept, plan, epochs=range(1), seed=7))
    assert with_copies == originals + images_of(mixed, 1)


@settings(deadline=None)
@given(distinct=st.integers(1, 20), total=st.integers(1, 50), first=st.integers(0, 100))
def test_records_fill_every_epoch_and_have_their_turn(distinct: int, total: int, first: int) -> None:
    records = tf.data.Dataset.range(distinct)
    examples = Examples(records, distinct, total, length=0, buffer=1, size=SIZE)
    seen: Counter[int] = Counter(dict.fromkeys(range(distinct), 0))
    for epoch in range(first, first + 3):
        once = Counter(reading._in_turn(examples, tf.constant(epoch, tf.int64), seed=2**32 - 1).as_numpy_iterator())
        assert sum(once.values()) == total
        seen.update(once)
        assert max(seen.values()) - min(seen.values()) <= 1


@pytest.mark.parametrize("seed", [7, 8])
def test_each_epoch_has_its_part_of_the_originals(seed: int) -> None:
    """The Augmenter writes each original before its 16 copies; five of 17 images have their turn in an epoch."""
    records = tf.data.Dataset.range(442 * 17)
    examples = Examples(records, 442 * 17, 442 * 5, length=0, buffer=1, size=SIZE)
    for epoch in range(8):
        once = reading._in_turn(examples, tf.constant(epoch, tf.int64), seed)
        originals = sum(place % 17 == 0 for place in once.as_numpy_iterator())
        assert originals == pytest.approx(130, abs=40)  # four standard deviations of a draw


def test_as_many_images_for_an_original_whatever_the_copies(mixed: Path) -> None:
    """Six originals, three copies: of twelve images an epoch, three come twice; of six, others come in the next."""
    everything = images_of(mixed, 0) + images_of(mixed, 1)
    more, fewer = (read_examples([str(mixed)], SIZE, "keep", number) for number in (2, 1))
    assert (more.distinct, more.total, fewer.distinct, fewer.total) == (9, 12, 9, 6)
    seen = images_seen(more, plan_steps(12, 4, 1), epochs=range(3), seed=7)
    assert Counter(seen) == Counter(dict.fromkeys(everything, 4))
    seen = images_seen(fewer, plan_steps(6, 4, 1), epochs=range(3), seed=7)
    assert Counter(seen) == Counter(dict.fromkeys(everything, 2))
    assert set(seen[:6]) != set(seen[6:12])

    originals = read_examples([str(mixed)], SIZE, "replace", 2)
    assert (originals.distinct, originals.total) == (6, 12)
    seen = images_seen(originals, plan_steps(12, 4, 1), epochs=range(1), seed=7)
    assert Counter(seen) == Counter(dict.fromkeys(images_of(mixed, 0), 2))


def test_what_is_drawn_is_of_the_whole_file(write_examples: Write, tmp_path: Path) -> None:
    path = tmp_path / "many.gz"
    write_examples(path, 60)
    everything = [image.tobytes() for image, _ in draw_examples([str(path)], SIZE, 100).as_numpy_iterator()]
    assert (len(everything), len(set(everything))) == (60, 60)
    drawn = [image.tobytes() for image, _ in draw_examples([str(path)], SIZE, 20).as_numpy_iterator()]
    places = [everything.index(image) for image in drawn]
    assert (len(places), places) == (20, sorted(set(places)))
    assert sum(place < 30 for place in places) == pytest.approx(10, abs=6)
    assert drawn == [image.tobytes() for image, _ in draw_examples([str(path)], SIZE, 20).as_numpy_iterator()]


def test_originals_alone_are_drawn(mixed: Path) -> None:
    drawn = draw_examples([str(mixed)], SIZE, 6, originals=True).as_numpy_iterator()
    assert Counter(image.astype(np.float32).tobytes() for image, _ in drawn) == images_of(mixed, 0)


def test_originals_alone_come_once(mixed: Path) -> None:
    dropped = read_examples([str(mixed)], SIZE, "drop")
    assert (dropped.distinct, dropped.total, dropped.buffer) == (6, 6, 6)
    assert Counter(images_seen(dropped, plan_steps(6, 4, 1))) == images_of(mixed, 0)


def test_without_copies_there_is_nothing_to_replace(mixed: Path, tmp_path: Path) -> None:
    """Data that hold no copies are seen in the same order, whatever is said of copies."""
    alone = tmp_path / "alone.gz"
    with tf.io.TFRecordWriter(str(alone), "GZIP") as writer:
        for record in read_examples([str(mixed)], SIZE, "drop").records.as_numpy_iterator():
            writer.write(record)
    order = {"epochs": range(3), "seed": 7}
    plan = plan_steps(6, 4, 1)
    kept = epochs_of(read_examples([str(alone)], SIZE), plan, **order)
    assert same(kept, epochs_of(read_examples([str(alone)], SIZE, "replace"), plan, **order))


def test_the_order_of_originals_follows_from_the_seed_and_the_epoch(mixed: Path) -> None:
    plan = plan_steps(9, 4, 1)
    three = epochs_of(read_examples([str(mixed)], SIZE, "replace"), plan, epochs=range(3), seed=7)
    again = read_examples([str(mixed)], SIZE, "replace")
    assert same(three[3:], epochs_of(again, plan, epochs=range(1, 3), seed=7))
    assert same(three, epochs_of(again, plan, epochs=range(3), seed=7))
    assert not same(three, epochs_of(again, plan, epochs=range(3), seed=8))


@pytest.mark.parametrize(("batch_size", "replicas"), [(4, 2), (2, 3), (9, 9)])
def test_originals_are_dealt_out_without_loss(mixed: Path, batch_size: int, replicas: int) -> None:
    examples = read_examples([str(mixed)], SIZE, "replace")
    plan, epoch = plan_steps(9, batch_size, replicas), tf.constant(1, tf.int64)

    def shares(mine: range) -> list[bytes]:
        dealt = _shares_of_epoch(_ordered(examples, 7, epoch), examples, plan, mine)
        return [image.tobytes() for image, _, _ in dealt.as_numpy_iterator()]

    everything = shares(range(replicas))
    assert len(everything) == plan.steps * replicas
    alone = [shares(range(replica, replica + 1)) for replica in range(replicas)]
    assert everything == [alone[index % replicas][index // replicas] for index in range(len(everything))]


def test_memory_is_kept_for_originals_alone(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = read_examples([str(mixed)], SIZE)
    originals = read_examples([str(mixed)], SIZE, "replace")
    assert originals.length * 9 == everything.length * 6  # all records are of one length here
    monkeypatch.setattr(reading, "MEMORY_BYTES", originals.length)
    fitting = read_examples([str(mixed)], SIZE, "replace")
    assert fitting.buffer == 9
    plan = plan_steps(9, 4, 1)
    first = epochs_of(fitting, plan, epochs=range(1), seed=7)
    mixed.unlink()
    assert same(first, epochs_of(fitting, plan, epochs=range(1), seed=7))


def test_originals_that_do_not_fit_the_memory(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitting = read_examples([str(mixed)], SIZE, "replace")
    monkeypatch.setattr(reading, "MEMORY_BYTES", fitting.length // 2)
    streamed = read_examples([str(mixed)], SIZE, "replace")
    assert (streamed.buffer, streamed.total) == (3, 9)
    plan = plan_steps(9, 4, 1)
    assert same(epochs_of(fitting, plan), epochs_of(streamed, plan))
    order = {"epochs": range(2), "seed": 7}
    seen = images_seen(streamed, plan, **order)
    assert seen == images_seen(streamed, plan, **order)
    assert Counter(seen) == Counter(dict.fromkeys(images_of(mixed, 0), 3))


@pytest.mark.parametrize("copies", ["replace", "drop"])
def test_no_originals(mixed: Path, tmp_path: Path, copies: Literal["replace", "drop"]) -> None:
    only_copies = tmp_path / "copies.gz"
    with tf.io.TFRecordWriter(str(only_copies), "GZIP") as writer:
        for record in read_examples([str(mixed)], SIZE).records.as_numpy_iterator():
            if tf.train.Example.FromString(record).features.feature["is_augmented"].int64_list.value[0]:
                writer.write(record)
    with pytest.raises(ValueError, match="originals") as caught:
        read_examples([str(only_copies)], SIZE, copies)
    assert str(caught.value) == (
        f"no originals in {only_copies}, only copies: set train.copies to true, or augment originals"
    )
    assert read_examples([str(only_copies)], SIZE).total == 3


def test_examples_of_another_size_are_refused(write_examples: Write, tmp_path: Path) -> None:
    examples = read_examples([write_examples(tmp_path / "a.gz", 1)], 2 * SIZE)
    with pytest.raises(tf.errors.InvalidArgumentError):
        epochs_of(examples, plan_steps(1, 1, 1))


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^no files {tmp_path}/x, {tmp_path}/y$"):
        read_examples([f"{tmp_path}/x", f"{tmp_path}/y"], SIZE)


def test_no_examples(write_examples: Write, tmp_path: Path) -> None:
    empty = write_examples(tmp_path / "empty.gz", 0)
    with pytest.raises(ValueError, match=f"^no examples in {empty}, {empty}$"):
        read_examples([empty, empty], SIZE)
