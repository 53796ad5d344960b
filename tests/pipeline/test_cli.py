"""The command line: what it answers, with which exit code, and that it loads nothing slow to do so."""

import errno
import io
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from loaded_modules import SLOW_TO_IMPORT, run_and_list_modules
from rich.console import Console

from components.data_gate.errors import DataError
from pipeline import cli, console
from pipeline.cli_options import Orchestrator
from pipeline.commands import run
from pipeline.config import Config
from pipeline.errors import ComponentError, UserError

Lungseg = Callable[..., tuple[int, str, str]]

COMMANDS = ("demo", "phantoms", "ingest", "augment-preview", "run", "study", "predict", "promote", "history", "gc")


def as_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="left to TensorFlow elsewhere")
@pytest.mark.parametrize(("set_by_user", "expected"), [(None, "1"), ("0", "0")])
def test_tensorflow_computes_with_onednn_unless_told_otherwise(set_by_user: str | None, expected: str) -> None:
    name = "TF_ENABLE_ONEDNN_OPTS"
    environment = {key: value for key, value in os.environ.items() if key != name}
    told = environment | ({} if set_by_user is None else {name: set_by_user})
    code = f"import os, pipeline; print(os.environ['{name}'])"
    done = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, check=True)
    assert done.stdout == f"{expected}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images with masks in the layout `folder`."""
    random = np.random.default_rng(1)
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 5:15] = mask[10:30, 25:35] = 255
    for kind in ("images", "masks"):
        (tmp_path / "clinic" / kind).mkdir(parents=True)
        for name in "ab":
            pixels = mask if kind == "masks" else random.integers(0, 256, (40, 40), np.uint8)
            cv2.imwrite(str(tmp_path / "clinic" / kind / f"{name}.png"), pixels)
    return tmp_path / "clinic"


def test_help() -> None:
    done = as_process("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)
    assert "Exit codes: 0 done" in done.stdout
    assert done.stderr == ""


def test_help_loads_nothing_that_takes_time() -> None:
    output, modules = run_and_list_modules("--help")
    assert "Usage: lungseg" in output
    assert modules & (SLOW_TO_IMPORT | {"pydantic", "yaml"}) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(lungseg: Lungseg, command: str) -> None:
    code, output, errors = lungseg(command, "--help")
    assert (code, errors) == (0, "")
    assert f"lungseg {command}" in output


def test_without_a_command_help_is_shown(lungseg: Lungseg) -> None:
    code, output, errors = lungseg()
    assert code == 2
    assert "Usage: " in output + errors
    assert all(command in output + errors for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["ingest", "--layout", "maze", "--input", "x", "--output", "y"],
            "unknown layout 'maze': known are folder, montgomery, shenzhen, jsrt, csv, ct",
        ),
        (["ingest", "--layout", "folder", "--input", "nowhere", "--output", "y"], "nowhere does not exist"),
        (
            ["ingest", "--layout", "folder", "--input", "x", "--output", "y", "--labels", "1,lung"],
            "--labels 1,lung: 'lung' is no label: write whole numbers above 0, as in 10,11,12",
        ),
        (["phantoms", "--output", "x", "--count", "0"], "count is 0: choose 1 or more"),
        (
            ["run", "--config", "tpu"],
            "configuration 'tpu' is neither a file nor one of the presets best, cpu, demo, gpu",
        ),
        (["run"], "no data given: name a folder with `--data`"),
        (
            ["run", "--data", "nowhere"],
            "data folder '{cwd}/nowhere' does not exist: make it with `lungseg ingest --output {cwd}/nowhere`",
        ),
        (
            ["run", "--data", "."],
            "data folder '{cwd}' holds no span-N/records-*: make them with `lungseg ingest --output {cwd}`",
        ),
        (
            ["run", "--data", "x", "--set", "train.epoch=3"],
            "configuration: unknown key 'train.epoch'; the nearest known one is 'train.epochs'",
        ),
        (["run", "--data", "x", "--set", "epochs"], "--set epochs: must be KEY=VALUE, such as train.epochs=3"),
        (["run", "--data", "x", "--set", "=3"], "--set =3: must be KEY=VALUE, such as train.epochs=3"),
        (
            ["run", "--data", "x", "--set", "train.epochs=0"],
            "configuration: train.epochs: Input should be greater than or equal to 1, is 0",
        ),
        (
            ["run", "--data", "x", "--spans", "0"],
            "configuration: data.spans: Input should be greater than or equal to 1, is 0",
        ),
        (
            ["study", "--data", "x", "--span", "-1"],
            "configuration: data.span: Input should be greater than or equal to 0, is -1",
        ),
        (["run", "--data", "x", "--set", "root=y"], "--set root: give the folder with --root"),
        (["run", "--data", "x", "--set", "data.root=y"], "--set data.root: give the folder with --data"),
        (
            ["study", "--data", "x", "--external", "north"],
            "--external north: must be NAME=DIR, such as other-hospital=data-of-it",
        ),
        (["run", "--data", "x", "--external", "n=a", "--external", "n=b"], "--external: two sets have one name"),
        (["demo", "--root", "/proc/lungseg"], "root '/proc/lungseg' cannot be written: No such file or directory"),
        (["predict", "--model", "m", "--output", "o", "none.png"], "image 'none.png' does not exist"),
    ],
)
def test_wrong_input_is_one_line(lungseg: Lungseg, tmp_path: Path, arguments: list[str], message: str) -> None:
    assert lungseg(*arguments) == (2, "", f"lungseg: {message.format(cwd=tmp_path)}\n")
    assert list(tmp_path.iterdir()) == []


