"""What a run checks before it loads TensorFlow."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from pydantic import JsonValue
from tfx.types import standard_artifacts
from webhook_server import WebhookServer

from pipeline import console
from pipeline.commands.run import _marked_unfinished, _verdict, _written, check_data, run
from pipeline.config import load_config
from pipeline.errors import ComponentError, UserError
from pipeline.root import check_root, occupied
from pipeline.runners import ComponentRun
from schema.record import RecordError
from schema.reports.estimate import Estimate
from schema.reports.evaluation import Slice
from schema.reports.result import RunResult


def test_data_folder_missing(tmp_path: Path) -> None:
    data = tmp_path / "none"
    expected = f"data folder '{data}' does not exist: make it with `lungseg ingest --output {data}`"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        check_data(data)


def test_data_folder_is_a_file(tmp_path: Path) -> None:
    data = tmp_path / "file"
    data.touch()
    with pytest.raises(UserError, match="does not exist"):
        check_data(data)


@pytest.mark.parametrize(
    "left", [[], ["records-0"], ["span-1/rejected.csv"], ["span-x/records-0"], ["span1/records-0"]]
)
def test_no_spans(tmp_path: Path, left: list[str]) -> None:
    for name in left:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    expected = (
        f"data folder '{tmp_path}' holds no span-N/records-*: make them with `lungseg ingest --output {tmp_path}`"
    )
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        check_data(tmp_path)


def test_a_span(tmp_path: Path) -> None:
    (tmp_path / "span-12").mkdir()
    (tmp_path / "span-12" / "records-00000-of-00001.tfrecord").touch()
    check_data(tmp_path)


def test_root_is_made_and_left_empty(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    check_root(root)
    check_root(root)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "problem"), [("file", "File exists"), ("file/below", "Not a directory"), ("dangling", "File exists")]
)
def test_root_is_no_folder(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    root = tmp_path / name
    with pytest.raises(UserError, match=f"^{re.escape(f'root {str(root)!r} cannot be written: {problem}')}$"):
        check_root(root)


def test_root_cannot_be_written() -> None:
    """/proc refuses files even to the superuser."""
    with pytest.raises(UserError, match=r"^root '/proc' cannot be written: .+$"):
        check_root(Path("/proc"))


def test_a_wrong_run_writes_nothing_and_loads_no_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from pipeline.commands.run import run; from pipeline.config import load_config\n"
        "config = load_config('demo', {}, data=Path('none'), root=Path('root'))\n"
        "try: run(config)\n"
        "except Exception as error: print(type(error).__name__, {'tfx', 'apache_beam'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "UserError set()\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "report"), "Read-only file system"),
        (
            shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
            "[Errno 28] No space left on device: 'b'",
        ),
    ],
)
def test_a_root_that_can_be_written_no_longer(tmp_path: Path, error: OSError, reason: str) -> None:
    with pytest.raises(UserError) as caught, _written(tmp_path):
        raise error
    assert str(caught.value) == (
        f"root '{tmp_path}' cannot be written: {reason}; "
        "make room or rights there and start again: what is done is kept"
    )


def test_other_errors_are_not_taken_for_that(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), _written(tmp_path):
        (tmp_path / "none").read_text()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    records = tmp_path / "data" / "span-1" / "records-0"
    records.parent.mkdir(parents=True)
    records.touch()
    return tmp_path / "data"


def test_a_store_that_cannot_be_read_stops_a_run_at_its_start(data: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "metadata.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match=r"metadata\.sqlite' cannot be read: file is not a database; "):
        run(load_config("demo", {}, data=data, root=root))
    assert not (root / "config.yaml").exists()


def test_one_run_at_a_time(data: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with (
        occupied(root),
        pytest.raises(UserError, match=f"^a run, a study or `lungseg gc` is under way under '{root}': "),
    ):
        run(load_config("demo", {}, data=data, root=root))
    assert [path.name for path in root.iterdir()] == [".lock"]


class FakeRunner:
    """Stands for the LocalRunner: runs nothing and writes as libraries do."""

    connection = None

    def __init__(self, root: Path, view: console.RunView) -> None:
        self.runs = [ComponentRun("Pusher", 1.5, False, {})]
        self._root, self._view = root, view

    def run(self, pipeline: object) -> None:
        os.write(1, f"a library on {pipeline}".encode())
        self._view.ended(self.runs[0])


def result_of(status: Literal["blessed", "not_blessed", "unchanged"], version: str | None) -> RunResult:
    overall = Slice(
        slice="overall", set="test", keys={}, examples=4, patients=4, enough=False,
        metrics={"dice_mean": Estimate(value=0.5)}, baseline=None, difference=None,
    )  # fmt: skip
    return RunResult(
        status=status,
        pushed_version=version,
        pipeline="lungseg",
        data_span=1,
        data_spans=[1],
        policy="chest",
        failures=["dice_mean on overall is 0.5000, must be at least 0.9000"] if status == "not_blessed" else [],
        rules=[],
        slices=[overall],
        components=[],
    )


@pytest.mark.parametrize("blessed", [True, False])
def test_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], blessed: bool
) -> None:
    """All but the pipeline itself: what is shown, logged, written and returned."""
    collected = result_of("blessed", "17") if blessed else result_of("not_blessed", None)
    report = tmp_path / "artifact"
    monkeypatch.setattr("pipeline.graph.create_pipeline", lambda config, *_, **__: config.name)
    monkeypatch.setattr("pipeline.runners.LocalRunner", FakeRunner)
    monkeypatch.setattr("pipeline.commands.run_result.collect_result", lambda _, runs: collected if runs else None)
    monkeypatch.setattr("pipeline.commands.run_result.report_of", lambda _: report)
    monkeypatch.setattr(sys, "argv", ["lungseg", "run", "--data", "data"])
    for path in (tmp_path / "data" / "span-1" / "records-0", report / "index.html", tmp_path / "root/report/old.html"):
        path.parent.mkdir(parents=True)
        path.touch()
    root = tmp_path / "root"
    with WebhookServer() as server:
        config = load_config("demo", {"notify.url": server.url}, data=tmp_path / "data", root=root)
        assert run(config, verbose=False) is blessed
    assert server.types == ["started", "blessed" if blessed else "not_blessed"]
    shown = capfd.readouterr().out.splitlines()
    assert shown[0] == f"Libraries' output goes to {root}/log.txt"
    assert "  done, 1.5 s: nothing" in shown
    decision = f"blessed and pushed in 0.0 minutes: the model lies in {root}/serving/17"
    assert (decision if blessed else "not blessed, nothing pushed, after 0.0 minutes") in shown
    assert [line for line in shown if line.startswith("failed: ")] == [
        f"failed: {failure}" for failure in collected.failures
    ]
    assert shown[-2:] == [f"Report: {root}/report/index.html", f"All figures: {root}/result.json"]
    assert [path.name for path in (root / "report").iterdir()] == ["index.html"], "the last report is gone"
    assert RunResult.read(root) == collected
    assert "a library on lungseg" in (root / "log.txt").read_text()
    # Beam would read our options as its own.
    assert sys.argv == ["lungseg"]


class FailingRunner(FakeRunner):
    """Fails before anything is judged."""

    def run(self, pipeline: object) -> None:
        self.runs.clear()
        cause = RecordError("image of P1", "mask", "is empty")
        raise ComponentError("Transform", cause) from cause


def test_a_run_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.graph.create_pipeline", lambda config, *_, **__: config.name)
    monkeypatch.setattr("pipeline.runners.LocalRunner", FailingRunner)
    monkeypatch.setattr(sys, "argv", ["lungseg", "run"])
    monkeypatch.setenv("TOKEN", "Bearer s3cret")
    (tmp_path / "data" / "span-1").mkdir(parents=True)
    (tmp_path / "data" / "span-1" / "records-0").touch()
    root = tmp_path / "root"
    with WebhookServer(204, 503) as server:
        settings: dict[str, JsonValue] = {
            "notify.url": server.url, "notify.headers": {"Authorization": {"env": "TOKEN"}}, "notify.tries": 1,
        }  # fmt: skip
        with pytest.raises(ComponentError):
            run(load_config("demo", settings, data=tmp_path / "data", root=root))
    assert server.types == ["started", "failed"]
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer s3cret"}
    warning = "the webhook at 127.0.0.1 answered 503: it may not know of lungseg.run.failed"
    assert capfd.readouterr().out.splitlines()[-1] == warning
    assert not [path for path in root.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]


def test_a_secret_that_is_missing_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    settings: dict[str, JsonValue] = {"notify.url_from": {"env": "TOKEN"}}
    expected = "^notify.url_from: environment variable TOKEN must hold one line of plain text$"
    with pytest.raises(UserError, match=expected):
        run(load_config("demo", settings, data=tmp_path, root=tmp_path / "root"))
    assert not (tmp_path / "root").exists()


def test_what_was_cut_off_is_brought_to_its_end(tmp_path: Path) -> None:
    """A run that was killed after the push has no report yet, though nothing has changed since."""
    with pytest.raises(ComponentError), _marked_unfinished(tmp_path) as resumed:
        raise ComponentError("Reporter", ValueError())
    assert not resumed
    with _marked_unfinished(tmp_path) as resumed:
        assert resumed
    with _marked_unfinished(tmp_path) as resumed:
        assert not resumed


class UnchangedRunner(FakeRunner):
    """Finds that nothing has changed since version 3 was made."""

    def run(self, pipeline: object) -> None:
        changes = standard_artifacts.ExampleAnomalies()
        changes.set_int_custom_property("unchanged", 1)
        self.runs[:] = [ComponentRun("ChangeDetector", 0.5, False, {"changes": [changes]})]


@pytest.mark.parametrize("known", [True, False], ids=["its report is here", "another report is here"])
def test_an_unchanged_run_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], known: bool
) -> None:
    collected = result_of("unchanged", "3") if known else result_of("unchanged", "3").model_copy(update={"slices": []})
    monkeypatch.setattr("pipeline.graph.create_pipeline", lambda config, *_, **__: config.name)
    monkeypatch.setattr("pipeline.runners.LocalRunner", UnchangedRunner)
    monkeypatch.setattr("pipeline.commands.run_result.collect_unchanged", lambda *_: collected)
    monkeypatch.setattr(sys, "argv", ["lungseg", "run"])
    root = tmp_path / "root"
    for path in (tmp_path / "data" / "span-1" / "records-0", root / "report" / "index.html"):
        path.parent.mkdir(parents=True)
        path.touch()
    with WebhookServer() as server:
        config = load_config("demo", {"notify.url": server.url}, data=tmp_path / "data", root=root)
        assert run(config) is True
    assert server.types == ["started", "unchanged"]
    shown = capfd.readouterr().out.splitlines()
    assert (
        "unchanged: data, settings and code are those of version 3, which serves; "
        f"it lies in {root}/serving/3; train all the same with --force"
    ) in shown
    assert (f"Report: {root}/report/index.html" in shown) is known
    assert (root / "report/index.html").exists(), "the last report stays"
    assert RunResult.read(root) == collected


def verdict_of(serving: Path, version: str) -> str:
    return _verdict(serving, result_of("blessed", version), [ComponentRun("Pusher", 0, True, {})], start=0)


@pytest.mark.parametrize(
    ("version", "end"),
    [("3", ": it lies in {serving}/3"), ("4", "; now version 3 serves, as `lungseg promote` or a later run has it")],
)
def test_a_run_from_the_cache_says_so(tmp_path: Path, version: str, end: str) -> None:
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "saved_model.pb").touch()
    unchanged = f"nothing has changed since this model was blessed and pushed as version {version}"
    assert verdict_of(tmp_path, version) == unchanged + end.format(serving=tmp_path)


def test_an_emptied_serving_folder_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^nothing has changed .* version 3, but '{tmp_path}' holds no model now: put"):
        verdict_of(tmp_path, "3")


def test_external_data_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "span-1").mkdir()
    (tmp_path / "span-1" / "records-0").touch()
    config = load_config("demo", {}, data=tmp_path, root=tmp_path, external={"north": tmp_path / "none"})
    with pytest.raises(UserError, match=f"^data folder '{tmp_path}/none' does not exist"):
        run(config)


def test_a_span_that_is_not_there(tmp_path: Path) -> None:
    for span in (1, 3):
        (tmp_path / f"span-{span}").mkdir()
        (tmp_path / f"span-{span}/records-0").touch()
    check_data(tmp_path, 3)
    with pytest.raises(UserError) as caught:
        check_data(tmp_path, 2)
    assert str(caught.value) == f"data folder '{tmp_path}' holds no span-2, but span-1, span-3: name another --span"
