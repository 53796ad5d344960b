"""Reading and dealing out: every image once in an epoch, in equal shares, in an order that follows from the seed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from modules import examples as reading
from modules.examples import Examples, StepPlan, _shares_of_epoch, distribute, plan_steps, read_examples

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


def same(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


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
