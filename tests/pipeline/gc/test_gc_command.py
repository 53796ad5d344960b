"""What `lungseg gc` says, and what it refuses in one line."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from small_runs import run

import pipeline.kubeflow
from pipeline.commands.gc import read_limits
from pipeline.errors import UserError
from pipeline.gc.plan import Limits

Lungseg = Callable[..., tuple[int, str, str]]

GB = 10**9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--keep", 0), "--keep 0: must be 1 or more, since the last run is what the next one begins with"),
        (("--keep", -3), "--keep -3: must be 1 or more, since the last run is what the next one begins with"),
        (("--older-than", -1), "--older-than -1: must be a number of days, 0 or more"),
        (("--older-than", "nan"), "--older-than nan: must be a number of days, 0 or more"),
        (("--older-than", 1e300), "--older-than 1e+300: must be a number of days, 0 or more"),
        (("--max-size", "many"), "--max-size 'many': must be a size, such as 20GB or 500MiB"),
        (("--max-size", "-5GB"), "--max-size '-5GB': must be a size, such as 20GB or 500MiB"),
        (("--root", "nowhere"), "'nowhere' does not exist: name the root of runs with --root"),
        (("--root", "s3://bucket/root"), "root 's3://bucket/root' must be a folder that this machine and all workers "
         "see: mount the bucket, or copy it"),
        (("--root", "."), "'.' is no root of runs: it holds no metadata.sqlite, no checkpoints/ and no serving/; name "
         "one with --root"),
    ],
)  # fmt: skip
def test_refused_in_one_line(lungseg: Lungseg, options: tuple[object, ...], message: str) -> None:
    assert lungseg("gc", *options) == (2, "", f"lungseg: {message}\n")
    assert list(Path().iterdir()) == []


def test_artifacts_without_a_store(lungseg: Lungseg, tmp_path: Path) -> None:
    made = tmp_path / "artifacts/Trainer/model/7"
    made.mkdir(parents=True)
    assert lungseg("gc", "--root", tmp_path) == (
        2,
        "",
        f"lungseg: '{tmp_path}' has artifacts/ but no metadata.sqlite, which tells what is needed: put it back, or "
        "remove by hand what can go\n",
    )
    assert made.exists()


def test_a_damaged_pointer(lungseg: Lungseg, tmp_path: Path) -> None:
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving/current.json").write_text("{")
    code, output, errors = lungseg("gc", "--root", tmp_path)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert "current.json' is damaged: write it anew with `lungseg promote" in errors


@pytest.mark.parametrize(
    ("text", "size"), [("20GB", 20 * GB), ("20 gb", 20 * GB), ("1.5GiB", 3 * 2**29), ("500MB", GB // 2), ("0", 0)]
)
def test_sizes(text: str, size: int) -> None:
    assert read_limits(3, None, text) == Limits(3, None, size)


def test_limits_are_checked_before_the_root() -> None:
    with pytest.raises(UserError, match="--keep 0"):
        read_limits(0, -1, "many")


def test_what_is_said(lungseg: Lungseg, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    run(root, seed=1, version=1)
    run(root, seed=2)
    run(root, seed=3, version=2)
    (root / "artifacts/Trainer/model/99").mkdir()

    listed = json.loads(lungseg("gc", "--root", root, "--keep", 1, "--dry-run", "--json")[1])
    goes = {item["name"]: item["reason"] for item in listed if not item["keep"]}
    assert {name for name in goes if name[0] in "TEPR"} == {"Trainer 9", "Evaluator 10", "Pusher 11", "Reporter 12"}
    assert goes["artifacts/Trainer/model/99"] == "left by a step that was killed"
    assert sum(item["bytes"] for item in listed if item["name"] == "Trainer 9") >= 2000
    assert (root / "artifacts/Trainer/model/9").exists()

    code, output, errors = lungseg("gc", "--root", root, "--keep", 1, "--dry-run")
    assert (code, errors) == (0, "")
    rows = [line.strip("│ ").split("│") for line in output.splitlines() if line.startswith("│")]
    said = {why.strip(): (word.strip(), int(items)) for word, items, _, why in rows}
    assert said["version 2 serves"] == ("stays", 6)
    (refused,) = (words for why, words in said.items() if "not blessed, and of no later one" in why)
    assert refused == ("goes", 4)
    assert "would go" in output.splitlines()[-1]

    before = output.splitlines()[-1]
    output = lungseg("gc", "--root", root, "--keep", 1)[1]
    assert output.splitlines()[-1] == before.replace("would go", "removed")
    assert not (root / "artifacts/Trainer/model/9").exists()
    assert "0 bytes removed" in lungseg("gc", "--root", root, "--keep", 1)[1]
    assert "more than 1.0 kB: models need them" in lungseg("gc", "--root", root, "--max-size", "1kB")[1]


def test_the_volume_of_a_cluster(lungseg: Lungseg, tmp_path: Path) -> None:
    """As the manifest has it: no store and no run is known there, and steps that are at work hold no lock."""
    manifest = Path(pipeline.kubeflow.__file__).parent / "manifests/cleanup.yaml"
    (container,) = yaml.safe_load(manifest.read_text())["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    program, command, *options = container["command"]
    assert (program, command) == ("lungseg", "gc")
    old, young = (tmp_path / "checkpoints" / (digit * 16) for digit in "12")
    data = tmp_path / "data/span-1/records-0"
    told, under_way = tmp_path / "notes/1/ended", tmp_path / "notes/2/Trainer/note.json"
    left = (old / "checkpoint.npz", young / "checkpoint.npz", data, tmp_path / "serving/1/saved_model.pb")
    for path in (*left, told, under_way):
        path.parent.mkdir(parents=True)
        path.touch()
        if path != young / "checkpoint.npz":
            for each in (path, path.parent):
                os.utime(each, (1e9, 1e9))
    code, output, errors = lungseg("gc", *(option.replace("/lungseg", str(tmp_path)) for option in options))
    assert (code, errors) == (0, ""), output
    assert not old.exists()
    assert (young / "checkpoint.npz").exists()
    assert not told.parent.exists()
    assert under_way.exists(), "a webhook is yet to be told of it"
    assert data.exists()
    assert (tmp_path / "serving/1/saved_model.pb").exists()
    assert not (tmp_path / ".lock").exists()