def test_the_last_of_two_values_for_a_key_holds(lungseg: Lungseg) -> None:
    _, _, errors = lungseg("run", "--data", "x", "--set", "train.epochs=0", "--set", "train.epochs=-1")
    assert errors.endswith("is -1\n")


@pytest.mark.parametrize(
    "arguments",
    [["flatten"], ["run", "--epochs", "3"], ["ingest"], ["predict"], ["ingest", "--span", "one"], ["predict", "a.png"]],
)
def test_wrong_usage(lungseg: Lungseg, arguments: list[str]) -> None:
    code, output, errors = lungseg(*arguments)
    assert (code, output) == (2, "")
    assert "Error" in errors
    assert "Traceback" not in errors


def test_as_a_process_of_its_own(tmp_path: Path) -> None:
    done = as_process("run", "--data", tmp_path, "--set", "beam.mode=multi_threading")
    expected = (
        "lungseg: configuration: beam.mode: Input should be 'in_memory' or 'multi_processing', is 'multi_threading'\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_a_root_that_is_a_file(lungseg: Lungseg, tmp_path: Path) -> None:
    (tmp_path / "span-1").mkdir()
    (tmp_path / "span-1" / "records-0").touch()
    (tmp_path / "file").touch()
    expected = f"lungseg: root '{tmp_path}/file' cannot be written: File exists\n"
    assert lungseg("run", "--data", tmp_path, "--root", "file") == (2, "", expected)


def test_no_model(lungseg: Lungseg, folder: Path, tmp_path: Path) -> None:
    code, output, errors = lungseg("predict", "--model", tmp_path, "--output", "out", folder / "images")
    expected = f"lungseg: '{tmp_path}' is no model: it holds neither a SavedModel nor numbered folders with one\n"
    assert (code, output, errors) == (2, "", expected)
    assert not (tmp_path / "out").exists()


def test_phantoms_ingest(lungseg: Lungseg, tmp_path: Path) -> None:
    code, output, errors = lungseg("phantoms", "--output", "set", "--count", "3", "--size", "64")
    assert (code, errors) == (0, "")
    assert output.splitlines()[-1] == "3 synthetic images with masks written to set"
    code, output, errors = lungseg("ingest", "--layout", "folder", "--input", "set", "--output", "data", "--size", "64")
    assert (code, errors) == (0, "")
    patients = len({line.split(",")[1] for line in (tmp_path / "set" / "metadata.csv").read_text().splitlines()[1:]})
    assert output.splitlines()[-1] == (
        f"3 files found: 3 records of {patients} patients written to data/span-1, 0 refused (listed there in "
        "rejected.csv)"
    )
    assert (tmp_path / "data" / "span-1" / "rejected.csv").is_file()


def test_ingest_tells_what_matches_nothing(lungseg: Lungseg, tmp_path: Path) -> None:
    lungseg("phantoms", "--output", "set", "--count", "2", "--size", "64")
    (tmp_path / "set" / "metadata.csv").write_text(
        "image,patient_id\nother,p1\n" + first_image(tmp_path / "set") + ",p2\n"
    )
    arguments = ("ingest", "--layout", "folder", "--input", "set", "--output", "data", "--size", "64")
    code, _, errors = lungseg(*arguments)
    assert code == 2
    assert "give --unnamed-patients own" in errors
    code, output, errors = lungseg(*arguments, "--unnamed-patients", "own")
    assert (code, errors) == (0, "")
    summary, images, rows = output.splitlines()[-3:]
    assert "2 records of 2 patients" in summary
    assert images.startswith("1 image without a row in metadata.csv, such as images/")
    assert rows == "1 row of metadata.csv without an image in images/, such as line 2 ('other')"


def first_image(folder: Path) -> str:
    return min(path.stem for path in (folder / "images").iterdir())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives every image back as its mask."""
    folder = tmp_path_factory.mktemp("model") / "exported"
    module = tf.Module()
    module.serve = tf.function(
        lambda image_bytes: {"mask_png": image_bytes, "lung_fraction": tf.zeros(tf.shape(image_bytes))},
        input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")],
    )
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder


def test_predict(lungseg: Lungseg, folder: Path, model: Path, tmp_path: Path) -> None:
    arguments = ("predict", "--model", model, "--output", "out", folder / "images")
    code, output, errors = lungseg(*arguments)
    assert code == 0
    assert output.splitlines()[-1] == "2 of 2 images segmented into out, 2 of them doubtful"
    untold, *doubts = errors.splitlines()
    assert untold == ("lungseg: the model does not tell how good its masks are: it was exported by an earlier version")
    doubted = [line.partition(" has a mask of ")[0] for line in doubts]
    assert doubted == [f"lungseg: {folder}/images/{name}.png" for name in "ab"]
    results = {"a_mask.png", "a_overlay.png", "b_mask.png", "b_overlay.png"}
    tables = {"measurements.csv", "predictions.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*results, *tables, ".receipts"}


def test_predict_tells_what_it_could_not_read(lungseg: Lungseg, folder: Path, model: Path) -> None:
    (folder / "images" / "a.png").write_bytes(b"")
    code, output, errors = lungseg("predict", "--model", model, "--output", "out", folder / "images")
    assert code == 2
    assert output.splitlines()[-1] == (
        "1 of 2 images segmented into out, 1 of them doubtful; 1 refused: 1 unreadable (see measurements.csv)"
    )
    assert errors.splitlines()[-1] == f"lungseg: {folder}/images/a.png is no readable PNG, JPEG or TIFF"


@pytest.mark.parametrize(("blessed", "code"), [(True, 0), (False, 3)])
def test_run_ends_with_the_decision(
    lungseg: Lungseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blessed: bool, code: int
) -> None:
    seen: list[tuple[Config, str, bool, bool]] = []

    def fake(config: Config, *, orchestrator: Orchestrator, force: bool, verbose: bool) -> bool:
        seen.append((config, orchestrator.value, force, verbose))
        return blessed

    monkeypatch.setattr(run, "run", fake)
    arguments = ("run", "--config", "demo", "--data", "d", "--root", "r", "-v", "--set", "train.epochs=2")
    external = ("--external", "north=n", "--external", "south=/s")
    others = ("--set", "augment.copies.train=3", "--orchestrator", "beam", "--force")
    assert lungseg(*arguments, *external, *others) == (code, "", "")
    ((config, orchestrator, force, verbose),) = seen
    assert orchestrator == "beam"
    assert config.data.external == {"north": tmp_path / "n", "south": Path("/s")}
    assert (force, verbose) == (True, True)
    assert (config.data.root, config.root) == (tmp_path / "d", tmp_path / "r")
    assert (config.train.epochs, config.augment.copies) == (2, {"train": 3})


@pytest.mark.parametrize("command", ["run", "study"])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], (None, 1)),
        (["--spans", "3"], (None, 3)),
        (["--span", "0", "--spans", "2"], (0, 2)),
        (["--set", "data.spans=4"], (None, 4)),
        (["--set", "data.spans=4", "--spans", "2"], (None, 2)),
    ],
)
def test_spans(
    lungseg: Lungseg,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    arguments: list[str],
    expected: tuple[int | None, int],
) -> None:
    seen: list[Config] = []

    def succeed(config: Config, **_: object) -> bool:
        seen.append(config)
        return True

    monkeypatch.setattr(f"pipeline.commands.{command}.{command}", succeed)
    assert lungseg(command, "--data", "d", *arguments) == (0, "", "")
    assert (seen[0].data.span, seen[0].data.spans) == expected


def failed(component_id: str, cause: Exception) -> ComponentError:
    error = ComponentError(component_id, cause)
    error.__cause__ = cause  # as `raise ... from` does it
    return error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (failed("DataGate", DataError("a leak: mend it")), 3, "lungseg: DataGate failed: a leak: mend it\n"),
        (UserError("no such thing"), 2, "lungseg: no such thing\n"),
        (failed("Trainer", ValueError("out of\nluck")), 1, "lungseg: Trainer failed: out of\n"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/private/serving"),
            2,
            "lungseg: '/private/serving' cannot be opened: Permission denied; "
            "get the right to it, or name another place\n",
        ),
    ],
)
def test_errors_of_a_run(
    lungseg: Lungseg, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, message: str
) -> None:
    def fail(*_: object, **__: object) -> bool:
        raise error

    monkeypatch.setattr(run, "run", fail)
    assert lungseg("run", "--config", "demo", "--data", "d") == (code, "", message)


def test_a_bug_is_not_hidden(lungseg: Lungseg, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(run, "run", fail)
    with pytest.raises(ZeroDivisionError):
        lungseg("run", "--config", "demo", "--data", "d")


def test_demo_makes_what_is_missing_and_keeps_what_is_there(
    lungseg: Lungseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "_DEMO_IMAGES", 2)
    monkeypatch.setattr(cli, "_DEMO_SIZE", 64)
    configs: list[Config] = []

    def succeed(config: Config, **_: object) -> bool:
        configs.append(config)
        return True

    monkeypatch.setattr(run, "run", succeed)
    assert lungseg("demo", "--root", "here")[0] == 0
    records = sorted((tmp_path / "here" / "data" / "span-1").glob("*.tfrecord"))
    made = [path.stat().st_mtime_ns for path in records]
    assert len(records) == 2
    code, output, errors = lungseg("demo", "--root", "here")
    assert (code, output, errors) == (0, "", "")
    assert [path.stat().st_mtime_ns for path in records] == made
    assert configs[0] == configs[1]
    assert (configs[0].root, configs[0].data.root) == (tmp_path / "here", tmp_path / "here" / "data")


def test_phantoms_to_where_nothing_can_be_written(lungseg: Lungseg) -> None:
    expected = "lungseg: cannot write to '/proc/lungseg/set': No such file or directory\n"
    assert lungseg("phantoms", "--output", "/proc/lungseg/set", "--count", "1") == (2, "", expected)


@pytest.mark.parametrize("name", ["set[a]", "set[/b]"])
def test_brackets_in_a_path(lungseg: Lungseg, name: str) -> None:
    code, output, _ = lungseg("phantoms", "--output", name, "--count", "1", "--size", "64")
    assert (code, output.splitlines()[-1]) == (0, f"1 synthetic images with masks written to {name}")


def test_a_console_that_is_shown_is_the_users(lungseg: Lungseg, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress goes to the console that `terminal` gives, not to what libraries print to."""
    screen = io.StringIO()
    monkeypatch.setattr(console, "_console", lambda _: Console(file=screen, width=100))
    code, output, errors = lungseg("phantoms", "--output", "set", "--count", "1", "--size", "64")
    assert (code, output, errors) == (0, "", "")
    assert "Drawing phantoms" in screen.getvalue()
