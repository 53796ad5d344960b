"""How numbers of a report are written."""

import pytest

from components.reporter.figures import label, lower_is_better, write, write_estimate, write_interval
from modules.evaluation.measures import STATISTICS
from schema.reports.estimate import Estimate

MINUS, DASH, SPACE = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("statistic", "value", "signed", "written"),
    [
        ("dice_mean", 0.95678, False, "0.957"),
        ("dice_mean", 0.00314, True, "+0.0031"),
        ("dice_mean", -0.00314, True, f"{MINUS}0.0031"),
        ("dice_mean", -0.00001, True, "0.0000"),
        ("hd95", 0.02214, False, f"2.21{SPACE}%"),
        ("hd95", -0.001, True, f"{MINUS}0.10{SPACE}pp"),
        ("hd95_px", 11.34, False, f"11.3{SPACE}px"),
        ("brier", 0.01234, False, "0.0123"),
        ("lung_area_error", 0.0456, False, f"4.6{SPACE}%"),
        ("hd95_drop", 0.002, True, f"+0.20{SPACE}pp"),
        ("dice_mean", None, False, DASH),
        ("of another version", 0.5, False, "0.500"),
    ],
)
def test_a_number(statistic: str, value: float | None, signed: bool, written: str) -> None:
    assert write(statistic, value, signed=signed) == written


@pytest.mark.parametrize(
    ("statistic", "estimate", "signed", "written"),
    [
        ("dice_mean", Estimate(value=0.957, low=0.949, high=0.963), False, f"0.957 (0.949{DASH}0.963)"),
        ("hd95", Estimate(value=0.0221, low=0.019, high=0.026), False, f"2.21 (1.90{DASH}2.60){SPACE}%"),
        ("dice_drop", Estimate(value=0.002, low=-0.001, high=0.004), True, f"+0.0020 ({MINUS}0.0010 to +0.0040)"),
        ("asd_px", Estimate(value=0.1, low=-0.2, high=0.4), False, f"0.10 ({MINUS}0.20 to 0.40){SPACE}px"),
        ("dice_mean", Estimate(value=0.957), False, "0.957"),
        ("dice_mean", Estimate(), False, DASH),
    ],
)
def test_an_estimate(statistic: str, estimate: Estimate, signed: bool, written: str) -> None:
    assert write_estimate(statistic, estimate, signed=signed) == written


def test_there_may_be_no_estimate() -> None:
    assert write_estimate("dice_mean", None) == DASH
    assert write_interval("dice_mean", Estimate(value=0.9, high=0.95)) == ""


def test_every_statistic_has_a_name_of_its_own() -> None:
    names = [label(name) for name in STATISTICS]
    assert len(set(names)) == len(STATISTICS)
    assert label("dice_mean") == "Mean Dice"
    assert label("dice_p5") == "Dice, 5th percentile"
    assert label("iou_worst") == "IoU, worst image"
    assert label("hd95") == "HD95 (share of width)"
    assert label("nsd_drop") == "Surface Dice, drop"
    assert label("of another version") == "of another version"


def test_which_way_is_better() -> None:
    assert [lower_is_better(name) for name in ("dice_mean", "hd95", "dice_drop")] == [False, True, True]
