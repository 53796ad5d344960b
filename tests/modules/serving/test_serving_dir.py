"""The serving folder: which version is current, how models come into it, and how an earlier one comes back."""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow as tf

from modules.serving import serving_dir
from modules.serving.saved_model import digest
from modules.serving.serving_dir import current_version, is_model, promote, push, rival_of

FILES = ["fingerprint.pb", "saved_model.pb", "variables/variables.data-00000-of-00001", "variables/variables.index"]


class Constant(tf.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = tf.Variable(value)

    @tf.function(input_signature=[])
    def __call__(self) -> tf.Tensor:
        return self.value


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Five models that differ in a weight, told apart by what they give: 0.0, 1.0 ... 4.0."""
    folder = tmp_path_factory.mktemp("models")
    for value in range(5):
        tf.saved_model.save(Constant(value), str(folder / str(value)))
    return [str(folder / str(value)) for value in range(5)]


@pytest.fixture(params=["local", "store"])
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A serving folder on disk, and one where folders cannot be renamed, as on object stores."""
    if request.param == "local":
        yield str(tmp_path / "serving")
    else:
        yield "ram://serving"
        if tf.io.gfile.exists("ram://serving"):
            tf.io.gfile.rmtree("ram://serving")


def content(serving: str) -> list[str]:
    return sorted(name for name in tf.io.gfile.listdir(serving))


def pointer(serving: str) -> dict[str, object]:
    with tf.io.gfile.GFile(f"{serving}/current.json") as file:
        return dict(json.loads(file.read()))


def answer(serving: str, version: int | str) -> float:
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
    assert current_version(str(tmp_path)) == newest


def test_the_pointer_tells_which_is_current(tmp_path: Path) -> None:
    stub(tmp_path, "1", "2", "3")
    (tmp_path / "current.json").write_text('{"version": 2, "digest": "x"}')
    assert current_version(str(tmp_path)) == 2


def test_a_folder_without_a_model_is_no_version(tmp_path: Path) -> None:
    stub(tmp_path, "2")
    (tmp_path / "3" / "variables").mkdir(parents=True)
    assert current_version(str(tmp_path)) == 2
    assert is_model(str(tmp_path / "2"))
    assert not is_model(str(tmp_path / "3"))


def test_a_file_is_no_version(tmp_path: Path) -> None:
    (tmp_path / "7").write_bytes(b"")
    assert current_version(str(tmp_path)) is None


def test_a_missing_folder_holds_none(tmp_path: Path) -> None:
    assert current_version(str(tmp_path / "missing")) is None
    assert not is_model(str(tmp_path / "missing"))


def test_a_file_in_place_of_the_folder_holds_none(tmp_path: Path) -> None:
    (tmp_path / "serving").write_bytes(b"")
    assert current_version(str(tmp_path / "serving")) is None


def test_a_pointer_to_no_model(tmp_path: Path) -> None:
    stub(tmp_path, "1")
    (tmp_path / "current.json").write_text('{"version": 7, "digest": "x"}')
    expected = (
        f"'{tmp_path}/current.json' names version 7, which is no model there: "
        "put one back with `lungseg promote --to VERSION`"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        current_version(str(tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": "one", "digest": "x"}'])
def test_a_damaged_pointer(tmp_path: Path, text: str) -> None:
    stub(tmp_path, "1")
    (tmp_path / "current.json").write_text(text)
    expected = f"'{tmp_path}/current.json' is damaged: write it anew with `lungseg promote --to VERSION`"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        current_version(str(tmp_path))


def test_pushes_are_numbered_from_one(serving: str, models: list[str]) -> None:
    assert [push(model, serving) for model in models[:3]] == [1, 2, 3]
    assert content(serving) == ["1", "2", "3", "current.json"]
    assert [answer(serving, version) for version in (1, 2, 3)] == [0, 1, 2]
    assert current_version(serving) == 3
    assert pointer(serving) == {"version": 3, "digest": digest(models[2]), "candidate": "", "rival": ""}


def test_a_pushed_model_is_the_whole_model(tmp_path: Path, models: list[str]) -> None:
    push(models[0], str(tmp_path / "serving"))
    pushed = tmp_path / "serving" / "1"
    assert sorted(str(path.relative_to(pushed)) for path in pushed.rglob("*") if path.is_file()) == FILES
    for name in FILES:
        assert (pushed / name).read_bytes() == Path(models[0], name).read_bytes()


def test_a_model_equal_to_the_current_one_is_not_pushed_again(serving: str, models: list[str], tmp_path: Path) -> None:
    push(models[0], serving)
    push(models[1], serving)
    tf.saved_model.save(Constant(1), str(tmp_path / "again"))
    assert push(str(tmp_path / "again"), serving) == 2
    assert content(serving) == ["1", "2", "current.json"]
    assert push(models[0], serving) == 3, "equal to an older one, which is not the current one"


def test_a_candidate_has_to_stand_comparison_with_the_current_model(serving: str, models: list[str]) -> None:
    assert rival_of("a", serving) == "none"
    push(models[0], serving, "a", "none")
    first = rival_of("b", serving)
    assert first.startswith("1:")
    push(models[1], serving, "b", first)
    assert rival_of("a", serving).startswith("2:"), "another has come since, so nothing from the cache will do"
    assert rival_of("b", serving) == first, "not with itself"


def test_a_candidate_that_was_withdrawn_has_to_stand_comparison_anew(serving: str, models: list[str]) -> None:
    push(models[0], serving, "a", "none")
    first = rival_of("b", serving)
    push(models[1], serving, "b", first)
    push(models[2], serving, "c", rival_of("c", serving))
    promote(serving, 1)
    assert [rival_of(candidate, serving) for candidate in "abc"] == [first] * 3


def test_an_equal_model_of_another_candidate_changes_no_pointer(serving: str, models: list[str]) -> None:
    push(models[0], serving, "a", "none")
    before = pointer(serving)
    assert push(models[0], serving, "b", rival_of("b", serving)) == 1
    assert pointer(serving) == before
    assert rival_of("b", serving).startswith("1:"), "what it was judged against is still what counts"


def test_equal_to_one_that_something_else_pushed(tmp_path: Path, models: list[str]) -> None:
    tf.saved_model.save(Constant(0), str(tmp_path / "1700000000"))
    assert push(models[0], str(tmp_path)) == 1700000000
    assert pointer(str(tmp_path))["digest"] == digest(models[0])
    assert push(models[1], str(tmp_path)) == 1700000001


def test_a_push_that_was_killed_before_the_pointer_is_ended_by_the_next(serving: str, models: list[str]) -> None:
    push(models[0], serving)
    before = pointer(serving)
    push(models[1], serving)
    tf.io.gfile.remove(f"{serving}/current.json")
    with tf.io.gfile.GFile(f"{serving}/current.json", "w") as file:
        file.write(json.dumps(before))
    assert push(models[1], serving) == 2
    assert current_version(serving) == 2


@pytest.mark.parametrize("taken", ["5", "withdrawn/5"])
def test_no_number_is_used_twice(tmp_path: Path, models: list[str], taken: str) -> None:
    (tmp_path / taken).mkdir(parents=True)  # not even that of a folder that is no model
    assert push(models[0], str(tmp_path)) == 6


def test_the_number_of_a_version_that_was_deleted_is_not_used_again(tmp_path: Path, models: list[str]) -> None:
    push(models[0], str(tmp_path))
    tf.io.gfile.rmtree(str(tmp_path / "1"))
    assert push(models[0], str(tmp_path)) == 2


def test_a_push_that_fails_leaves_nothing(tmp_path: Path, models: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    push(models[0], str(tmp_path))
    copy = tf.io.gfile.copy

    def fail(source: str, target: str, overwrite: bool) -> None:
        if source.endswith("saved_model.pb"):
            raise OSError("disk full")
        copy(source, target, overwrite=overwrite)

    monkeypatch.setattr(tf.io.gfile, "copy", fail)
    with pytest.raises(OSError, match=r"^disk full$"):
        push(models[1], str(tmp_path))
    assert content(str(tmp_path)) == ["1", "current.json"]
    assert current_version(str(tmp_path)) == 1


def test_on_a_store_what_makes_it_a_model_comes_last(models: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    copy = tf.io.gfile.copy

    def note(source: str, target: str, overwrite: bool) -> None:
        copied.append(target)
        copy(source, target, overwrite=overwrite)

    monkeypatch.setattr(tf.io.gfile, "copy", note)
    push(models[0], "ram://order")
    assert len(copied) == len(FILES)
    assert copied[-1] == "ram://order/1/saved_model.pb"


def test_what_killed_pushes_left_is_removed_and_what_may_be_at_work_is_not(tmp_path: Path, models: list[str]) -> None:
    for name, minutes in (("old", 61), ("young", 59)):
        (tmp_path / f".partial-{name}" / "variables").mkdir(parents=True)
        then = time.time() - 60 * minutes
        os.utime(tmp_path / f".partial-{name}", (then, then))
    push(models[0], str(tmp_path))
    assert content(str(tmp_path)) == [".partial-young", "1", "current.json"]


def test_a_push_that_another_one_overtakes_takes_the_number_after(
    tmp_path: Path, models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = tf.io.gfile.rename

    def overtaken(source: str, target: str, overwrite: bool = False) -> None:
        if target.endswith("/1"):
            stub(tmp_path, "1")
        rename(source, target, overwrite=overwrite)

    monkeypatch.setattr(tf.io.gfile, "rename", overtaken)
    assert push(models[3], str(tmp_path)) == 2
    assert answer(str(tmp_path), 2) == 3
    assert content(str(tmp_path)) == ["1", "2", "current.json"]


def test_nothing_to_push(tmp_path: Path) -> None:
    expected = f"'{tmp_path}' is no model to push: it holds no saved_model.pb"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        push(str(tmp_path), str(tmp_path / "serving"))
    assert not (tmp_path / "serving").exists()


@pytest.fixture
def four(serving: str, models: list[str]) -> str:
    """A serving folder with versions 1 to 4, which give 0 to 3."""
    for model in models[:4]:
        push(model, serving)
    return serving


def test_an_earlier_version_comes_back(four: str, models: list[str]) -> None:
    assert promote(four, 2) == [3, 4]
    assert content(four) == ["1", "2", "current.json", "withdrawn"]
    assert content(f"{four}/withdrawn") == ["3", "4"]
    assert current_version(four) == 2
    assert pointer(four) == {"version": 2, "digest": digest(models[1]), "candidate": "", "rival": ""}
    assert answer(four, 2) == 1
    assert answer(four, "withdrawn/4") == 3


def test_a_withdrawn_version_comes_back(four: str) -> None:
    promote(four, 1)
    assert promote(four, 3) == [2, 4]
    assert content(four) == ["1", "3", "current.json", "withdrawn"]
    assert (current_version(four), answer(four, 3)) == (3, 2)


def test_to_the_current_one_changes_nothing(four: str) -> None:
    assert promote(four, 4) == []
    assert current_version(four) == 4


def test_twice_is_as_once(four: str) -> None:
    assert promote(four, 2) == promote(four, 2) == [3, 4]


def test_pushes_go_on_above_the_withdrawn(four: str, models: list[str]) -> None:
    promote(four, 2)
    assert push(models[1], four) == 2, "equal to the current one"
    assert push(models[3], four) == 5, "equal to a withdrawn one, but blessed anew"
    assert current_version(four) == 5


@pytest.mark.parametrize("broken_at", range(5))
def test_a_crash_at_any_step_leaves_a_current_model_and_is_mended(
    four: str, monkeypatch: pytest.MonkeyPatch, broken_at: int
) -> None:
    """The steps: the withdrawn version moves back, the pointer is written, three others move."""
    serving_dir._move(f"{four}/1", f"{four}/withdrawn/1")
    steps = 0

    def count(name: str) -> None:
        real = getattr(serving_dir, name)

        def step(*arguments: object) -> None:
            nonlocal steps
            if steps == broken_at:
                raise KeyboardInterrupt
            steps += 1
            real(*arguments)

        monkeypatch.setattr(serving_dir, name, step)

    count("_move")
    count("_write_pointer")
    with pytest.raises(KeyboardInterrupt):
        promote(four, 1)
    assert current_version(four) == (4 if broken_at < 2 else 1)
    monkeypatch.undo()
    assert promote(four, 1) == [2, 3, 4]
    assert content(four) == ["1", "current.json", "withdrawn"]
    assert (current_version(four), answer(four, 1)) == (1, 0)


def test_a_move_that_a_store_left_half_done_is_mended(models: list[str]) -> None:
    """Killed while the source was removed: the copy is whole, and of the source the model file is gone."""
    serving = "ram://half"
    for model in models[:3]:
        push(model, serving)
    promote(serving, 2)
    for name in ("saved_model.pb", "fingerprint.pb"):
        tf.io.gfile.makedirs(f"{serving}/3")
        tf.io.gfile.copy(f"{serving}/withdrawn/3/{name}", f"{serving}/3/{name}", overwrite=True)
    tf.io.gfile.remove(f"{serving}/3/saved_model.pb")
    assert promote(serving, 2) == [3]
    assert content(serving) == ["1", "2", "current.json", "withdrawn"]
    assert answer(serving, "withdrawn/3") == 2


def test_a_broken_pointer_is_mended(four: str) -> None:
    with tf.io.gfile.GFile(f"{four}/current.json", "w") as file:
        file.write("{")
    assert promote(four, 4) == []
    assert current_version(four) == 4


def test_what_is_no_model_is_withdrawn_as_well(four: str) -> None:
    """A server would try to serve it."""
    tf.io.gfile.makedirs(f"{four}/9")
    tf.io.gfile.GFile(f"{four}/9/note", "w").write("x")
    assert promote(four, 3) == [4, 9]


def test_an_unknown_version(four: str) -> None:
    promote(four, 2)
    expected = f"there is no version 7 in '{four}': it holds 1, 2, 3 (withdrawn), 4 (withdrawn)"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        promote(four, 7)
    assert current_version(four) == 2


def test_an_unknown_version_of_nothing(tmp_path: Path) -> None:
    expected = f"there is no version 1 in '{tmp_path}': it holds no models"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        promote(str(tmp_path), 1)


def test_a_damaged_version_is_not_put_back(tmp_path: Path, models: list[str]) -> None:
    push(models[0], str(tmp_path))
    push(models[1], str(tmp_path))
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"damaged")
    expected = f"the model in '{tmp_path}/1' cannot be read: saved_model.pb is damaged"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        promote(str(tmp_path), 1)
    assert current_version(str(tmp_path)) == 2
    assert content(str(tmp_path)) == ["1", "2", "current.json"]
