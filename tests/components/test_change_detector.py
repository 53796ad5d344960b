"""The ChangeDetector: what counts as a change of the data, the settings or the code, and what is told of it."""

import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tfx import types
from tfx.types import standard_artifacts

from components import base
from components.change_detector import detect, executor
from components.change_detector.component import ChangeDetector
from components.change_detector.settings import ChangeDetectorSettings
from components.code_version import code_version
from modules.serving.saved_model import files_digest
from schema.reports.serving import ChangeReport, Origin, ServingPointer

Serve = Callable[..., None]


@pytest.fixture(autouse=True)
def code(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The version of the code; a test may put another one into it."""
    version = ["code-1"]
    monkeypatch.setattr(detect, "code_version", lambda *_: version[0])
    return version


def write_span(root: Path, span: int, content: str = "records") -> None:
    for shard in range(2):
        file = root / f"span-{span}" / f"records-{shard:05d}-of-00002.tfrecord"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content} {shard}")


@pytest.fixture
def settings(tmp_path: Path) -> ChangeDetectorSettings:
    write_span(tmp_path / "data", 1)
    write_span(tmp_path / "north", 1)
    return ChangeDetectorSettings(
        serving_dir=tmp_path / "serving",
        data_root=tmp_path / "data",
        external={"north": tmp_path / "north"},
        run={"train": {"epochs": 3, "seed": 7}},
    )


@pytest.fixture
def serve(settings: ChangeDetectorSettings) -> Serve:
    """Has a model serve that was made of what there is now, or of something that is not known."""

    def do(version: int = 1, *, known: bool = True) -> None:
        model = settings.serving_dir / str(version)
        model.mkdir(parents=True)
        (model / "saved_model.pb").write_text(f"model {version}")
        origin = detect.detect(settings.model_copy(update={"serving_dir": model / "none"})).origin if known else None
        files = {version: files_digest(model)}
        ServingPointer(version=version, digest="", files=files, origin=origin).write(settings.serving_dir)

    return do


def changes_of(settings: ChangeDetectorSettings) -> list[str]:
    return list(detect.detect(settings).changes)


def test_before_there_is_a_model(settings: ChangeDetectorSettings) -> None:
    found = detect.detect(settings)
    assert (found.version, found.changes, found.unchanged) == (None, ["no_model"], False)


def test_nothing_has_changed(settings: ChangeDetectorSettings, serve: Serve) -> None:
    serve(4)
    found = detect.detect(settings)
    assert (found.version, found.changes, found.unchanged) == (4, [], True)


def test_a_model_of_which_nothing_is_known(settings: ChangeDetectorSettings, serve: Serve) -> None:
    """Such as one of before, one that was put back by hand, or one of a folder without a pointer."""
    serve(known=False)
    assert changes_of(settings) == ["unknown"]
    (settings.serving_dir / "current.json").unlink()
    assert changes_of(settings) == ["unknown"]


@pytest.mark.parametrize("why", ["forced", "resumed"])
def test_training_regardless(settings: ChangeDetectorSettings, serve: Serve, why: str) -> None:
    serve()
    regardless = settings.model_copy(update={"regardless": why})
    assert changes_of(regardless) == [why]
    assert detect.detect(regardless).origin == detect.detect(settings).origin, "a later run finds what this one made"


def later(file: Path) -> None:
    os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns + 1))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda root: write_span(root / "data", 2), True),
        (lambda root: write_span(root / "data", 0), False),
        (lambda root: later(root / "data/span-1/records-00001-of-00002.tfrecord"), True),
        (lambda root: (root / "data/span-1/records-00001-of-00002.tfrecord").unlink(), True),
        (lambda root: (root / "data/span-1/records-new").touch(), True),
        (lambda root: (root / "data/span-1/rejected.csv").touch(), False),
        (lambda root: later(root / "north/span-1/records-00000-of-00002.tfrecord"), True),
        (lambda root: write_span(root / "north", 2), True),
        (lambda root: write_span(root / "elsewhere", 1), False),
    ],
    ids=[
        "new span", "span of before", "newer file", "file gone", "file more", "no records", "external file",
        "external span", "another folder",
    ],
)  # fmt: skip
def test_data(
    settings: ChangeDetectorSettings, serve: Serve, tmp_path: Path, change: Callable[[Path], None], expected: bool
) -> None:
    serve()
    change(tmp_path)
    assert changes_of(settings) == (["data"] if expected else [])


def test_size_counts_even_where_the_time_was_put_back(settings: ChangeDetectorSettings, serve: Serve) -> None:
    serve()
    file = settings.data_root / "span-1/records-00000-of-00002.tfrecord"
    before = file.stat()
    file.write_text("more than there was")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert changes_of(settings) == ["data"]


def test_data_may_move(settings: ChangeDetectorSettings, serve: Serve, tmp_path: Path) -> None:
    serve()
    shutil.copytree(settings.data_root, tmp_path / "copy")  # with the times
    assert changes_of(settings.model_copy(update={"data_root": tmp_path / "copy"})) == []


@pytest.mark.parametrize(
    ("update", "spans", "expected"),
    [
        ({}, [3], []),
        ({"span": 3}, [3], []),
        ({"span": 2}, [2], ["data"]),
        ({"spans": 2}, [2, 3], ["data"]),
        ({"external": {}}, [3], ["data"]),
    ],
)
def test_which_data_are_read(
    settings: ChangeDetectorSettings, serve: Serve, update: dict[str, Any], spans: list[int], expected: list[str]
) -> None:
    for span in (2, 3):
        write_span(settings.data_root, span)
    serve()
    found = detect.detect(settings.model_copy(update=update))
    assert (found.spans, found.changes) == (spans, expected)


def test_settings_and_code(settings: ChangeDetectorSettings, serve: Serve, code: list[str]) -> None:
    serve()
    other = settings.model_copy(update={"run": {"train": {"epochs": 3, "seed": 8}}})
    assert changes_of(other) == ["settings"]
    assert changes_of(settings.model_copy(update={"run": {"train": {"seed": 7, "epochs": 3}}})) == []
    code[0] = "code-2"
    assert changes_of(settings) == ["code"]
    write_span(settings.data_root, 2)
    assert changes_of(other) == ["data", "settings", "code"]


def test_a_served_model_that_was_changed_is_an_error(settings: ChangeDetectorSettings, serve: Serve) -> None:
    serve()
    (settings.serving_dir / "1/saved_model.pb").write_text("another")
    with pytest.raises(ValueError, match=f"^'{settings.serving_dir}/1' is no longer the model that was put there"):
        detect.detect(settings)


def test_caches_find_a_run_again_that_trained_with_the_same(settings: ChangeDetectorSettings, serve: Serve) -> None:
    first = detect.cache_key(settings)
    serve(known=False)
    assert detect.cache_key(settings) == first, "whatever serves meanwhile"
    shutil.rmtree(settings.serving_dir)
    serve(2)
    assert detect.cache_key(settings) != first, "a run that ends early is another one"
    write_span(settings.data_root, 2)
    assert detect.cache_key(settings) != first


def execute(folder: Path, settings: ChangeDetectorSettings) -> types.Artifact:
    changes = standard_artifacts.ExampleAnomalies()
    changes.uri = str(folder)
    folder.mkdir()
    executor.Executor().Do({}, {"changes": [changes]}, {"settings": settings.model_dump_json()})
    return changes


def test_the_executor(
    settings: ChangeDetectorSettings, serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lungseg.changes")
    first = execute(tmp_path / "first", settings)
    assert first.get_int_custom_property("unchanged") == 0
    assert first.get_string_custom_property("spans") == "1"
    assert not first.has_custom_property("version")
    report = ChangeReport.read(first.uri)
    assert report == detect.detect(settings)
    assert isinstance(report.origin, Origin)
    serve(2)
    second = execute(tmp_path / "second", settings)
    assert second.get_int_custom_property("unchanged") == 1
    assert second.get_string_custom_property("version") == "2"
    execute(tmp_path / "third", settings.model_copy(update={"run": {}}))
    assert [record.getMessage() for record in caplog.records] == [
        "trains, since no model serves yet",
        "none: data, settings and code are those of version 2, which serves",
        "other settings than those of version 2",
    ]


@pytest.mark.parametrize(
    ("span", "problem"),
    [
        (5, "'{data}' has no span 5: there are 1; name one of these, or write it first"),
        (None, "'{none}' holds no span-N/records-*: write them there with `lungseg ingest`"),
    ],
)
def test_a_span_that_is_not_there_is_no_reason_to_end_early(
    settings: ChangeDetectorSettings, serve: Serve, tmp_path: Path, span: int | None, problem: str
) -> None:
    serve()
    none = tmp_path / "none"
    update = {"span": span} if span else {"data_root": none}
    expected = problem.format(data=settings.data_root, none=none)
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        execute(tmp_path / "changes", settings.model_copy(update=update))
    assert list((tmp_path / "changes").iterdir()) == []


def test_the_component_is_wired(settings: ChangeDetectorSettings) -> None:
    detector = ChangeDetector(settings)
    assert (detector.id, detector.inputs) == ("ChangeDetector", {})
    outputs = {key: output.type for key, output in detector.outputs.items()}
    assert outputs == {"changes": standard_artifacts.ExampleAnomalies}
    version = code_version("components.change_detector.executor")
    assert detector.exec_properties == {"settings": base.write_settings(settings), "code_version": version}
