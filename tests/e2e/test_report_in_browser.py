"""The report as a browser shows it: whole, alone, readable on a desk, on a phone and on paper."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from pictures import read_picture
from playwright.sync_api import Browser, Page, sync_playwright
from report_artifacts import Inputs, artifact
from report_inputs import SETTINGS, STUDY_SETTINGS, Data, Models, write_run, write_study
from tfx.types.experimental import simple_artifacts

from components.reporter import executor
from components.study_reporter import executor as study_executor
from modules.serving.export import export_model
from pipeline.commands.phantoms import phantom
from schema.record import Record, encode
from schema.reports.study import ArmComparison

pytestmark = pytest.mark.e2e

SIZE = 128
DESK, PHONE = (1280, 900), (390, 844)
CHARTS = {"run": 7, "study": 6 * 2 + 1}
PICTURES = {"run": 5 * 3 * 4 + 1, "study": 2 * 3 * 4}
"""Of a run four each of three groups of originals, of copies and of the external set, three cases each, and the sheet
of records that were refused; of a study four each of three cases of both sets."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SOURCES = ("phantom-a", "phantom-b")
FINDINGS = ("normal", "tuberculosis", "effusion")


@dataclass
class Shown:
    """A page in a browser, how many charts and pictures it must have, what its console said and what it asked for."""

    page: Page
    charts: int
    pictures: int
    console: list[str]
    requests: list[str]


def records(first: int, count: int, source: str | None = None) -> list[Record]:
    """Phantoms, each with a mirrored copy; every fourth is of the patient of the one before."""
    made = []
    for number in range(first, first + count):
        image, mask = phantom(0, number, 1, SIZE)
        patient = number - (number % 4 == 3)
        original = Record(
            image=np.asarray(image),
            mask=np.asarray(mask),
            image_id=f"{source or 'phantom'}-{number}",
            patient_id=f"p{patient}",
            source=source or SOURCES[patient % 2],
            width=SIZE,
            height=SIZE,
            finding=FINDINGS[0 if number % 3 else number % 2 + 1],
            view="PA",
            sex=("female", "male")[patient % 2],
            age=float(10 + 7 * number % 80) if number % 5 else -1.0,
        )
        copy = replace(
            original,
            image=np.asarray(cv2.flip(original.image, 1), np.uint8),
            mask=np.asarray(cv2.flip(original.mask, 1), np.uint8),
            image_id=original.name_copy(1),
            is_augmented=True,
            augmentation="HorizontalFlip" if number % 2 else "RandomGamma+HorizontalFlip",
        )
        made += [original, copy]
    return made


def export(folder: Path, graph: Path, threshold: float) -> Path:
    """A network that takes for lung what is darker than the training images' mean by a threshold, as it is exported."""
    image = keras.Input((SIZE, SIZE, 1))
    model = keras.Model(image, keras.layers.Conv2D(1, 1)(image))
    model.set_weights([-np.ones((1, 1, 1, 1)), np.full(1, -threshold)])
    export_model(model, str(graph / "transform_fn"), str(folder))
    return folder


