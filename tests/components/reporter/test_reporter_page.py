"""How the page and the model card show what a report says."""

import re
from dataclasses import replace

import numpy as np
import pytest
from lxml import html
from report_evidence import (
    CHECKED,
    DRIFT,
    EVIDENCE,
    SLICES,
    VALIDATION,
    compared,
    decision,
    evaluation,
    moved,
    probe,
    rule,
    set_summary,
    slice_of,
    with_slices,
)

from components.reporter.cases import Case
from components.reporter.contents import contents
from components.reporter.evidence import Evidence
from components.reporter.page import Shown, render, render_card, slice_rows
from components.reporter.pictures import draw
from schema.reports.blessing import BlessingDecision
from schema.reports.estimate import Estimate
from schema.reports.run_report import SplitStatistics, Stage
from schema.reports.statistics import Anomaly, AnomalyReport, DriftReport
from schema.reports.training import TrainingHistory
from schema.reports.validation import Leaks

DASH, SPACE = "\N{EN DASH}", "\N{NO-BREAK SPACE}"


def page_of(evidence: Evidence, *shown: Shown) -> html.HtmlElement:
    return html.document_fromstring(render(contents(evidence), shown, evidence.quarantined))


def text_of(evidence: Evidence) -> str:
    return " ".join(" ".join(page_of(evidence).itertext()).split())


def card_of(evidence: Evidence) -> str:
    return render_card(contents(evidence))


RENDERED = {
    "nothing but what must be": EVIDENCE,
    "checked": CHECKED,
    "refused": replace(EVIDENCE, decision=decision(False), probe=probe(False), parent=3),
    "not judged": replace(EVIDENCE, decision=None),
    "compared": with_slices(compared("overall", 0.1), compared("set:b", 0.2), baseline="version 3"),
    "nothing was measured": replace(EVIDENCE, evaluation=evaluation(), history=TrainingHistory(figures={})),
    "one epoch, one gap": replace(EVIDENCE, history=TrainingHistory(figures={"loss": [0.3], "val_loss": [None]})),
    "no number": replace(
        with_slices(slice_of("overall", float("nan"))), history=TrainingHistory(figures={"loss": [float("inf")]})
    ),
}


@pytest.fixture(params=RENDERED)
def rendered(request: pytest.FixtureRequest) -> html.HtmlElement:
    return page_of(RENDERED[request.param])


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


def test_checks_that_were_not_made_are_told() -> None:
    assert CHECKED.validation is not None
    assert "Not looked for" not in text_of(CHECKED)
    ignoring = CHECKED.validation.model_copy(update={"limits": {"ignore": ["near_duplicate", "components"]}})
    told = "Not looked for, by record_validation.ignore : near duplicate, components."
    assert told in text_of(replace(CHECKED, validation=ignoring))


