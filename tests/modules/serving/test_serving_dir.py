"""The serving folder: which version is current, how models come into it, and how an earlier one comes back."""

import os
import re
import shutil
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf
from constant_model import Constant

from modules.serving import serving_dir
from modules.serving.content import digest
from modules.serving.saved_model import STATISTICS_FILE, files_digest
from modules.serving.serving_dir import (
    baseline_key,
    current_origin,
    current_version,
    is_model,
    promote,
    push,
    standings,
)
from schema.reports.serving import Origin, ServingPointer

FILES = ["fingerprint.pb", "saved_model.pb", "variables/variables.data-00000-of-00001", "variables/variables.index"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five models that differ in a weight, told apart by what they give: 0.0, 1.0 ... 4.0."""
    folder = tmp_path_factory.mktemp("models")
    for value in range(5):
        tf.saved_model.save(Constant(value), str(folder / str(value)))
    return [folder / str(value) for value in range(5)]


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    """A serving folder that is not there yet."""
    return tmp_path / "serving"


def content(serving: Path) -> list[str]:
    return sorted(path.name for path in serving.iterdir())


def pointer(serving: Path) -> ServingPointer:
    return ServingPointer.read(serving)


def answer(serving: Path, version: int | str) -> float:
    return float(tf.saved_model.load(f"{serving}/{version}")())


def stub(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "saved_model.pb").write_bytes(b"")


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["9", "10"], 10),
        (["1", "1700000000", "99"], 1700000000),
        (["3", "latest", "4.bak", "-5", ".6", "7 ", "007"], 3),
        (["1", "withdrawn/2", ".partial-3"], 1),
        (["latest"], None),
        ([], None),
    ],
    ids=str,
)
def test_without_a_pointer_the_highest_number_is_current(tmp_path: Path, names: list[str], newest: int | None) -> None:
    stub(tmp_path, *names)
    assert current_version(tmp_path) == newest


def test_the_pointer_tells_which_is_current(tmp_path: Path) -> None:
    stub(tmp_path, "1", "2", "3")
    ServingPointer(version=2, digest="x", files={2: files_digest(tmp_path / "2")}).write(tmp_path)
    assert current_version(tmp_path) == 2


def test_a_folder_without_a_model_is_no_version(tmp_path: Path) -> None:
    stub(tmp_path, "2")
    (tmp_path / "3" / "variables").mkdir(parents=True)
    assert current_version(tmp_path) == 2
    assert is_model(tmp_path / "2")
    assert not is_model(tmp_path / "3")


def test_a_file_is_no_version(tmp_path: Path) -> None:
    (tmp_path / "7").write_bytes(b"")
    assert current_version(tmp_path) is None


def test_a_missing_folder_holds_none(tmp_path: Path) -> None:
    assert current_version(tmp_path / "missing") is None
    assert not is_model(tmp_path / "missing")


def test_a_file_in_place_of_the_folder_holds_none(tmp_path: Path) -> None:
    (tmp_path / "serving").write_bytes(b"")
    assert current_version(tmp_path / "serving") is None


def test_a_pointer_to_no_model(tmp_path: Path) -> None:
    stub(tmp_path, "1")
    (tmp_path / "current.json").write_text('{"version": 7, "digest": "x"}')
    expected = (
        f"'{tmp_path}/current.json' names version 7, which is no model there: "
        "put one back with `lungseg promote --to VERSION`"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        current_version(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": "one", "digest": "x"}'])
def test_a_damaged_pointer(tmp_path: Path, text: str) -> None:
    stub(tmp_path, "1")
    (tmp_path / "current.json").write_text(text)
    expected = f"'{tmp_path}/current.json' is damaged: write it anew with `lungseg promote --to VERSION`"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        current_version(tmp_path)


def test_pushes_are_numbered_from_one(serving: Path, models: list[Path]) -> None:
    assert [push(model, serving) for model in models[:3]] == [1, 2, 3]
    assert content(serving) == ["1", "2", "3", "current.json"]
    assert [answer(serving, version) for version in (1, 2, 3)] == [0, 1, 2]
    assert current_version(serving) == 3
    files = {version: files_digest(serving / str(version)) for version in (1, 2, 3)}
    assert pointer(serving) == ServingPointer(version=3, digest=digest(models[2]), files=files)


def test_a_pushed_model_is_the_whole_model(tmp_path: Path, models: list[Path]) -> None:
    push(models[0], tmp_path / "serving")
    pushed = tmp_path / "serving" / "1"
    assert sorted(str(path.relative_to(pushed)) for path in pushed.rglob("*") if path.is_file()) == FILES
    for name in FILES:
        assert (pushed / name).read_bytes() == Path(models[0], name).read_bytes()


def test_a_model_equal_to_the_current_one_is_not_pushed_again(
    serving: Path, models: list[Path], tmp_path: Path
) -> None:
    push(models[0], serving)
    push(models[1], serving)
    tf.saved_model.save(Constant(1), str(tmp_path / "again"))
    assert push(tmp_path / "again", serving) == 2
    assert content(serving) == ["1", "2", "current.json"]
    assert push(models[0], serving) == 3, "equal to an older one, which is not the current one"


def test_a_candidate_has_to_stand_comparison_with_the_current_model(serving: Path, models: list[Path]) -> None:
    assert baseline_key("a", serving) == "none"
    push(models[0], serving, "a", "none")
    first = baseline_key("b", serving)
    assert first.startswith("1:")
    push(models[1], serving, "b", first)
    assert baseline_key("a", serving).startswith("2:"), "another has come since, so nothing from the cache will do"
    assert baseline_key("b", serving) == first, "not with itself"


def test_a_candidate_that_was_withdrawn_has_to_stand_comparison_anew(serving: Path, models: list[Path]) -> None:
    push(models[0], serving, "a", "none")
    first = baseline_key("b", serving)
    push(models[1], serving, "b", first)
    push(models[2], serving, "c", baseline_key("c", serving))
    promote(serving, 1)
    assert [baseline_key(candidate, serving) for candidate in "abc"] == [first] * 3


def test_an_equal_model_of_another_candidate_changes_no_pointer(serving: Path, models: list[Path]) -> None:
    push(models[0], serving, "a", "none")
    before = pointer(serving)
    assert push(models[0], serving, "b", baseline_key("b", serving)) == 1
    assert pointer(serving) == before
    assert baseline_key("b", serving).startswith("1:"), "what it was judged against is still what counts"


def test_the_pointer_tells_what_the_model_was_made_of(serving: Path, models: list[Path]) -> None:
    origin, later = Origin(data="d1", settings="s", code="c"), Origin(data="d2", settings="s", code="c")
    assert current_origin(serving) is None
    push(models[1], serving, "candidate", "none", origin=origin)
    assert current_origin(serving) == origin
    push(models[1], serving, "another", "none", origin=later)
    assert current_origin(serving) == later, "or each run would train once more what is equal in the end"
    assert pointer(serving).candidate_key == "candidate"
    push(models[2], serving, origin=origin)
    promote(serving, 1)
    assert current_origin(serving) is None, "it was put back by hand"


def test_equal_to_one_that_something_else_pushed(tmp_path: Path, models: list[Path]) -> None:
    tf.saved_model.save(Constant(0), str(tmp_path / "1700000000"))
    assert push(models[0], tmp_path) == 1700000000
    assert pointer(tmp_path).digest == digest(models[0])
    assert push(models[1], tmp_path) == 1700000001


def test_a_push_that_was_killed_before_the_pointer_is_ended_by_the_next(serving: Path, models: list[Path]) -> None:
    push(models[0], serving)
    before = pointer(serving)
    push(models[1], serving)
    before.write(serving)
    assert push(models[1], serving) == 2
    assert current_version(serving) == 2


@pytest.mark.parametrize("taken", ["5", "withdrawn/5"])
def test_no_number_is_used_twice(tmp_path: Path, models: list[Path], taken: str) -> None:
    (tmp_path / taken).mkdir(parents=True)  # not even that of a folder that is no model
    assert push(models[0], tmp_path) == 6


def test_the_number_of_a_version_that_was_deleted_is_not_used_again(tmp_path: Path, models: list[Path]) -> None:
    push(models[0], tmp_path)
    shutil.rmtree(tmp_path / "1")
    assert push(models[0], tmp_path) == 2


def test_a_push_that_fails_leaves_nothing(tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    push(models[0], tmp_path)
    copy = shutil.copy2

    def fail(source: str, target: str, **options: bool) -> str:
        if source.endswith("saved_model.pb"):
            raise OSError("disk full")
        return str(copy(source, target, **options))

    failing = SimpleNamespace(copytree=partial(shutil.copytree, copy_function=fail), rmtree=shutil.rmtree)
    monkeypatch.setattr(serving_dir, "shutil", failing)
    with pytest.raises(OSError, match="disk full"):
        push(models[1], tmp_path)
    assert content(tmp_path) == ["1", "current.json"]
    assert current_version(tmp_path) == 1


def test_statistics_lie_beside_the_model_and_are_no_part_of_it(tmp_path: Path, models: list[Path]) -> None:
    push(models[0], tmp_path, statistics=b"statistics")
    assert (tmp_path / "1" / STATISTICS_FILE).read_bytes() == b"statistics"
    assert digest(tmp_path / "1") == digest(models[0])


def test_what_killed_pushes_left_is_removed_and_what_may_be_at_work_is_not(tmp_path: Path, models: list[Path]) -> None:
    for name, minutes in (("old", 61), ("young", 59)):
        (tmp_path / f".partial-{name}" / "variables").mkdir(parents=True)
        then = time.time() - 60 * minutes
        os.utime(tmp_path / f".partial-{name}", (then, then))
    push(models[0], tmp_path)
    assert content(tmp_path) == [".partial-young", "1", "current.json"]


def test_a_push_at_work_is_no_leftover_however_old_the_model(
    tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    then = time.time() - 2 * 3600
    os.utime(models[0], (then, then))
    rename, found = serving_dir._rename_to_next, []

    def look(partial: Path, folder: Path) -> int:
        found.extend(serving_dir.leftovers(folder))
        return rename(partial, folder)

    monkeypatch.setattr(serving_dir, "_rename_to_next", look)
    assert push(models[0], tmp_path)
    assert found == []


def test_a_push_that_another_one_overtakes_takes_the_number_after(
    tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def overtaken(source: Path, target: Path) -> Path:
        if target.name == "1":
            stub(tmp_path, "1")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", overtaken)
    assert push(models[3], tmp_path) == 2
    assert answer(tmp_path, 2) == 3
    assert content(tmp_path) == ["1", "2", "current.json"]


def test_nothing_to_push(tmp_path: Path) -> None:
    expected = f"'{tmp_path}' is no model to push: it holds no saved_model.pb"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        push(tmp_path, tmp_path / "serving")
    assert not (tmp_path / "serving").exists()


@pytest.fixture
def four(serving: Path, models: list[Path]) -> Path:
    """A serving folder with versions 1 to 4, which give 0 to 3."""
    for model in models[:4]:
        push(model, serving)
    return serving


def test_an_earlier_version_comes_back(four: Path, models: list[Path]) -> None:
    assert promote(four, 2) == [3, 4]
    assert content(four) == ["1", "2", "current.json", "withdrawn"]
    assert content(four / "withdrawn") == ["3", "4"]
    assert current_version(four) == 2
    files = {version: files_digest(models[version - 1]) for version in (1, 2, 3, 4)}
    assert pointer(four) == ServingPointer(version=2, digest=digest(models[1]), files=files)
    assert answer(four, 2) == 1
    assert answer(four, "withdrawn/4") == 3


def test_a_withdrawn_version_comes_back(four: Path) -> None:
    promote(four, 1)
    assert promote(four, 3) == [2, 4]
    assert content(four) == ["1", "3", "current.json", "withdrawn"]
    assert (current_version(four), answer(four, 3)) == (3, 2)


def test_to_the_current_one_changes_nothing(four: Path) -> None:
    assert promote(four, 4) == []
    assert current_version(four) == 4


def test_the_standing_of_each_version(four: Path, tmp_path: Path) -> None:
    assert standings(four) == {1: "earlier", 2: "earlier", 3: "earlier", 4: "serves"}
    promote(four, 2)
    assert standings(four) == {1: "earlier", 2: "serves", 3: "withdrawn", 4: "withdrawn"}
    # As a promotion leaves it that was killed before it moved the higher one.
    (four / "withdrawn/4").rename(four / "4")
    assert standings(four)[4] == "withdrawn"
    assert standings(tmp_path / "none") == {}


def test_twice_is_as_once(four: Path) -> None:
    assert promote(four, 2) == promote(four, 2) == [3, 4]


def test_pushes_go_on_above_the_withdrawn(four: Path, models: list[Path]) -> None:
    promote(four, 2)
    assert push(models[1], four) == 2, "equal to the current one"
    assert push(models[3], four) == 5, "equal to a withdrawn one, but blessed anew"
    assert current_version(four) == 5


@pytest.mark.parametrize("broken_at", range(5))
def test_a_crash_at_any_step_leaves_a_current_model_and_is_mended(
    four: Path, monkeypatch: pytest.MonkeyPatch, broken_at: int
) -> None:
    """The steps: the withdrawn version moves back, the pointer is written, three others move."""
    (four / "withdrawn").mkdir()
    (four / "1").rename(four / "withdrawn" / "1")
    steps = 0

    def count(owner: type, name: str) -> None:
        real = getattr(owner, name)

        def step(*arguments: object) -> object:
            nonlocal steps
            if steps == broken_at:
                raise KeyboardInterrupt
            steps += 1
            return real(*arguments)

        monkeypatch.setattr(owner, name, step)

    count(Path, "rename")
    count(ServingPointer, "write")
    with pytest.raises(KeyboardInterrupt):
        promote(four, 1)
    assert current_version(four) == (4 if broken_at < 2 else 1)
    monkeypatch.undo()
    assert promote(four, 1) == [2, 3, 4]
    assert content(four) == ["1", "current.json", "withdrawn"]
    assert (current_version(four), answer(four, 1)) == (1, 0)


def test_a_broken_pointer_is_mended(four: Path) -> None:
    (four / "current.json").write_text("{")
    assert promote(four, 4) == []
    assert current_version(four) == 4


def test_what_is_no_model_is_withdrawn_as_well(four: Path) -> None:
    """A server would try to serve it."""
    (four / "9").mkdir()
    (four / "9" / "note").write_text("x")
    assert promote(four, 3) == [4, 9]


def test_an_unknown_version(four: Path) -> None:
    promote(four, 2)
    expected = f"there is no version 7 in '{four}': it holds 1, 2, 3 (withdrawn), 4 (withdrawn)"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        promote(four, 7)
    assert current_version(four) == 2


def test_an_unknown_version_of_nothing(tmp_path: Path) -> None:
    expected = f"there is no version 1 in '{tmp_path}': it holds no models"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        promote(tmp_path, 1)


def test_a_damaged_version_is_not_put_back(tmp_path: Path, models: list[Path]) -> None:
    shutil.copytree(models[0], tmp_path / "1")
    push(models[1], tmp_path)
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"damaged")
    expected = f"the model in '{tmp_path}/1' cannot be read: saved_model.pb is damaged"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        promote(tmp_path, 1)
    assert current_version(tmp_path) == 2
    assert content(tmp_path) == ["1", "2", "current.json"]