@pytest.fixture(scope="module")
def run(transform: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """What the Reporter reads of a run."""
    folder = tmp_path_factory.mktemp("run")
    graph = transform([encode(record) for record in records(1, 4)], folder / "graph", SIZE)
    models = Models(export(folder / "candidate", graph, 0.0), export(folder / "baseline", graph, 0.1))
    splits = {"train": records(1, 12), "eval": records(13, 4), "test": records(17, 32)}
    return write_run(folder / "inputs", Data(splits, {"hannover": records(49, 14, "hannover")}), models)


@pytest.fixture(scope="module", params=["run", "study"])
def report(request: pytest.FixtureRequest, run: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report."""
    folder = tmp_path_factory.mktemp(request.param)
    made = artifact(simple_artifacts.File, folder / request.param)
    if request.param == "run":
        executor.Executor().Do(run, {"report": [made]}, {"settings": SETTINGS.model_dump_json()})
    else:
        inputs = write_study(folder / "inputs", run)
        study_executor.Executor().Do(inputs, {"report": [made]}, {"settings": STUDY_SETTINGS.model_dump_json()})
    return folder / request.param


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser_path = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser_path is None:
        pytest.skip("no Chromium on PATH: `make system-packages` installs it")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def shown(request: pytest.FixtureRequest, browser: Browser, report: Path) -> Iterator[Shown]:
    width, height = request.param
    page = browser.new_page(viewport={"width": width, "height": height})
    address = (report / "index.html").as_uri()
    console: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda error: console.append(str(error)))
    page.on("request", lambda asked: requests.append(asked.url))
    page.route(lambda url: not url.startswith("data:") and url != address, lambda route: route.abort())
    page.goto(address)
    page.wait_for_load_state("networkidle")
    yield Shown(
        page,
        CHARTS[report.name],
        PICTURES[report.name],
        console,
        [address_ for address_ in requests if not address_.startswith("data:") and address_ != address],
    )
    page.close()


def test_is_whole_and_needs_nothing_else(shown: Shown) -> None:
    assert shown.console == []
    assert shown.requests == []
    images = shown.page.eval_on_selector_all(
        "img", "all => all.map(one => [one.complete, one.naturalWidth, one.alt.length])"
    )
    assert len(images) == shown.charts + shown.pictures
    assert all(complete and width > 0 and alternative > 0 for complete, width, alternative in images)


@pytest.mark.parametrize("unfolded", [False, True])
def test_never_scrolls_sideways(shown: Shown, unfolded: bool) -> None:
    shown.page.eval_on_selector_all("details", f"all => all.forEach(one => one.open = {str(unfolded).lower()})")
    width, window = shown.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= window
    # What is wider than its box scrolls within it, and what is within it can be reached by keyboard.
    boxes = shown.page.eval_on_selector_all(
        ".scroll", "all => all.map(one => [getComputedStyle(one).overflowX, one.tabIndex])"
    )
    assert boxes
    assert all(box == ["auto", 0] for box in boxes)


def test_each_size_gets_its_charts(shown: Shown) -> None:
    window = shown.page.evaluate("window.innerWidth")
    widths = shown.page.eval_on_selector_all(
        ".chart img",
        "all => all.map(one => [0.75 * one.naturalWidth, one.clientWidth])",  # points to pixels
    )
    assert len(widths) == shown.charts
    assert all(drawn < 400 if window < 700 else drawn > 900 for drawn, _ in widths)
    # Text of 12 pixels that is shrunk further could not be read.
    assert all(seen >= 0.9 * drawn for drawn, seen in widths)


def test_tells_the_decision_first(shown: Shown, report: Path) -> None:
    expected = "May serve: version 4"
    if report.name == "study":
        expected = ArmComparison.read(report.parent / "inputs/comparison").headline
        assert expected.startswith("Compared with 'originals only', better on the test set: 'with copies'")
    assert shown.page.locator("h1").inner_text() == expected


def test_has_landmarks_and_one_heading(shown: Shown) -> None:
    count = shown.page.locator
    assert [count(name).count() for name in ("h1", "header", "nav", "main", "footer")] == [1, 1, 1, 1, 1]
    assert shown.page.evaluate("document.documentElement.lang") == "en"
    links = shown.page.eval_on_selector_all("nav a", "all => all.map(one => one.hash.slice(1))")
    assert len(links) == len(set(links)) >= 8
    assert all(count(f"section#{name}").count() == 1 for name in links)


CONTRAST = """() => {
  const luminance = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(one => one / 255)
    .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = element => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!colour.endsWith(', 0)')) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const written = [...document.querySelectorAll('body *')].filter(
    one => [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()));
  return Math.min(...written.map(one => {
    const both = [luminance(getComputedStyle(one).color), luminance(ground(one))].sort((a, b) => a - b);
    return (both[1] + 0.05) / (both[0] + 0.05);
  }));
}"""
"""The lowest contrast of all text, as WCAG 2.1 defines it."""


def test_contrast_suffices(shown: Shown) -> None:
    assert shown.page.evaluate(CONTRAST) >= 4.5


def test_is_seen(shown: Shown, tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    shown.page.screenshot(path=path, full_page=True)
    pixels = read_picture(path, cv2.IMREAD_GRAYSCALE)
    assert pixels.shape[0] > 5000
    assert pixels.std() > 20


def test_can_be_printed(browser: Browser, report: Path, tmp_path: Path) -> None:
    # What A4 leaves between margins of 16 mm, in CSS pixels.
    page = browser.new_page(viewport={"width": 673, "height": 1000})
    page.emulate_media(media="print")
    page.goto((report / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 673
    assert not page.locator("nav").is_visible()
    page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").stat().st_size > 100_000
    page.close()


def test_is_small_enough_to_send(report: Path) -> None:
    assert (report / "index.html").stat().st_size < 5_000_000
