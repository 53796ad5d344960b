"""What a report says in words."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from report_evidence import EVIDENCE, IMAGE, decision, probe, slice_of, with_slices

from components.reporter.slices import describe
from components.reporter.wording import glossary, headline, limits

DASH, SPACE = "\N{EN DASH}", "\N{NO-BREAK SPACE}"
FAILED = "Mean Dice, All images: is 0.9500, must be at least 0.9"
QUALITY = (
    f"mean Dice is 0.950 (95{SPACE}% interval 0.940{DASH}0.960) on 60 unseen originals of 50 patients, "
    f"and 0.940 (95{SPACE}% interval 0.930{DASH}0.950) on 1 augmented copy of 1 patient."
)


@pytest.mark.parametrize(
    ("changes", "outcome", "title", "sentence"),
    [
        (
            {"pushed": True, "version": "4", "probe": probe(True, True)},
            "served",
            "May serve: version 4",
            "This model may serve and is served as version 4: all 3 rules hold and its export passes all 2 checks.",
        ),
        ({}, "fit", "May serve", "This model may serve: all 3 rules hold."),
        ({"decision": decision(True)}, "fit", "May serve", "This model may serve: its rule holds."),
        (
            {"pushed": False},
            "fit",
            "May serve",
            "This model may serve, though this run did not push it: all 3 rules hold.",
        ),
        (
            {"decision": decision(True, False, True), "pushed": False},
            "refused",
            "Must not serve",
            f"This model must not serve: 1 of 3 rules does not hold ({FAILED}).",
        ),
        (
            {"decision": decision(False, False), "probe": probe(False)},
            "refused",
            "Must not serve",
            f"This model must not serve: 2 of 2 rules do not hold ({FAILED}; {FAILED}).",
        ),
        (
            {"probe": probe(True, False), "pushed": False},
            "refused",
            "Must not serve",
            "This model must not serve: all 3 rules hold, but its export fails 1 of 2 checks of the serving probe.",
        ),
        (
            {"decision": None},
            "not judged",
            "Not judged: must not serve",
            "This model must not serve: no rules were applied to it.",
        ),
    ],
)
def test_the_headline_of_a_run(changes: dict[str, Any], outcome: str, title: str, sentence: str) -> None:
    heading = headline(replace(EVIDENCE, **changes))
    assert (heading.outcome, heading.title) == (outcome, title)
    assert heading.sentence == f"{sentence} Its {QUALITY}"


def test_without_test_images_no_quality_is_claimed() -> None:
    sentence = headline(with_slices(slice_of("set:hannover", 0.9))).sentence
    assert sentence == "This model may serve: all 3 rules hold. No image of the test split was measured."


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "All images"),
        ({"is_augmented": "0"}, "Originals"),
        ({"sex": "female"}, "Sex female"),
        ({"finding": "tuberculosis", "is_augmented": "1"}, "Augmented copies, finding tuberculosis"),
        ({"transform": "Rotate"}, "Rotate"),
    ],
)
def test_slices_in_words(keys: dict[Any, str], words: str) -> None:
    assert describe(keys) == words


def test_limits_follow_from_the_data() -> None:
    unknown = {**IMAGE, "finding": "unknown", "age": -1.0}
    few = with_slices(slice_of("overall", 0.9, patients=4))
    assert limits(replace(few, images=pd.DataFrame([IMAGE, unknown])))[:5] == [
        "The test split holds 4 patients; at least 10 are needed to judge by.",
        "No external set was tested: how good the model is on another hospital's images is not known.",
        "All test originals are of one source, clinic.",
        "For 1 of 2 test originals the finding is not known; no slice of it holds them.",
        "For 1 of 2 test originals the age is not known; no slice of it holds them.",
    ]
    others = pd.DataFrame([IMAGE, {**IMAGE, "source": "other"}, {**IMAGE, "set": "hannover"}])
    assert limits(replace(EVIDENCE, images=others))[0].startswith("Intervals tell")


def test_the_glossary_tells_the_tolerance() -> None:
    assert "within 1.5 % of the image's width" in glossary(0.015)["Surface Dice"]
