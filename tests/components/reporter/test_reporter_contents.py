"""What a report says, from figures worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_evidence import (
    ANOMALIES,
    CHECKED,
    DRIFT,
    EVIDENCE,
    IMAGE,
    SLICES,
    VALIDATION,
    compared,
    evaluation,
    slice_of,
    with_slices,
)

from components.reporter.contents import contents
from schema.reports.blessing import BlessingDecision, RuleResult
from schema.reports.estimate import Estimate
from schema.reports.run_report import (
    AgeSummary,
    EvaluatedSet,
    RunReport,
    SmallSlice,
    SplitStatistics,
    Stage,
)
from schema.reports.training import TrainingHistory


def test_for_whom_it_is_worse() -> None:
    slices = contents(
        with_slices(
            *SLICES,
            slice_of("finding:tuberculosis", 0.92),  # up to 0.93, below 0.945
            slice_of("sex:male", 0.938),  # up to 0.948
            slice_of("view:AP", 0.90, patients=4),
            slice_of("sex:female", 0.96),
            slice_of("age:18-39", 0.93, half=0.015),  # up to 0.945, not below
            slice_of("age:under-18", 0.94),
            slice_of("set:hannover,sex:male", 0.5),
            slice_of("finding:tuberculosis,is_augmented:0", 0.5),
            slice_of("transform:Rotate", 0.5),
        )
    ).slices
    assert [slice_.label for slice_ in slices.worse] == ["Finding tuberculosis"]
    assert slices.too_few == [SmallSlice(label="View AP", patients=4)]
    assert slices.reference.value == 0.945
    order = ["Finding tuberculosis", "View AP", "Sex male", "Sex female", "Age under-18", "Age 18-39"]
    assert [slice_.label for slice_ in slices.subgroups] == order
    assert len(slices.rows) == 12


def test_robustness_begins_with_all_copies_then_the_largest_loss() -> None:
    drops = {"Affine": 0.001, "Rotate": 0.02, "GaussNoise": None}
    fired = [
        slice_of(f"transform:{name}", 0.9, metrics={"dice_drop": Estimate(value=drop)}) for name, drop in drops.items()
    ]
    report = contents(with_slices(*SLICES, *fired, slice_of("set:hannover,transform:Rotate", 0.9)))
    assert [slice_.label for slice_ in report.robustness] == ["Augmented copies", "Rotate", "Affine", "GaussNoise"]


def test_external_sets_have_a_part_of_their_own() -> None:
    names = ["set:b", "set:b,is_augmented:0", "set:b,is_augmented:1", "set:b,sex:male", "set:a", "set:a,is_augmented:0"]
    report = contents(with_slices(*SLICES, *(slice_of(name, 0.9) for name in names)))
    shown = {external.set: [slice_.label for slice_ in external.slices] for external in report.external}
    # Without copies all images are originals.
    assert shown == {"a": ["All images"], "b": ["All images", "Originals", "Augmented copies"]}
    names = [figure.name for figure in report.decision.key_figures]
    assert names == ["Unseen originals", "Augmented copies", "External set a", "External set b"]


def test_the_comparison() -> None:
    slices = [compared("overall", 0.004), compared("sex:male", -0.004)]
    comparison = contents(with_slices(*slices, baseline="version 3")).comparison
    assert comparison is not None
    assert comparison.baseline == "version 3"
    (whole,) = comparison.populations
    assert whole.difference == {"dice_mean": Estimate(value=0.004, low=0.003, high=0.005)}
    assert (whole.told["dice_mean"], whole.told["nsd"]) == ("better", "not known")
    assert [slice_.told["dice_mean"] for slice_ in comparison.subgroups] == ["worse"]
    assert contents(EVIDENCE).comparison is None


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ({"val_dice": [0.7, 0.9, 0.88]}, 2),
        ({"val_dice": [0.9, 0.9, 0.88]}, 1),  # the weights of the first are kept
        ({"val_dice": [None, 0.2]}, 2),
        ({"val_dice": [None]}, None),
        ({"loss": [1.0]}, None),
    ],
)
def test_the_best_epoch(figures: dict[str, list[float | None]], best: int | None) -> None:
    history = TrainingHistory(figures=figures)
    assert contents(replace(EVIDENCE, history=history)).training.best_epoch == best


def test_data_and_lineage() -> None:
    images = pd.DataFrame([
        IMAGE, {**IMAGE, "is_augmented": 1}, {**IMAGE, "patient_id": "p2", "age": 60.0}, {**IMAGE, "age": -1.0},
        {**IMAGE, "source": "elsewhere"}, {**IMAGE, "set": "a"},
    ])  # fmt: skip
    statistics = {
        "train": SplitStatistics(
            examples=8, numbers={"mean_intensity": (0.5, 0.1)}, categories={"sex": {"female": 5, "male": 3}}
        ),
        "test": SplitStatistics(examples=4, numbers={}, categories={"sex": {"male": 4, "other": 1}}),
    }
    trainer = Stage(name="Trainer", seconds=61.0, finished=None)
    report = contents(replace(EVIDENCE, images=images, statistics=statistics, parent=3, stages=(trainer,)))
    assert report.statistics == statistics
    assert report.data.test_sets == [
        EvaluatedSet(set="test", originals=4, copies=1, patients=3),
        EvaluatedSet(set="a", originals=1, copies=0, patients=1),
    ]
    assert report.data.age == AgeSummary(known=3, of=4, lowest=40.0, median=40.0, highest=60.0)
    assert [(row.value, row.counts) for row in report.data.categories] == [
        ("male", [3, 4]), ("female", [5, 0]), ("other", [0, 1])
    ]  # fmt: skip
    lineage = report.lineage
    assert (lineage.parent, lineage.warm_started, lineage.schema_hash) == ("version 3", True, "5chema")
    assert lineage.libraries == {"tensorflow": "2.21.0", "albumentations": "2.0.8"}
    assert lineage.stages == [trainer]
    assert [transform.arguments for transform in lineage.transforms] == [{"limit": [-9, 9]}]
    assert not contents(EVIDENCE).lineage.warm_started


def test_no_age_is_known() -> None:
    report = contents(replace(EVIDENCE, images=pd.DataFrame([{**IMAGE, "age": -1.0}])))
    assert report.data.age == AgeSummary(known=0, of=1)


def test_the_report_is_json_whatever_was_not_measured(tmp_path: Path) -> None:
    gap = slice_of("overall", float("nan"), metrics={"hd95": Estimate(), "nsd": Estimate(value=float("inf"))})
    history = TrainingHistory(figures={"loss": [float("nan")]})
    report = contents(replace(EVIDENCE, evaluation=evaluation(gap), history=history))
    assert report.slices.rows[0].metrics["dice_mean"] == Estimate()
    report.write(tmp_path)
    read = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    missing = {"value": None, "low": None, "high": None}
    assert read["slices"]["rows"][0]["metrics"] == dict.fromkeys(("dice_mean", "hd95", "nsd"), missing)
    assert read["training"]["history"]["figures"] == {"loss": [None]}


@pytest.mark.parametrize("evidence", [EVIDENCE, CHECKED])
def test_the_report_is_read_as_it_was_written(evidence: Any, tmp_path: Path) -> None:
    report = contents(evidence)
    report.write(tmp_path)
    assert RunReport.read(tmp_path) == report


def test_what_was_found_out_about_the_data_is_handed_on() -> None:
    data = contents(CHECKED).data
    assert (data.validation, data.drift, data.anomalies) == (VALIDATION, DRIFT, ANOMALIES.anomalies)
    assert contents(EVIDENCE).data.anomalies is None, "they were not looked for"


def test_what_is_judged_of_a_part_of_the_image_is_called_so() -> None:
    of_part = slice_of("set:hannover", 0.9).model_copy(update={"region": "right_lung"})
    given = with_slices(*SLICES, of_part)
    settings = given.settings.model_copy(
        update={"evaluate": given.settings.evaluate.model_copy(update={"region": "right_lung"})}
    )
    rule = RuleResult(
        metric="dice_mean", slice="set:hannover,view:AP", set="hannover", keys={"view": "AP"},
        kind="at_least", bound=0.95, baseline=None, passed=False, reason="0.9 is less than 0.95",
    )  # fmt: skip
    refused = BlessingDecision(blessed=False, baseline=None, rules=[rule])
    images = pd.DataFrame([IMAGE, {**IMAGE, "set": "hannover"}])
    report = contents(replace(given, settings=settings, decision=refused, images=images))
    assert [slice_.label for slice_ in report.external[0].slices] == ["All images, right lung"]
    assert report.decision.key_figures[-1].name == "External set hannover, right lung"
    assert report.decision.rules[0].where == "External set hannover: view AP, right lung"
    assert "External set hannover: view AP, right lung: 0.9 is less" in report.decision.sentence
    assert any("the right lung alone is judged" in limit for limit in report.limits)
    assert {row.region for row in report.slices.rows if row.set == "test"} == {"whole"}
