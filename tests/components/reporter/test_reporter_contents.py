"""What a report says, and how the page and the model card show it, from figures worked out by hand."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lxml import html

from components.reporter import page
from components.reporter.cases import Case
from components.reporter.contents import best_epoch, contents
from components.reporter.evidence import RUN, STUDY, Data, Evidence, SplitStatistics, Stage
from components.reporter.pictures import draw
from components.reporter.verdict import describe_slice, judge, tell_difference
from schema.reports.blessing import BlessingDecision
from schema.reports.estimate import Estimate
from schema.reports.evaluation import Evaluation
from schema.reports.statistics import Anomaly, Distribution, DriftReport, FeatureDrift

DASH, SPACE = "\N{EN DASH}", "\N{NO-BREAK SPACE}"
FAILED = "Mean Dice, All images: is 0.9500, must be at least 0.9"
QUALITY = (
    f"mean Dice is 0.950 (95{SPACE}% interval 0.940{DASH}0.960) on 60 unseen originals of 50 patients, "
    f"and 0.940 (95{SPACE}% interval 0.930{DASH}0.950) on 1 augmented copy of 1 patient."
)


def around(value: float, half: float = 0.01) -> dict[str, float | None]:
    return {"value": value, "low": round(value - half, 6), "high": round(value + half, 6)}


def piece(
    name: str, dice: float, examples: int = 60, patients: int = 50, half: float = 0.01, **more: Any
) -> dict[str, Any]:
    """A slice by its name."""
    keys: dict[str, str] = dict(pair.split(":", 1) for pair in name.split(",") if name != "overall")
    of_set = keys.pop("set", "test")
    return {
        "slice": name, "set": of_set, "keys": keys, "examples": examples, "patients": patients,
        "enough": patients >= 10, "baseline": None, "difference": None, **more,
        "metrics": {"dice_mean": around(dice, half), "hd95": around(0.02, 0.005), **more.get("metrics", {})},
    }  # fmt: skip


def evaluation(*slices: dict[str, Any], baseline: str | None = None) -> Evaluation:
    stated = {"baseline": baseline, "tolerance": 0.01, "min_patients": 10, "confidence": 0.95}
    return Evaluation.model_validate({**stated, "slices": list(slices)})


def rule(passed: bool = True, **more: Any) -> dict[str, Any]:
    return {"metric": "dice_mean", "slice": "overall", "set": "test", "keys": {},
            "kind": "at_least", "bound": 0.9, "value": 0.95,
            "passed": passed, "reason": "is 0.9500, must be at least 0.9", **more}  # fmt: skip


def decision(*passed: bool) -> BlessingDecision:
    rules = [rule(one) for one in passed]
    return BlessingDecision.model_validate({"blessed": all(passed), "baseline": None, "rules": rules})


def probe(*passed: bool) -> dict[str, Any]:
    checks = [{"check": f"check {number}", "passed": one, "detail": "fine"} for number, one in enumerate(passed)]
    return {"blessed": all(passed), "checks": checks, "latency_ms": {"1": {"median": 41.2, "p95": 55.9}}}


IMAGE = {
    "set": "test", "image_id": "a", "original_id": "a", "patient_id": "p1", "source": "clinic", "finding": "normal",
    "view": "PA", "sex": "female", "age": 40.0, "is_augmented": 0, "augmentation": "none", "dice": 0.95,
}  # fmt: skip

SLICES = (
    piece("overall", 0.945, examples=61),
    piece("is_augmented:0", 0.95),
    piece("is_augmented:1", 0.94, examples=1, patients=1),
)

EVIDENCE = Evidence(
    kind=RUN,
    settings={
        "pipeline": "lungseg",
        "model": {"architecture": "unet"},
        "train": {"epochs": 3, "warm_start": True},
        "augment": {"name": "chest", "transforms": [{"name": "Rotate", "p": 0.5, "arguments": {"limit": [-9, 9]}}]},
        "evaluate": {"tolerance": 0.01},
    },
    code_version="c0de",
    images=pd.DataFrame([IMAGE, {**IMAGE, "image_id": "b", "patient_id": "p2"}]),
    evaluation=evaluation(*SLICES),
    history={"loss": [0.5, 0.3, 0.2], "val_loss": [0.6, 0.4, 0.5], "val_dice": [0.7, 0.9, 0.88]},
    data=Data(
        spans=(3,),
        counts={"train": {"originals": 80, "copies": 160}, "test": {"originals": 60, "copies": None}},
        policy="chest",
        policy_hash="ha5h",
        albumentations="2.0.8",
    ),
    decision=decision(True, True, True),
    schema="5chema",
    libraries={"tensorflow": "2.21.0"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "outcome", "headline", "sentence"),
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
def test_the_verdict_on_a_run(changes: dict[str, Any], outcome: str, headline: str, sentence: str) -> None:
    verdict = judge(replace(EVIDENCE, **changes))
    assert (verdict.outcome, verdict.headline) == (outcome, headline)
    assert verdict.sentence == f"{sentence} Its {QUALITY}"


def compared(name: str, change: float, half: float = 0.001) -> dict[str, Any]:
    return piece(name, 0.95, difference={"dice_mean": around(change, half)}, baseline={"dice_mean": around(0.94)})


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ((0.004, 0.005), "Augmentation helps"),
        ((0.0004, 0.005), "Augmentation helps, though not everywhere"),
        ((0.0004, -0.0004), "Augmentation makes no difference that could be told"),
        ((-0.004, 0.0), "Augmentation harms"),
        ((-0.004, 0.004), "Augmentation harms, and helps elsewhere"),
    ],
)
def test_the_verdict_on_a_study(changes: tuple[float, float], headline: str) -> None:
    slices = [compared("is_augmented:0", changes[0]), compared("set:hannover,is_augmented:0", changes[1])]
    found = evaluation(*slices, baseline="originals only")
    verdict = judge(replace(EVIDENCE, kind=STUDY, decision=None, evaluation=found))
    assert (verdict.outcome, verdict.headline) == ("compared", headline)


def test_a_study_tells_each_effect() -> None:
    slices = [compared("is_augmented:0", 0.0004), compared("set:hannover", 0.005), SLICES[2]]
    found = evaluation(*slices, baseline="originals only")
    sentence = judge(replace(EVIDENCE, kind=STUDY, decision=None, evaluation=found)).sentence
    assert sentence == (
        "Change of mean Dice through augmented copies, at as many training steps: "
        "unseen originals: +0.0004 (\N{MINUS SIGN}0.0006 to +0.0014), no difference can be told; "
        f"external set hannover: +0.0050 (+0.0040 to +0.0060), it helps. With copies the {QUALITY}"
    )


def test_a_study_without_intervals_tells_nothing() -> None:
    verdict = judge(replace(EVIDENCE, kind=STUDY, decision=None))
    assert verdict.headline == "Whether augmentation pays is not known"


def test_without_test_images_no_quality_is_claimed() -> None:
    verdict = judge(replace(EVIDENCE, evaluation=evaluation(piece("set:hannover", 0.9))))
    assert verdict.sentence == "This model may serve: all 3 rules hold. No image of the test split was measured."


@pytest.mark.parametrize(
    ("statistic", "ends", "told"),
    [
        ("dice_mean", (0.01, 0.001, 0.02), "better"),
        ("dice_mean", (-0.01, -0.02, -0.001), "worse"),
        ("hd95", (0.01, 0.001, 0.02), "worse"),
        ("hd95", (-0.01, -0.02, -0.001), "better"),
        ("dice_mean", (0.01, -0.001, 0.02), "no difference can be told"),
        ("dice_mean", (0.01, 0.0, 0.02), "no difference can be told"),
        ("dice_mean", (0.01, None, None), "not known"),
        ("dice_mean", (None, None, None), "not known"),
    ],
)
def test_what_a_difference_tells(statistic: str, ends: tuple[Any, Any, Any], told: str) -> None:
    assert tell_difference(statistic, Estimate(value=ends[0], low=ends[1], high=ends[2])) == told


def test_for_whom_it_is_worse() -> None:
    found = evaluation(
        *SLICES,
        piece("finding:tuberculosis", 0.92),  # up to 0.93, below 0.945
        piece("sex:male", 0.938),  # up to 0.948
        piece("view:AP", 0.90, patients=4),
        piece("sex:female", 0.96),
        piece("age:18-39", 0.93, half=0.015),  # up to 0.945, not below
        piece("age:under-18", 0.94),
        piece("set:hannover,sex:male", 0.5),
        piece("finding:tuberculosis,is_augmented:0", 0.5),
        piece("transform:Rotate", 0.5),
    )
    slices = contents(replace(EVIDENCE, evaluation=found))["slices"]
    assert [one["label"] for one in slices["worse"]] == ["Finding tuberculosis"]
    assert slices["too_few"] == [{"label": "View AP", "patients": 4}]
    assert slices["reference"]["value"] == 0.945
    order = ["Finding tuberculosis", "View AP", "Sex male", "Sex female", "Age under-18", "Age 18-39"]
    assert [one["label"] for one in slices["subgroups"]] == order
    assert len(slices["rows"]) == 12


def test_robustness_begins_with_all_copies_then_the_largest_loss() -> None:
    drops = {"Affine": 0.001, "Rotate": 0.02, "GaussNoise": None}
    fired = [piece(f"transform:{name}", 0.9, metrics={"dice_drop": {"value": drop}}) for name, drop in drops.items()]
    external = piece("set:hannover,transform:Rotate", 0.9)
    report = contents(replace(EVIDENCE, evaluation=evaluation(*SLICES, *fired, external)))
    assert [one["label"] for one in report["robustness"]] == ["Augmented copies", "Rotate", "Affine", "GaussNoise"]


def test_external_sets_have_a_part_of_their_own() -> None:
    names = ["set:b", "set:b,is_augmented:0", "set:b,is_augmented:1", "set:b,sex:male", "set:a", "set:a,is_augmented:0"]
    report = contents(replace(EVIDENCE, evaluation=evaluation(*SLICES, *(piece(name, 0.9) for name in names))))
    shown = {one["set"]: [of["label"] for of in one["slices"]] for one in report["external"]}
    # Without copies all images are originals.
    assert shown == {"a": ["All images"], "b": ["All images", "Originals", "Augmented copies"]}
    names = [one["name"] for one in report["decision"]["key_figures"]]
    assert names == ["Unseen originals", "Augmented copies", "External set a", "External set b"]


def test_the_comparison() -> None:
    found = evaluation(compared("overall", 0.004), compared("sex:male", -0.004), baseline="version 3")
    comparison = contents(replace(EVIDENCE, evaluation=found))["comparison"]
    assert comparison["with"] == "version 3"
    (whole,) = comparison["populations"]
    assert whole["difference"]["dice_mean"] == {"value": 0.004, "low": 0.003, "high": 0.005}
    assert (whole["told"]["dice_mean"], whole["told"]["nsd"]) == ("better", "not known")
    assert [one["told"]["dice_mean"] for one in comparison["subgroups"]] == ["worse"]
    assert contents(EVIDENCE)["comparison"] is None


@pytest.mark.parametrize(
    ("history", "best"),
    [
        ({"val_dice": [0.7, 0.9, 0.88]}, 2),
        ({"val_dice": [0.9, 0.9, 0.88]}, 1),  # the weights of the first are kept
        ({"val_dice": [None, 0.2]}, 2),
        ({"val_dice": [None]}, None),
        ({"loss": [1.0]}, None),
    ],
)
def test_the_best_epoch(history: dict[str, list[float | None]], best: int | None) -> None:
    assert best_epoch(history) == best


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
    assert describe_slice(keys) == words


def test_limits_follow_from_the_data() -> None:
    unknown = {**IMAGE, "finding": "unknown", "age": -1.0}
    few = evaluation(piece("overall", 0.9, patients=4))
    report = contents(replace(EVIDENCE, evaluation=few, images=pd.DataFrame([IMAGE, unknown])))
    assert report["limits"][:5] == [
        "The test split holds 4 patients; at least 10 are needed to judge by.",
        "No external set was tested: how good the model is on another hospital's images is not known.",
        "All test originals are of one source, clinic.",
        "For 1 of 2 test originals the finding is not known; no slice of it holds them.",
        "For 1 of 2 test originals the age is not known; no slice of it holds them.",
    ]
    others = pd.DataFrame([IMAGE, {**IMAGE, "source": "other"}, {**IMAGE, "set": "hannover"}])
    assert contents(replace(EVIDENCE, images=others))["limits"][0].startswith("Intervals tell")


def test_data_and_lineage() -> None:
    images = pd.DataFrame([
        IMAGE, {**IMAGE, "is_augmented": 1}, {**IMAGE, "patient_id": "p2", "age": 60.0}, {**IMAGE, "age": -1.0},
        {**IMAGE, "set": "a"},
    ])  # fmt: skip
    statistics = {
        "train": SplitStatistics(8, {"mean_intensity": (0.5, 0.1)}, {"sex": {"female": 5, "male": 3}}),
        "test": SplitStatistics(4, {}, {"sex": {"male": 4, "other": 1}}),
    }
    evidence = replace(EVIDENCE, images=images, statistics=statistics, parent=3, stages=(Stage("Trainer", 61.0, None),))
    report = contents(evidence)
    assert report["data"]["test_sets"] == [
        {"set": "test", "originals": 3, "copies": 1, "patients": 2},
        {"set": "a", "originals": 1, "copies": 0, "patients": 1},
    ]
    assert report["data"]["age"] == {"known": 2, "of": 3, "lowest": 40.0, "median": 50.0, "highest": 60.0}
    assert [(one["value"], one["counts"]) for one in report["data"]["categories"]] == [
        ("male", [3, 4]), ("female", [5, 0]), ("other", [0, 1])
    ]  # fmt: skip
    lineage = report["lineage"]
    assert (lineage["parent"], lineage["warm_started"], lineage["schema"]) == ("version 3", True, "5chema")
    assert lineage["libraries"] == {"tensorflow": "2.21.0", "albumentations": "2.0.8"}
    assert lineage["stages"] == [{"name": "Trainer", "seconds": 61.0, "finished": None}]
    assert not contents(EVIDENCE)["lineage"]["warm_started"]


def test_the_report_is_json_whatever_was_not_measured() -> None:
    gap = piece("overall", float("nan"), metrics={"hd95": {"value": None}, "nsd": {"value": float("inf")}})
    report = contents(replace(EVIDENCE, evaluation=evaluation(gap), history={"loss": [float("nan")]}))
    read = json.loads(json.dumps(report, allow_nan=False))
    assert read["slices"]["rows"][0]["metrics"]["dice_mean"] == {"value": None, "low": None, "high": None}
    assert read["training"]["history"] == {"loss": [None]}


def moved(feature: str, distance: float, threshold: float, **of: Any) -> FeatureDrift:
    kind = "infinity_norm" if "values" in of else "jensen_shannon_divergence"
    both = Distribution(shares=(0.25, 0.75), **of)
    return FeatureDrift(feature=feature, kind=kind, distance=distance, threshold=threshold, noise=0.05,
                        drifted=distance > threshold, baseline=both, new=both)  # fmt: skip


DRIFT = DriftReport(
    baseline=3, severity="warning", new_examples=42, baseline_examples=350,
    features=(moved("mean_intensity", 0.3, 0.1, edges=(0, 0.5, 1)), moved("sex", 0.1, 0.2, values=("female", "male"))),
)  # fmt: skip
ANOMALIES = (
    Anomaly(split="train", feature="mean_intensity", severity="warning", is_drift=True, text="High divergence"),
    Anomaly(split="eval", feature="sex", severity="error", is_drift=False, text="Unexpected string values"),
)
OF_SOURCE = {"read": 9, "quarantined": 2, "reasons": {"mask_area": 2}}
LEAK = {"reason": "exact_duplicate", "text": "split 'train': image 'a' is in split 'test' too", "remedy": "remove it"}
VALIDATION = {
    "sets": [{"kind": "split", "name": "train", "validated": 7, "patients": 6, **OF_SOURCE,
              "sources": {"clinic": OF_SOURCE}}],
    "leaks": {"total": 1, "named": [LEAK]},
}  # fmt: skip
CHECKED = replace(EVIDENCE, drift=DRIFT, anomalies=ANOMALIES, validation=VALIDATION, quarantined=(b"PNG",))


def test_the_checks_of_the_data_are_told() -> None:
    report = contents(CHECKED)
    data = report["data"]
    assert data["validation"] == VALIDATION
    assert DriftReport.model_validate(data["drift"]) == DRIFT
    assert [Anomaly(**one) for one in data["anomalies"]] == list(ANOMALIES)
    text = text_of(report)
    assert (
        "Each record was decoded and checked: 7 of 9 are fit for use; 2 went to quarantine. 1 leak between sets was "
        "found, and taken out of what is trained on."
    ) in text
    assert "Quarantined, by source and reason Set Source Reason Records train clinic mask area 2" in text
    assert "split 'train': image 'a' is in split 'test' too: remove it" in text
    assert (
        "1 of 2 features of the training split have moved further than they may since version 3 was trained: mean "
        "intensity."
    ) in text
    assert "mean intensity Jensen-Shannon divergence 0.300 0.100 0.050 drifted" in text
    assert "sex largest change of a share 0.100 0.200 0.050 as before" in text
    assert "error eval sex Unexpected string values" in text
    assert "High divergence" not in text, "drift is told by its figures"
    drifted = "The training data have drifted since version 3 was trained (mean intensity)"
    assert [one for one in report["limits"] if one.startswith(drifted)]
    card = page.render_card(report)
    assert "Of 9 records 2 went to quarantine.\n" in card
    assert "Drifted since version 3: mean intensity.\n" in card


def test_data_without_a_blemish() -> None:
    fine = {**VALIDATION["sets"][0], "validated": 9, "quarantined": 0, "sources": {}}  # type: ignore[index, dict-item]
    validation = {"sets": [fine], "leaks": {"total": 0, "named": []}}
    still = DRIFT.model_copy(update={"features": DRIFT.features[1:]})
    text = text_of(contents(replace(CHECKED, validation=validation, drift=still, anomalies=(), quarantined=())))
    assert "checked: all 9 are fit for use. No sets share what they must not." in text
    assert "No feature of the training split has moved further than it may since version 3 was trained." in text
    assert "None: the statistics of all splits keep to the schema." in text


def test_where_drift_was_not_looked_for_the_reason_is_told() -> None:
    none = DriftReport(baseline=None, severity="warning", new_examples=42, reason="there was no model to compare with")
    assert "Not looked for: there was no model to compare with." in text_of(contents(replace(EVIDENCE, drift=none)))


def test_refused_records_are_shown() -> None:
    document = html.document_fromstring(page.render(contents(CHECKED), [], [b"PNG"]))
    (sheet,) = document.xpath("//section[@id='data']//img[@class='sheet']")
    assert sheet.get("src") == "data:image/png;base64,UE5H"
    (chart,) = document.xpath("//section[@id='data']//figure//img/@alt")
    assert "Distances: mean_intensity 0.30 drifted; sex 0.10" in chart


RENDERED = {
    "nothing but what must be": EVIDENCE,
    "checked": CHECKED,
    "refused": replace(EVIDENCE, decision=decision(False), probe=probe(False), parent=3),
    "not judged": replace(EVIDENCE, decision=None),
    "a study": replace(
        EVIDENCE,
        kind=STUDY,
        decision=None,
        other_history=EVIDENCE.history,
        evaluation=evaluation(compared("overall", 0.1), compared("set:b", 0.2), baseline="originals only"),
    ),
    "nothing was measured": replace(EVIDENCE, evaluation=evaluation(), history={}),
    "one epoch, one gap": replace(EVIDENCE, history={"loss": [0.3], "val_loss": [None]}),
}


@pytest.fixture(params=RENDERED)
def rendered(request: pytest.FixtureRequest) -> html.HtmlElement:
    return html.document_fromstring(page.render(contents(RENDERED[request.param]), []))


def test_the_page_stands_alone_and_can_be_read_aloud(rendered: html.HtmlElement) -> None:
    assert rendered.get("lang") == "en"
    assert len(rendered.findall(".//h1")) == 1
    assert all(image.get("alt") for image in rendered.iter("img"))
    for attribute in ("src", "srcset", "href"):
        for address in rendered.xpath(f"//@{attribute}"):
            assert address.startswith(("data:", "#")), address
    assert not rendered.findall(".//script")
    names = {element.get("id") for element in rendered.iter("section")}
    assert {link.get("href")[1:] for link in rendered.findall(".//nav//a")} == names
    assert all(cell.get("scope") in ("col", "row") for cell in rendered.iter("th"))
    assert len(rendered.findall(".//main")) == len(rendered.findall(".//header")) == 1
    assert all("scroll" in table.getparent().get("class") for table in rendered.iter("table"))


def text_of(report: dict[str, Any]) -> str:
    return " ".join(" ".join(html.document_fromstring(page.render(report, [])).itertext()).split())


def test_the_page_tells_each_rule() -> None:
    regression = rule(False, kind="max_regression", bound=0.01, value=0.02, low=0.01, high=0.03, baseline=0.97,
                      slice="set:hannover,is_augmented:0", set="hannover", keys={"is_augmented": "0"},
                      reason="is worse by 0.02")  # fmt: skip
    judged = BlessingDecision.model_validate({"blessed": False, "baseline": "version 3", "rules": [rule(), regression]})
    text = text_of(contents(replace(EVIDENCE, decision=judged)))
    assert "✓ passed Mean Dice at least 0.900 All images 0.950 is 0.9500, must be at least 0.9" in text
    assert (
        "✗ failed Mean Dice worse than the model blessed last by at most 0.0100 External set hannover: originals "
        "+0.0200 (+0.0100 to +0.0300) is worse by 0.02; Mean Dice of the baseline: 0.970"
    ) in text


def test_what_is_too_small_is_said_in_words() -> None:
    report = contents(replace(EVIDENCE, evaluation=evaluation(*SLICES, piece("sex:other", 0.9, patients=3))))
    text = text_of(report)
    assert "Too few patients to judge (fewer than 10): Sex other (3). Drawn hollow and grey below." in text
    assert "Sex other (too few)" in text
    picture = page.render(report, [])
    assert f"other 0.900 (0.890{DASH}0.910), too few patients to judge" in picture


def test_of_a_group_with_many_members_the_lowest_are_drawn() -> None:
    many = [piece(f"source:s{number:02d}", 0.8 + number / 100) for number in range(14)]
    document = html.document_fromstring(
        page.render(contents(replace(EVIDENCE, evaluation=evaluation(*SLICES, *many))), [])
    )
    (told,) = document.xpath("//section[@id='slices']//img/@alt")
    assert re.findall(r"s\d\d", told) == [f"s{number:02d}" for number in range(10)]
    assert "source s13" in document.text_content().lower()


def test_a_heading_is_kept_where_its_first_member_was_not_measured() -> None:
    unmeasured = piece("sex:female", 0.9, metrics={"dice_mean": {"value": None}})
    report = contents(replace(EVIDENCE, evaluation=evaluation(unmeasured, piece("sex:male", 0.8))))
    (row,) = page.slice_rows(report)
    assert (row.heading, row.label) == ("Sex", "male")


HOSTILE = "<img src=x onerror=alert(1)>|$x_1$ & \N{CJK UNIFIED IDEOGRAPH-80BA}"


@pytest.fixture
def hostile() -> Evidence:
    """Names that are code for HTML, Markdown or matplotlib."""
    found = evaluation(*SLICES, piece("source:S", 0.9), piece("set:S", 0.8)).model_dump()
    for one in found["slices"]:
        one["keys"] = {key: value.replace("S", HOSTILE) for key, value in one["keys"].items()}
        one["set"] = one["set"].replace("S", HOSTILE)
    drift = DRIFT.model_copy(update={"features": (moved(HOSTILE, 0.3, 0.1, values=(HOSTILE, f"{HOSTILE}2")),)})
    anomaly = Anomaly(split=HOSTILE, feature=HOSTILE, severity="error", is_drift=False, text=HOSTILE)
    return replace(EVIDENCE, evaluation=Evaluation.model_validate(found), drift=drift, anomalies=(anomaly,))


@pytest.mark.filterwarnings("error")
def test_names_are_never_taken_for_code(hostile: Evidence) -> None:
    case = Case("Worst", "test", HOSTILE, HOSTILE, 0.5, None, None, (HOSTILE,))
    black = np.zeros((4, 4), np.uint8)
    document = html.document_fromstring(page.render(contents(hostile), [(case, draw(black, black, black), None)]))
    assert HOSTILE in document.text_content()
    assert not document.xpath("//*[@onerror]")
    assert not [image for image in document.iter("img") if not image.get("src").startswith("data:")]


def test_cells_of_the_card_hold(hostile: Evidence) -> None:
    card = page.render_card(contents(hostile))
    (row,) = [line for line in card.splitlines() if line.startswith("| test | Source")]
    assert "&lt;img" in row
    assert len(re.split(r"(?<!\\)\|", row)) == 10


def test_the_card_tells_what_matters() -> None:
    card = page.render_card(contents(replace(EVIDENCE, pushed=True, version="4", parent=3)))
    assert card.startswith("# Model card: lungseg, version 4\n")
    for heading in ("Intended use", "Model", "Data", "Metrics", "Limits", "How to cite"):
        assert f"\n## {heading}\n" in card
    assert "**Not a medical device.**" in card
    assert (
        f"| test | Originals | 60 | 50 | 0.950 (0.940{DASH}0.960) | {DASH} | 2.00 (1.50{DASH}2.50){SPACE}% | {DASH} |"
        in card
    )
    assert "| test | Augmented copies (too few to judge) | 1 | 1 |" in card
    assert f"| train | 80 | 160 |\n| test | 60 | {DASH} |" in card
    assert "| parent | version 3, warm start |" in card
    assert "| Mean Dice at least 0.900 | All images | passed | is 0.9500, must be at least 0.9 |" in card
    cited = "> lungseg, version 4: lung segmentation, data span 3, policy chest `ha5h`, schema `5chema`, code `c0de`."
    assert cited in card


@pytest.mark.parametrize(
    ("spans", "told", "term"), [((3,), "span 3", "Data span"), ((3, 4, 12), "spans 3, 4, 12", "Data spans")]
)
def test_the_spans_of_the_data(spans: tuple[int, ...], told: str, term: str) -> None:
    report = contents(replace(EVIDENCE, data=replace(EVIDENCE.data, spans=spans)))
    assert (report["data"]["span"], report["data"]["spans"]) == (spans[-1], list(spans))
    assert (report["lineage"]["data_span"], report["lineage"]["data_spans"]) == (spans[-1], list(spans))
    document = html.document_fromstring(page.render(report, []))
    assert document.findtext(".//title").endswith(f"lungseg, data {told}")
    assert document.find(".//footer/p").text.startswith(f"lungseg, data {told}, code")
    (pair,) = [one for one in document.iter("dt") if one.text == term]
    assert pair.getnext().text == ", ".join(map(str, spans))
    card = page.render_card(report)
    assert f"\n{told.capitalize()}, split by patient." in card
    assert f"lung segmentation, data {told}, policy" in card


def test_the_same_evidence_gives_the_same_page() -> None:
    render: Callable[[], str] = lambda: page.render(contents(EVIDENCE), [])  # noqa: E731
    assert render() == render()


def test_pictures_bear_their_names_and_numbers() -> None:
    grey = np.full((8, 8), 99, np.uint8)
    pictures = draw(grey, grey, grey)
    original = Case("Original", "test", "a", "a", 0.95, 0.02, 5.0, ("clinic",))
    copy = Case("Augmented copies", "test", "a-copy1", "a", 0.9, 0.03, 7.5, ("clinic", "Rotate"), original)
    worst = replace(original, group="Worst")
    document = html.document_fromstring(
        page.render(contents(EVIDENCE), [(worst, pictures, None), (copy, pictures, pictures)])
    )
    section = document.get_element_by_id("pictures")
    assert [one.text for one in section.findall("h3")] == ["Worst", "Augmented copies"]
    captions = [" ".join(one.text_content().split()) for one in section.iter("figcaption")]
    assert captions == [
        "a · Dice 0.950, HD95 2.00 % of width (5.0 px) clinic",
        "a-copy1 · Dice 0.900, HD95 3.00 % of width (7.5 px) clinic, Rotate. "
        "Copy of a: Dice 0.950, HD95 2.00 % of width (5.0 px)",
    ]
    assert [image.get("alt") for image in section.iter("img")] == [
        "X-ray of image a",
        "True lung mask of image a",
        "Predicted lung mask of image a",
        "True and predicted lung outline of image a",
        "X-ray of image a",
        "True and predicted lung outline of image a",
        "X-ray of image a-copy1",
        "True and predicted lung outline of image a-copy1",
    ]


@pytest.mark.parametrize(
    ("seconds", "written"), [(None, DASH), (12.34, "12.3 s"), (71.3, "1 min 11 s"), (7384.0, "2 h 3 min")]
)
def test_durations(seconds: float | None, written: str) -> None:
    report = contents(replace(EVIDENCE, stages=(Stage("Trainer", seconds, "2026-09-21T14:14:24+00:00"),)))
    assert f"Trainer {written} 2026-09-21 14:14:24" in text_of(report)
