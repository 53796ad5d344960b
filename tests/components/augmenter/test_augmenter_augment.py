"""One copy of one record: what it depends on, that image and mask move together, what it is tagged with."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import albumentations
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.augmenter.augment import Draw, draw_copy
from components.augmenter.policy import Policy, compose, load_policy
from schema.record import Pixels, Record, decode, encode

MakeRecord = Callable[..., Record]
MakePolicy = Callable[..., Policy]

GEOMETRIC = ("HorizontalFlip", "VerticalFlip", "Rotate", "Affine", "Perspective", "ElasticTransform", "D4")
NAMES = st.text(min_size=1, max_size=12).filter(lambda text: text.isprintable())
SHIFT = ("Affine", {"translate_percent": {"x": [-1.0, 1.0], "y": 0}})
"""Loses anything from none to all of the lungs."""
AWAY = ("Affine", {"translate_percent": {"x": [0.97, 0.98], "y": 0}})
"""Loses all of them."""


def copied(record: Record, transform: albumentations.Compose, policy: Policy, copy: int) -> Record:
    drawn = draw_copy(record, transform, policy, copy).copy
    assert drawn is not None
    return drawn


def as_bytes(draw: Draw) -> tuple[bytes | None, int]:
    return encode(draw.copy) if draw.copy else None, draw.redrawn


def seeded(name: str, seed: int, **changes: Any) -> Policy:
    return load_policy(name).model_copy(update={"seed": seed, **changes})


def test_a_flip_by_hand(make_record: MakeRecord, make_policy: MakePolicy) -> None:
    original = make_record("x", sex="female", age=40.0, finding="edema", view="AP")
    policy = make_policy("HorizontalFlip")
    draw = draw_copy(original, compose(policy), policy, copy=2)
    assert draw.redrawn == 0
    copy = draw.copy
    assert copy is not None
    assert np.array_equal(copy.image, original.image[:, ::-1])
    assert np.array_equal(copy.mask, original.mask[:, ::-1])
    changed = {"image_id": "x-copy2", "is_augmented": True, "augmentation": "HorizontalFlip"}
    for field in fields(Record):
        if field.name not in ("image", "mask"):
            expected = changed.get(field.name, getattr(original, field.name))
            assert getattr(copy, field.name) == expected, field.name


@pytest.mark.parametrize("name", ["chest", "lossless", "strong", "wide"])
def test_the_original_is_not_touched(make_record: MakeRecord, name: str) -> None:
    original, policy = make_record(), load_policy(name)
    transform, before = compose(policy), encode(original)
    for copy in range(1, 20):
        draw_copy(original, transform, policy, copy)
    assert encode(original) == before


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["chest", "strong", "wide"]),
    seed=st.integers(0, 2**40),
    image_id=NAMES,
    copy=st.integers(1, 100),
    earlier=st.lists(st.integers(1, 9), max_size=4),
)
def test_a_function_of_seed_name_and_copy_alone(
    make_record: MakeRecord, name: str, seed: int, image_id: str, copy: int, earlier: list[int]
) -> None:
    """Other draws before it, another instance of the transforms, other global random states make no difference."""
    original, policy = make_record(image_id), seeded(name, seed)
    used = compose(policy)
    for number in earlier:
        draw_copy(make_record("other"), used, seeded(name, seed + number), number)
    np.random.seed(len(earlier))  # neither does the process's own random state
    expected = as_bytes(draw_copy(original, compose(policy), policy, copy))
    assert as_bytes(draw_copy(original, used, policy, copy)) == expected
    # Nor do the policy's name and copies, which are no part of the key.
    renamed = policy.model_copy(update={"name": "other", "copies": {"eval": 9}})
    assert as_bytes(draw_copy(original, used, renamed, copy)) == expected


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**40), data=st.data())
def test_in_any_order_on_any_threads(make_record: MakeRecord, seed: int, data: st.DataObject) -> None:
    policy = seeded("strong", seed, max_lung_loss=0.1)
    keys = [(name, copy) for name in "abcde" for copy in (1, 2, 3)]
    serial = compose(policy)
    expected = {(name, copy): as_bytes(draw_copy(make_record(name), serial, policy, copy)) for name, copy in keys}
    shuffled = data.draw(st.permutations(keys))
    own = threading.local()

    def draw(key: tuple[str, int]) -> tuple[bytes | None, int]:
        if not hasattr(own, "transform"):
            own.transform = compose(policy)
        return as_bytes(draw_copy(make_record(key[0]), own.transform, policy, key[1]))

    with ThreadPoolExecutor(4) as pool:
        assert dict(zip(shuffled, pool.map(draw, shuffled), strict=True)) == expected


def test_seed_name_and_copy_each_matter(make_record: MakeRecord) -> None:
    transform = compose(load_policy("chest"))
    keys = [(0, "a", 1), (0, "a", 2), (0, "b", 1), (1, "a", 1), (0, "a/1", 1), (0, "1/a", 1), (11, "a", 1)]
    pixels = {
        copied(make_record(name), transform, seeded("chest", seed), copy).image.tobytes() for seed, name, copy in keys
    }
    assert len(pixels) == len(keys)


def test_the_same_as_in_another_process_and_at_another_time(make_record: MakeRecord, make_policy: MakePolicy) -> None:
    """Written down once; of transforms without arithmetic, so that no processor rounds otherwise."""
    policy = make_policy("HorizontalFlip", "VerticalFlip", "InvertImg", p=0.5, seed=5)
    transform = compose(policy)
    tags = [copied(make_record(name), transform, policy, copy).augmentation for name in "abc" for copy in (1, 2)]
    assert tags == [
        "HorizontalFlip+InvertImg",
        "HorizontalFlip+VerticalFlip",
        "HorizontalFlip",
        "VerticalFlip+InvertImg",
        "InvertImg",
        "HorizontalFlip",
    ]


@settings(max_examples=60, deadline=None)
@given(names=st.lists(st.sampled_from(GEOMETRIC), min_size=1, max_size=3, unique=True), seed=st.integers(0, 10**6))
def test_image_and_mask_move_together(
    make_record: MakeRecord, make_policy: MakePolicy, names: list[str], seed: int
) -> None:
    """A square image of lungs alone, interpolated as its mask is, still equals its mask."""
    lungs = np.pad(make_record().mask, ((4, 4), (0, 0)))
    policy = make_policy(*names, seed=seed)
    transform = compose(policy)
    for transform_ in transform.transforms:
        if hasattr(transform_, "interpolation"):
            transform_.interpolation = transform_.mask_interpolation
    copy = copied(make_record(image=lungs, mask=lungs), transform, policy, 1)
    assert np.array_equal(copy.image, copy.mask)


@pytest.mark.parametrize("name", ["chest", "strong", "wide"])
def test_shipped_policies_leave_the_lungs_under_their_mask(make_record: MakeRecord, name: str) -> None:
    """Dark discs on bright ground stay darker under the mask, and under no shifted mask more so, on average."""
    rows, columns = np.mgrid[:96, :96]
    lungs = (np.hypot(rows - 48, columns - 28) < 17) | (np.hypot(rows - 48, columns - 70) < 17)
    image, mask = np.where(lungs, 60, 190).astype(np.uint8), np.where(lungs, 255, 0).astype(np.uint8)
    policy = load_policy(name)
    transform, contrast = compose(policy), dict.fromkeys([(0, 0), (3, 0), (-3, 0), (0, 3), (0, -3)], 0.0)
    for index in range(60):
        copy = copied(make_record(str(index), image=image, mask=mask), transform, policy, 1)
        for shift in contrast:
            inside = np.roll(copy.mask, shift, (0, 1)) > 0
            contrast[shift] += copy.image[~inside].mean() - copy.image[inside].mean()
    assert max(contrast, key=lambda shift: contrast[shift]) == (0, 0)
    assert contrast[0, 0] / 60 > 70


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["chest", "lossless", "strong", "wide"]),
    seed=st.integers(0, 10**6),
    height=st.integers(8, 40),
    width=st.integers(8, 40),
    data=st.data(),
)
def test_copies_keep_the_contract(
    make_record: MakeRecord, name: str, seed: int, height: int, width: int, data: st.DataObject
) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    image: Pixels = random.integers(0, 256, (height, width), np.uint8)
    original = make_record(image=image, mask=np.where(image > 90, 255, 0).astype(np.uint8))
    policy = seeded(name, seed, max_lung_loss=1.0)
    copy = copied(original, compose(policy), policy, 1)
    copy.check()
    assert copy.image.shape == copy.mask.shape == (height, width)
    assert set(np.unique(copy.mask)) <= {0, 255}
    assert copy.is_augmented
    assert encode(decode(encode(copy))) == encode(copy)


@pytest.mark.parametrize("name", ["RandomRotate90", "Transpose"])
def test_a_copy_of_another_size_is_refused(make_record: MakeRecord, make_policy: MakePolicy, name: str) -> None:
    """A policy can be asked only for a square image; this one is not."""
    policy = make_policy(name)
    transform = compose(policy)

    def draw_some() -> None:
        for copy in range(1, 20):
            draw_copy(make_record("x"), transform, policy, copy)

    with pytest.raises((RuntimeError, ValueError), match="'x'"):
        draw_some()


def test_the_fingerprint_is_the_copys_own(make_record: MakeRecord, make_policy: MakePolicy) -> None:
    original = make_record()
    policy = make_policy("InvertImg", ("Affine", {"scale": [0.6, 0.7]}))
    copy = copied(original, compose(policy), policy, 1)
    stored = {
        name: tf.train.Example.FromString(encode(copy)).features.feature[name].float_list.value[0]
        for name in ("mean_intensity", "std_intensity", "lung_fraction")
    }
    assert stored == pytest.approx(
        {
            "mean_intensity": copy.image.mean() / 255,
            "std_intensity": copy.image.std() / 255,
            "lung_fraction": (copy.mask == 255).mean(),
        },
        rel=1e-6,
    )
    assert all(abs(stored[name] - value) > 0.01 for name, value in original.fingerprint().items())


@settings(max_examples=60, deadline=None)
@given(image_id=NAMES)
def test_the_tag_lists_what_fired(make_record: MakeRecord, make_policy: MakePolicy, image_id: str) -> None:
    """Told from the pixels: each of these can be seen to have fired or not."""
    original = make_record(image_id)
    policy = make_policy("HorizontalFlip", "VerticalFlip", "InvertImg", p=0.5)
    copy = copied(original, compose(policy), policy, 1)
    fired = copy.augmentation.split("+")
    assert fired == [name for name in ("HorizontalFlip", "VerticalFlip", "InvertImg") if name in fired]
    image, mask = original.image, original.mask
    if "HorizontalFlip" in fired:
        image, mask = image[:, ::-1], mask[:, ::-1]
    if "VerticalFlip" in fired:
        image, mask = image[::-1], mask[::-1]
    if "InvertImg" in fired:
        image = 255 - image
    assert np.array_equal(copy.image, image)
    assert np.array_equal(copy.mask, mask)


def draws(make_record: MakeRecord, policy: Policy, count: int) -> list[str]:
    transform = compose(policy)
    return [copied(make_record(str(index)), transform, policy, 1).augmentation for index in range(count)]


def test_a_draw_in_which_nothing_fires_is_drawn_again(make_record: MakeRecord, make_policy: MakePolicy) -> None:
    assert draws(make_record, make_policy("HorizontalFlip", p=0.2), 100) == ["HorizontalFlip"] * 100


def test_a_policy_that_cannot_fire(make_record: MakeRecord, make_policy: MakePolicy) -> None:
    policy = make_policy("HorizontalFlip", p=1e-12)
    with pytest.raises(ValueError, match="fired") as caught:
        draw_copy(make_record("x"), compose(policy), policy, 1)
    expected = "no transform fired in 100 draws for record 'x': raise the policy's probabilities"
    assert str(caught.value) == expected


def lost(original: Record, copy: Record) -> float:
    return 1 - np.count_nonzero(copy.mask) / np.count_nonzero(original.mask)


def test_a_copy_that_loses_too_much_is_drawn_again(make_record: MakeRecord, make_policy: MakePolicy) -> None:
    """For every number of redraws: the first of the same row of draws that keeps enough, or none."""
    seen = set()
    for index in range(40):
        original = make_record(str(index))
        outcomes = []
        for redraws in range(6):
            policy = make_policy(SHIFT, limits={"max_lung_loss": 0.31, "redraws": redraws})
            outcomes.append(draw_copy(original, compose(policy), policy, 1))
        final = outcomes[-1]
        for redraws, draw in enumerate(outcomes):
            if final.copy is None or redraws < final.redrawn:
                assert (draw.copy, draw.redrawn) == (None, redraws)
            else:
                assert as_bytes(draw) == as_bytes(final)
        lenient = make_policy(SHIFT)
        first = copied(original, compose(lenient), lenient, 1)
        assert (lost(original, first) > 0.31) == (outcomes[0].copy is None)
        if final.copy is not None:
            assert lost(original, final.copy) <= 0.31
            assert (encode(final.copy) == encode(first)) == (final.redrawn == 0)
        seen.add(None if final.copy is None else final.redrawn)
    assert {None, 0, 1, 2} <= seen


@pytest.mark.parametrize("redraws", [0, 3, 20])
def test_a_copy_that_always_loses_too_much_is_left_out(
    make_record: MakeRecord, make_policy: MakePolicy, redraws: int
) -> None:
    policy = make_policy(AWAY, limits={"max_lung_loss": 0.99, "redraws": redraws})
    assert draw_copy(make_record(), compose(policy), policy, 1) == Draw(None, redraws)


def test_the_limit_itself_is_kept(make_record: MakeRecord, make_policy: MakePolicy) -> None:
    """Neither a flip, which loses nothing, nor a record without lungs is drawn again where nothing may be lost."""
    policy = make_policy("HorizontalFlip", limits={"max_lung_loss": 0})
    for original in (make_record(), make_record(mask=np.zeros((24, 32), np.uint8))):
        draw = draw_copy(original, compose(policy), policy, 1)
        assert draw.copy is not None
        assert draw.redrawn == 0


def correlation(of: np.ndarray) -> float:
    return float(np.corrcoef(of.T)[0, 1])


def test_two_transforms_fire_independently(make_record: MakeRecord, make_policy: MakePolicy) -> None:
    """InvertImg always fires, so that no draw is drawn again; 2000 fair pairs stay within 4.5 standard errors."""
    policy = make_policy("HorizontalFlip", "VerticalFlip", "InvertImg").model_dump()
    for transform in policy["transforms"][:2]:
        transform["p"] = 0.5
    tags = draws(make_record, Policy.model_validate(policy), 2000)
    fired = np.array([["HorizontalFlip" in tag, "VerticalFlip" in tag] for tag in tags], float)
    assert fired.mean(axis=0) == pytest.approx([0.5, 0.5], abs=0.05)
    assert abs(correlation(fired)) < 0.1


def test_stock_albumentations_lets_them_fire_together(make_record: MakeRecord) -> None:
    """The reason for setting the random state ourselves; when this fails, Albumentations has mended it."""
    fired = []
    for seed in range(100):
        flips = [albumentations.HorizontalFlip(p=0.5), albumentations.VerticalFlip(p=0.5)]
        drawn = albumentations.Compose(flips, seed=seed, save_applied_params=True)(image=make_record().image)
        names = [name for name, _ in drawn["applied_transforms"]]
        fired.append(["HorizontalFlip" in names, "VerticalFlip" in names])
    assert correlation(np.array(fired, float)) > 0.9