def test_the_checks_of_the_data_are_told() -> None:
    text = text_of(CHECKED)
    assert (
        "Each record was decoded and checked: 7 of 9 are fit for use; 2 went to quarantine. 1 leak between sets was "
        "found: what is shared stayed in one set alone."
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
    assert "The training data have drifted since version 3 was trained (mean intensity)" in text
    card = card_of(CHECKED)
    assert "Of 9 records 2 went to quarantine.\n" in card
    assert "Drifted since version 3: mean intensity.\n" in card


def test_data_without_a_blemish() -> None:
    fine = VALIDATION.model_copy(update={"sets": [set_summary("train")], "leaks": Leaks(total=0, named=[])})
    still = DRIFT.model_copy(update={"features": DRIFT.features[1:]})
    none = AnomalyReport(anomalies=[])
    text = text_of(replace(CHECKED, validation=fine, drift=still, anomalies=none, quarantined=()))
    assert "checked: all 9 are fit for use. No sets share what they must not." in text
    assert "No feature of the training split has moved further than it may since version 3 was trained." in text
    assert "None: the statistics of all splits keep to the schema." in text


def test_where_drift_was_not_looked_for_the_reason_is_told() -> None:
    none = DriftReport(baseline=None, severity="warning", new_examples=42, reason="there was no model to compare with")
    assert "Not looked for: there was no model to compare with." in text_of(replace(EVIDENCE, drift=none))


def test_refused_records_are_shown() -> None:
    document = page_of(CHECKED)
    (sheet,) = document.xpath("//section[@id='data']//img[@class='sheet']")
    assert sheet.get("src") == "data:image/png;base64,UE5H"
    (chart,) = document.xpath("//section[@id='data']//figure//img/@alt")
    assert "Distances: mean_intensity 0.30 drifted; sex 0.10" in chart


def test_the_page_tells_each_rule() -> None:
    regression = rule(
        False, kind="max_regression", bound=0.01, measured=Estimate(value=0.02, low=0.01, high=0.03), baseline=0.97,
        slice="set:hannover,is_augmented:0", set="hannover", keys={"is_augmented": "0"}, reason="is worse by 0.02",
    )  # fmt: skip
    judged = BlessingDecision(blessed=False, baseline="version 3", rules=[rule(), regression])
    text = text_of(replace(EVIDENCE, decision=judged))
    assert "✓ passed Mean Dice at least 0.900 All images 0.950 is 0.9500, must be at least 0.9" in text
    assert (
        "✗ failed Mean Dice worse than the model blessed last by at most 0.0100 External set hannover: originals "
        "+0.0200 (+0.0100 to +0.0300) is worse by 0.02; Mean Dice of the baseline: 0.970"
    ) in text


def test_the_latency_of_one_image_is_a_key_figure() -> None:
    assert "Serving 41 ms an image median; 95th percentile 56 ms" in text_of(replace(EVIDENCE, probe=probe(True)))
    silent = probe(False).model_copy(update={"latency": []})
    assert "Serving 4" not in text_of(replace(EVIDENCE, probe=silent))


def test_for_whom_it_is_worse_is_said_in_words() -> None:
    text = text_of(with_slices(*SLICES, slice_of("finding:tuberculosis", 0.92)))
    assert "Below the Dice of all images by more than their 95 % intervals allow: Finding" in text
    assert f"Finding tuberculosis : 0.920 (0.910{DASH}0.930) in 50 patients; all images 0.945" in text


def test_what_is_too_small_is_said_in_words() -> None:
    evidence = with_slices(*SLICES, slice_of("sex:other", 0.9, patients=3))
    text = text_of(evidence)
    assert "Too few patients to judge (fewer than 10): Sex other (3). Drawn hollow and grey below." in text
    assert "Sex other (too few)" in text
    picture = render(contents(evidence), [])
    assert f"other 0.900 (0.890{DASH}0.910), too few patients to judge" in picture


def test_of_a_group_with_many_members_the_lowest_are_drawn() -> None:
    document = page_of(
        with_slices(*SLICES, *(slice_of(f"source:s{number:02d}", 0.8 + number / 100) for number in range(14)))
    )
    (description,) = document.xpath("//section[@id='slices']//img/@alt")
    assert re.findall(r"s\d\d", description) == [f"s{number:02d}" for number in range(10)]
    assert "source s13" in document.text_content().lower()


def test_a_heading_is_kept_where_its_first_member_was_not_measured() -> None:
    unmeasured = slice_of("sex:female", 0.9, metrics={"dice_mean": Estimate()})
    (row,) = slice_rows(contents(with_slices(unmeasured, slice_of("sex:male", 0.8))))
    assert (row.heading, row.label) == ("Sex", "male")


HOSTILE = "<img src=x onerror=alert(1)>|$x_1$ & \N{CJK UNIFIED IDEOGRAPH-80BA}"


@pytest.fixture
def hostile() -> Evidence:
    """Names that are code for HTML, Markdown or matplotlib."""
    slices = [
        *SLICES,
        slice_of("source:S", 0.9).model_copy(update={"keys": {"source": HOSTILE}}),
        slice_of("set:S", 0.8).model_copy(update={"set": HOSTILE}),
    ]
    drift = DRIFT.model_copy(update={"features": (moved(HOSTILE, 0.3, 0.1, values=(HOSTILE, f"{HOSTILE}2")),)})
    anomaly = Anomaly(split=HOSTILE, feature=HOSTILE, severity="error", is_drift=False, text=HOSTILE)
    return replace(with_slices(*slices), drift=drift, anomalies=AnomalyReport(anomalies=[anomaly]))


@pytest.mark.filterwarnings("error")
def test_names_are_never_taken_for_code(hostile: Evidence) -> None:
    case = Case("Worst", "test", HOSTILE, HOSTILE, 0.5, None, None, (HOSTILE,))
    black = np.zeros((4, 4), np.uint8)
    document = page_of(hostile, Shown(case, draw(black, black, black), None))
    assert HOSTILE in document.text_content()
    assert not document.xpath("//*[@onerror]")
    assert not [image for image in document.iter("img") if not image.get("src").startswith("data:")]


def test_cells_of_the_card_hold(hostile: Evidence) -> None:
    (row,) = [line for line in card_of(hostile).splitlines() if line.startswith("| test | Source")]
    assert "&lt;img" in row
    assert len(re.split(r"(?<!\\)\|", row)) == 10


def test_the_card_says_what_kind_of_images_the_model_is_for() -> None:
    for views, kind in (({"axial": 80}, "axial slices of chest CT"), ({"PA": 80}, "frontal chest radiographs")):
        split = SplitStatistics(examples=80, numbers={}, categories={"view": views})
        assert f"- Segments the lungs in {kind}: " in card_of(replace(EVIDENCE, statistics={"train": split}))


def test_the_card_tells_what_matters() -> None:
    card = card_of(replace(EVIDENCE, pushed=True, version="4", parent=3))
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
    assert "| architecture | unet |\n" in card
    assert "| train.epochs | 10 |\n" in card
    assert "| Mean Dice at least 0.900 | All images | passed | is 0.9500, must be at least 0.9 |" in card
    cited = "> lungseg, version 4: lung segmentation, data span 3, policy chest `ha5h`, schema `5chema`, code `c0de`."
    assert cited in card


@pytest.mark.parametrize(
    ("spans", "words", "term"), [((3,), "span 3", "Data span"), ((3, 4, 12), "spans 3, 4, 12", "Data spans")]
)
def test_the_spans_of_the_data(spans: tuple[int, ...], words: str, term: str) -> None:
    evidence = replace(EVIDENCE, data=replace(EVIDENCE.data, spans=spans))
    report = contents(evidence)
    assert (report.data.span, report.data.spans) == (spans[-1], list(spans))
    assert (report.lineage.data_span, report.lineage.data_spans) == (spans[-1], list(spans))
    document = page_of(evidence)
    assert document.findtext(".//title").endswith(f"lungseg, data {words}")
    assert document.find(".//footer/p").text.startswith(f"lungseg, data {words}, code")
    (pair,) = [entry for entry in document.iter("dt") if entry.text == term]
    assert pair.getnext().text == ", ".join(map(str, spans))
    card = render_card(report)
    assert f"\n{words.capitalize()}, split by patient." in card
    assert f"lung segmentation, data {words}, policy" in card


def test_the_same_evidence_gives_the_same_page() -> None:
    assert render(contents(EVIDENCE), []) == render(contents(EVIDENCE), [])


def test_pictures_bear_their_names_and_numbers() -> None:
    grey = np.full((8, 8), 99, np.uint8)
    pictures = draw(grey, grey, grey)
    original = Case("Original", "test", "a", "a", 0.95, 0.02, 5.0, ("clinic",))
    copy = Case("Augmented copies", "test", "a-copy1", "a", 0.9, 0.03, 7.5, ("clinic", "Rotate"), original)
    worst = replace(original, group="Worst")
    section = page_of(EVIDENCE, Shown(worst, pictures, None), Shown(copy, pictures, pictures)).get_element_by_id(
        "pictures"
    )
    assert [heading.text for heading in section.findall("h3")] == ["Worst", "Augmented copies"]
    captions = [" ".join(caption.text_content().split()) for caption in section.iter("figcaption")]
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
    stage = Stage(name="Trainer", seconds=seconds, finished="2026-09-21T14:14:24+00:00")
    assert f"Trainer {written} 2026-09-21 14:14:24" in text_of(replace(EVIDENCE, stages=(stage,)))
