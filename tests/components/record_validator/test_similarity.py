"""Copies of an image are found however they were changed; images of different people are told apart."""

import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from pictures import decode_picture, read_picture

from components.record_validator.near_duplicates import candidates
from components.record_validator.near_duplicates.candidates import find_candidates
from components.record_validator.near_duplicates.similarity import (
    FREQUENCIES,
    compute_signature,
    similarity,
    unpack_descriptors,
)
from components.record_validator.settings import SIMILARITY_THRESHOLD
from pipeline.commands.phantoms import phantom
from schema.record import Pixels

Pair = tuple[Pixels, Pixels]

SHENZHEN = Path(__file__).parents[4] / "shared" / "data" / "shenzhen"

_NUMBER = 16


def _jpeg(quality: int) -> Callable[[Pixels, Pixels], Pair]:
    def change(image: Pixels, mask: Pixels) -> Pair:
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return decode_picture(encoded, cv2.IMREAD_GRAYSCALE), mask

    return change


def _halve(image: Pixels, mask: Pixels) -> Pair:
    """And back to the size it had."""
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    whole = cv2.resize(half, image.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(whole, np.uint8), mask


def _grey(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Pixels, Pixels], Pair]:
    """Changes grey values, which are 0-1 then."""

    def changed(image: Pixels, mask: Pixels) -> Pair:
        return np.clip(np.rint(255 * change(image / 255)), 0, 255).astype(np.uint8), mask

    return changed


def _crop(top: float, right: float, bottom: float, left: float) -> Callable[[Pixels, Pixels], Pair]:
    """Shares of the sides are cut off image and mask, which keep their size."""

    def change(image: Pixels, mask: Pixels) -> Pair:
        size = len(image)
        rows, columns = (
            slice(round(top * size), round((1 - bottom) * size)),
            slice(round(left * size), round((1 - right) * size)),
        )
        shape = image.shape[::-1]
        return (
            np.asarray(cv2.resize(image[rows, columns], shape, interpolation=cv2.INTER_AREA), np.uint8),
            np.asarray(cv2.resize(mask[rows, columns], shape, interpolation=cv2.INTER_NEAREST), np.uint8),
        )

    return change


CHANGES = {
    "jpeg 50": _jpeg(50),
    "jpeg 90": _jpeg(90),
    "half size": _halve,
    "darker": _grey(lambda grey: 0.8 * grey),
    "less contrast": _grey(lambda grey: 0.7 * grey + 0.2),
    "gamma 0.7": _grey(lambda grey: grey**0.7),
    "gamma 1.5": _grey(lambda grey: grey**1.5),
    "noise": _grey(lambda grey: grey + np.random.default_rng(1).normal(0, 0.02, grey.shape)),
    "cropped by 1 %": _crop(0.01, 0.01, 0.01, 0.01),
    "cropped by 2 %": _crop(0.02, 0.02, 0.02, 0.02),
    "cropped on two sides": _crop(0.02, 0, 0, 0.02),
}


def _shenzhen() -> list[Pair]:
    pairs = []
    for file in sorted((SHENZHEN / "images").iterdir())[:: 566 // _NUMBER][:_NUMBER]:
        mask = read_picture(SHENZHEN / "masks" / file.name, cv2.IMREAD_GRAYSCALE)
        pairs.append((read_picture(file, cv2.IMREAD_GRAYSCALE), np.where(mask > 127, 255, 0).astype(np.uint8)))
    return pairs


@pytest.fixture(scope="module", params=["phantoms", "shenzhen"])
def images(request: pytest.FixtureRequest) -> list[Pair]:
    """Images and masks of different people."""
    if request.param == "phantoms":
        return [phantom(seed=5, patient=patient, image=1, size=256) for patient in range(_NUMBER)]
    if not SHENZHEN.is_dir():
        pytest.skip(f"needs {SHENZHEN}")
    return _shenzhen()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_copy_is_found(images: list[Pair], change: Callable[[Pixels, Pixels], Pair]) -> None:
    signatures = [compute_signature(*pair) for pair in (*images, *(change(*pair) for pair in images))]
    descriptors = unpack_descriptors(b"".join(signature.descriptor for signature in signatures))
    pairs = find_candidates(descriptors).pairs.tolist()
    assert [[number, number + _NUMBER] for number in range(_NUMBER) if [number, number + _NUMBER] not in pairs] == []
    originals, copies = signatures[:_NUMBER], signatures[_NUMBER:]
    similarities = [
        similarity(original.thumbnail, copy.thumbnail) for original, copy in zip(originals, copies, strict=True)
    ]
    assert min(similarities) >= SIMILARITY_THRESHOLD


def test_other_people_are_told_apart(images: list[Pair]) -> None:
    """Even where all are compared with all."""
    thumbnails = [compute_signature(*pair).thumbnail for pair in images]
    assert max(similarity(*pair) for pair in itertools.combinations(thumbnails, 2)) < SIMILARITY_THRESHOLD - 0.02


def test_an_image_is_most_like_itself(images: list[Pair]) -> None:
    thumbnail = compute_signature(*images[0]).thumbnail
    assert similarity(thumbnail, thumbnail) == pytest.approx(1)


def test_images_without_detail_are_like_nothing() -> None:
    flat = compute_signature(np.full((64, 64), 9, np.uint8), np.zeros((64, 64), np.uint8))
    assert similarity(flat.thumbnail, flat.thumbnail) == 0
    assert find_candidates(unpack_descriptors(flat.descriptor * 3)).pairs.tolist() == []


def _descriptors(number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-60, 60, (number, 2, FREQUENCIES)).astype(np.int8)


def test_few_images_have_no_candidates() -> None:
    assert find_candidates(unpack_descriptors(b"")).pairs.shape == (0, 2)
    assert find_candidates(_descriptors(1)).pairs.tolist() == []


def test_candidates_are_those_of_comparing_all_with_all() -> None:
    """Of 2,000 random descriptors, 20 of which are there twice, slightly changed."""
    descriptors = _descriptors(2000)
    descriptors[1000:1020] = np.clip(descriptors[:20] + _descriptors(20, seed=1) // 10, -127, 127)
    assert find_candidates(descriptors).pairs.tolist() == [[number, number + 1000] for number in range(20)]


def test_a_crowd_is_capped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is bounded, and each image of a crowd still meets one before it."""
    monkeypatch.setattr(candidates, "WINDOW", 3)
    descriptors = _descriptors(40)
    descriptors[10:] = descriptors[10]
    candidates_found = find_candidates(descriptors)
    beyond = 26 * 27 // 2  # of 30 images of one hash, those at a distance of 4 to 29
    assert candidates_found.left_out == beyond * 2 * candidates.TABLES
    assert {int(later) for _, later in candidates_found.pairs} >= set(range(11, 40))
