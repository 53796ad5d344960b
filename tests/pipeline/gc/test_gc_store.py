"""A clean-up of real stores: what is gone, what TFX's cache takes after it, and what is left where it is cut off."""

import datetime
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2
from small_runs import run, serve

from components.baseline_resolver.component import BaselineResolverSpec
from components.pusher import executor as pusher_executor
from components.pusher.component import PusherSpec
from pipeline.commands.history import read_history
from pipeline.errors import UserError
from pipeline.gc import lineage
from pipeline.gc.disk import delete
from pipeline.gc.lineage import Artifact, mark
from pipeline.gc.plan import Decision, Limits, plan
from pipeline.gc.read import read_picture
from pipeline.gc.remove import remove
from pipeline.root import METADATA_FILE, occupied
from pipeline.store import open_store

Lungseg = Callable[..., tuple[int, str, str]]
State = metadata_store_pb2.Artifact.State


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1, which 2 followed; between them one that was not blessed, one killed, one that failed."""
    root = tmp_path_factory.mktemp("recorded") / "root"
    root.mkdir()
    run(root, seed=1, version=1)
    run(root, seed=2)
    run(root, seed=3, problem="killed")
    run(root, seed=4, problem="the data are upside down", span=2)
    run(root, seed=5, version=2, span=3)
    return root


@pytest.fixture
def root(recorded: Path, tmp_path: Path) -> Path:
    """A copy, in another place than where the runs were."""
    return Path(shutil.copytree(recorded, tmp_path / "moved"))


@pytest.fixture
def in_place(recorded: Path, tmp_path: Path) -> Iterator[Path]:
    """The root itself, where the cache looks for what it knows; put back after the test."""
    shutil.copytree(recorded, tmp_path / "before")
    yield recorded
    shutil.rmtree(recorded)
    shutil.copytree(tmp_path / "before", recorded)


def decide(root: Path) -> list[Decision]:
    return plan(read_picture(root), Limits(keep=1), datetime.datetime.now().astimezone())


def clean(root: Path) -> None:
    remove(root, [decision.item for decision in decide(root) if not decision.keep], lambda _: None)


def folders(root: Path) -> list[str]:
    return sorted(path.relative_to(root / "artifacts").as_posix() for path in (root / "artifacts").glob("*/*/*"))


def states(root: Path) -> dict[str, str]:
    with open_store(root) as store:
        artifacts = store.get_artifacts()
    return {artifact.uri.rpartition("artifacts/")[2]: State.Name(artifact.state) for artifact in artifacts}


# Executions: 1-6 version 1; 7-12 not blessed (7, 8 cached); 13-15 killed (the same); 16-18 failed; 19-24 version 2.
REFUSED = {
    "Trainer/model/9",
    "Trainer/model_run/9",
    "Evaluator/blessing/10",
    "Pusher/pushed_model/11",
    "Reporter/report/12",
}
FAILED = {"ExampleGen/examples/16", "BaselineResolver/model/17"}
LEFT = {"Trainer/model/15", "Trainer/model_run/15"}


def test_what_goes_is_deleted_and_marked_so(root: Path) -> None:
    before, states_before = folders(root), states(root)
    assert set(before) >= REFUSED | FAILED | LEFT
    clean(root)
    gone = REFUSED | FAILED
    assert set(states(root).values()) == {"LIVE", "DELETED"}
    assert {uri for uri, state in states(root).items() if state == "DELETED"} == gone
    assert states(root).keys() == states_before.keys(), "the lineage itself stays whole"
    there = {uri for uri, state in states(root).items() if state == "LIVE"}
    assert there == set(folders(root))
    assert not list((root / "artifacts").glob("*/.system"))
    assert all((root / "artifacts" / uri / "part/content").is_file() for uri in there)


def test_a_second_clean_up_finds_nothing(root: Path) -> None:
    clean(root)
    assert all(decision.keep for decision in decide(root))


def test_history_still_tells_of_what_is_gone(root: Path) -> None:
    before = [(each.started, each.status, each.version) for each in read_history(root)]
    clean(root)
    assert [(each.started, each.status, each.version) for each in read_history(root)] == before


def test_the_cache_gives_what_is_there_and_not_what_is_gone(in_place: Path) -> None:
    clean(in_place)
    assert run(in_place, seed=5, version=2, span=3) == dict.fromkeys(
        ("ExampleGen", "BaselineResolver", "Trainer", "Evaluator", "Pusher", "Reporter"), True
    )
    cached = run(in_place, seed=2)
    assert cached == {
        "ExampleGen": True,
        "BaselineResolver": True,
        "Trainer": False,
        "Evaluator": False,
        "Pusher": False,
        "Reporter": False,
    }
    assert run(in_place, seed=2)["Trainer"], "made anew, it is in the cache again"


@pytest.mark.parametrize("state", [Artifact.MARKED_FOR_DELETION, Artifact.DELETED])
def test_the_cache_never_gives_what_is_marked(in_place: Path, state: Any) -> None:
    """Though its files are all there."""
    with open_store(in_place, writes=True) as store:
        (model,) = [artifact for artifact in store.get_artifacts() if artifact.uri.endswith("Trainer/model/21")]
        mark(store, [model.id], state)
    assert not run(in_place, seed=5, version=2, span=3)["Trainer"]


def test_killed_at_any_step_the_next_one_ends_it(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path(shutil.copytree(root, tmp_path / "whole"))
    clean(whole)
    step = 0
    while True:
        killed = Path(shutil.copytree(root, tmp_path / f"killed{step}"))
        with monkeypatch.context() as patch:
            dies_at(step, patch)
            try:
                clean(killed)
            except Killed:
                pass
            else:
                break
        assert_nothing_half_is_live(killed)
        clean(killed)
        assert (folders(killed), states(killed)) == (folders(whole), states(whole)), step
        step += 1
    assert step > 3 * len(REFUSED)


def dies_at(step: int, patch: pytest.MonkeyPatch) -> None:
    """Kill before the given one of all marks and deletions; one of a folder is killed half way."""
    left = iter(range(step, -1, -1))

    def dying_mark(*arguments: Any) -> None:
        if not next(left):
            raise Killed
        mark(*arguments)

    def dying_delete(path: Path) -> None:
        if not next(left):
            for file in path.glob("*/*"):
                delete(file)
            raise Killed
        delete(path)

    patch.setattr("pipeline.gc.remove.mark", dying_mark)
    patch.setattr("pipeline.gc.remove.delete", dying_delete)


def assert_nothing_half_is_live(root: Path) -> None:
    for uri, state in states(root).items():
        assert state != "LIVE" or (root / "artifacts" / uri / "part/content").is_file(), uri


def test_an_earlier_version_that_is_put_back_has_its_judgement(root: Path) -> None:
    run(root, seed=6, version=3, span=3)
    clean(root)
    assert {"Pusher/pushed_model/5", "Trainer/model/3", "Evaluator/blessing/4", "Reporter/report/6"} <= set(
        folders(root)
    )
    assert "ExampleGen/examples/1" not in folders(root), "which neither version 3 nor version 2 is made of"
    serve(root, 1)
    clean(root)
    assert {"Pusher/pushed_model/5", "Trainer/model/3", "ExampleGen/examples/19"} <= set(folders(root))


def test_what_is_not_ours_stays(root: Path) -> None:
    """Nothing goes but what a run, a push or a training calls so."""
    theirs = [
        "artifacts/Trainer/notes/mine.txt",
        "artifacts/Trainer/model/best/weights",
        "checkpoints/mine/checkpoint.npz",
        f"checkpoints/{'a' * 16}/notes.txt",
        "serving/readme.txt",
        ".env",
        "data/span-1/records-0",
    ]
    for name in theirs:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    clean(root)
    assert [name for name in theirs if not (root / name).exists()] == []


def test_nothing_outside_the_root_goes(root: Path, tmp_path: Path) -> None:
    """Though the store names it, or a link leads there."""
    outside = tmp_path / "outside/9"
    outside.mkdir(parents=True)
    (outside / "file").touch()
    with open_store(root, writes=True) as store:
        artifacts = store.get_artifacts()
        for artifact, uri in zip(artifacts, [f"{root}/artifacts/../../outside/9", "", "9", "/"], strict=False):
            artifact.uri = uri
        store.put_artifacts(artifacts)
    link = root / "artifacts/Trainer/model/99"
    link.symlink_to(outside)
    clean(root)
    assert (outside / "file").exists()
    assert not link.is_symlink()
    assert (root / METADATA_FILE).exists()


def test_a_file_that_cannot_be_deleted(root: Path, lungseg: Lungseg, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = str(root / "artifacts/Reporter/report/12/part/content")

    def refuse(_: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", busy)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        code, _, errors = lungseg("gc", "--root", root, "--keep", 1)
    assert code == 2
    assert errors.startswith("lungseg: '")
    assert errors.endswith("cannot be deleted: Device or resource busy; mend it, and `lungseg gc` goes on\n")
    assert errors.count("\n") == 1
    clean(root)
    assert set(states(root).values()) == {"LIVE", "DELETED"}


def test_a_checkpoint_and_half_written_files(root: Path) -> None:
    old = [f"checkpoints/{'0' * 16}/checkpoint.npz", f".result.json.{'0' * 32}", f"serving/.partial-{'1' * 32}/model"]
    for name in old:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
        for path in (root / name, (root / name).parent):
            if path != root:
                os.utime(path, (1e9, 1e9))
    young = root / f"checkpoints/{'1' * 16}/checkpoint.npz"
    young.parent.mkdir()
    young.touch()
    pushing = root / f"serving/.partial-{'2' * 32}"
    pushing.mkdir()
    clean(root)
    assert [name for name in old if (root / name).exists()] == []
    assert young.exists(), "the last run wrote it"
    assert pushing.exists(), "which may be at work"


def test_names_are_those_of_what_wrote_them() -> None:
    (pushed,), (baseline,) = PusherSpec.OUTPUTS, BaselineResolverSpec.OUTPUTS
    assert (pushed, pusher_executor.PUSHED_VERSION) == lineage._PUSHED
    assert (baseline, "version") == lineage._BASELINE


def test_a_run_that_is_under_way(root: Path, lungseg: Lungseg) -> None:
    before = folders(root)
    expected = (
        f"a run, a study or `lungseg gc` is under way under '{root}': "
        "start again when it has ended, or name another --root"
    )
    with occupied(root):
        assert lungseg("gc", "--root", root) == (2, "", f"lungseg: {expected}\n")
        with pytest.raises(UserError) as caught:
            occupied(root).__enter__()
    assert str(caught.value) == expected
    assert folders(root) == before


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib; from pipeline.root import occupied\n"
        "with occupied(pathlib.Path(sys.argv[1])): print(flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    with pytest.raises(UserError), occupied(tmp_path):
        pass
    process.kill()
    process.wait()
    with occupied(tmp_path):
        pass


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs do without them; what removes files does not."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with occupied(tmp_path):
        pass
    with pytest.raises(UserError, match="cannot be locked against runs: No locks available; "):
        occupied(tmp_path, certainly=True).__enter__()
