"""Which images a report shows."""

from typing import Any

import numpy as np
import pandas as pd

from components.reporter.cases import Case, choose

COLUMNS = {
    "set": "test", "patient_id": "p", "source": "clinic", "finding": "unknown", "view": "unknown", "sex": "unknown",
    "age": -1.0, "is_augmented": 0, "augmentation": "none", "hd95": 0.02, "hd95_px": 10.0,
}  # fmt: skip


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame([{**COLUMNS, "original_id": row["image_id"], **row} for row in rows])


def of(cases: list[Case], group: str) -> list[str]:
    return [case.image_id for case in cases if case.group == group]


def ten() -> list[dict[str, Any]]:
    return [{"image_id": f"i{number}", "dice": (90 + number) / 100} for number in range(10)]


def test_the_best_and_the_worst() -> None:
    cases = choose(table(*reversed(ten())))
    assert of(cases, "Best") == ["i9", "i8", "i7"]
    assert of(cases, "Worst") == ["i0", "i1", "i2"]
    assert len(of(cases, "Drawn at random")) == 3


def test_the_draw_follows_from_what_was_measured_and_from_nothing_else() -> None:
    images = table(*({"image_id": f"i{number:03d}", "dice": 0.9} for number in range(200)))
    drawn = of(choose(images), "Drawn at random")
    assert of(choose(images.sample(frac=1, random_state=1)), "Drawn at random") == drawn
    assert of(choose(images.assign(dice=0.91)), "Drawn at random") != drawn


def test_equal_images_are_ordered_by_name() -> None:
    cases = choose(table(*({"image_id": name, "dice": 0.9} for name in "cabd")))
    assert of(cases, "Worst") == ["a", "b", "c"]
    assert of(cases, "Best") == ["d", "c", "b"]


def test_copies_stand_beside_their_originals() -> None:
    copy = {"is_augmented": 1, "augmentation": "Rotate+Affine", "dice": 0.8}
    rows = [
        *ten(),
        {**copy, "image_id": "i4-copy1", "original_id": "i4"},
        {**copy, "image_id": "lost-copy1", "original_id": "lost"},
    ]
    (case,) = [case for case in choose(table(*rows)) if case.group == "Augmented copies"]
    assert case.image_id == "i4-copy1"
    assert case.facts == ("clinic", "Rotate, Affine")
    assert case.original is not None
    assert (case.original.image_id, case.original.dice) == ("i4", 0.94)


def test_copies_are_never_among_the_worst() -> None:
    copy = {"image_id": "i0-copy1", "original_id": "i0", "is_augmented": 1, "augmentation": "Rotate", "dice": 0.1}
    assert "i0-copy1" not in of(choose(table(*ten(), copy)), "Worst")


def test_each_external_set_shows_its_worst() -> None:
    rows = [{"set": name, "image_id": f"{name}{n}", "dice": 0.5 + 0.1 * n} for name in ("b", "a") for n in range(5)]
    only_copies = {"set": "c", "image_id": "c-copy1", "is_augmented": 1, "augmentation": "Rotate", "dice": 0.9}
    cases = choose(table(*ten(), *rows, only_copies))
    assert of(cases, "Worst of external set a") == ["a0", "a1", "a2"]
    assert of(cases, "Worst of external set b") == ["b0", "b1", "b2"]
    assert of(cases, "Worst of external set c") == ["c-copy1"]
    assert not [case for case in cases if case.set != "test" and not case.group.startswith("Worst of external set")]


def test_what_was_not_measured_is_not_shown() -> None:
    rows = [{"image_id": "a", "dice": np.nan}, {"image_id": "b", "dice": 0.9, "hd95": np.nan, "hd95_px": np.nan}]
    cases = choose(table(*rows))
    assert {case.image_id for case in cases} == {"b"}
    assert (cases[0].hd95, cases[0].hd95_px) == (None, None)


def test_facts_that_are_not_known_are_left_out() -> None:
    (known, *_) = choose(table({"image_id": "a", "dice": 0.9, "finding": "normal", "sex": "female", "age": 61.0}))
    assert known.facts == ("clinic", "normal", "female", "61 years")
    (unknown, *_) = choose(table({"image_id": "a", "dice": 0.9}))
    assert unknown.facts == ("clinic",)
