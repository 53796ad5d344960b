"""The arms of a study: what the built-in lists ask for, what files may, and what cannot be compared."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import JsonValue

from components.augmenter.policy import load_policy
from pipeline.config import Config, load_config
from pipeline.errors import UserError
from pipeline.study.arms import StudyArm, check_seeds, load_arms

THE_SAME = (
    "but all arms have the same data, test images and measures; it may set keys of augment, transform, model, train, "
    "of which the nearest is "
)
SET_ONE = ": leave one out, or set a key of augment, transform, model, train in it"

LoadArms = Callable[[str], tuple[StudyArm, ...]]
Lungseg = Callable[..., tuple[int, str, str]]


def load(**overrides: JsonValue) -> Config:
    """The demonstration's configuration, of policy `chest` with one copy."""
    values = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config("demo", values, data=Path("/data"), root=Path("/runs"))


@pytest.fixture
def load_file(tmp_path: Path) -> LoadArms:
    """Reads arms from a file with this text."""

    def of(text: str) -> tuple[StudyArm, ...]:
        path = tmp_path / "arms.yaml"
        path.write_text(text)
        return load_arms(str(path), load())

    return of


def test_with_and_without_copies() -> None:
    originals, copies = load_arms("copies", load())
    assert (originals.name, originals.policy, originals.config.train.copies) == ("originals only", None, False)
    assert (copies.name, copies.config.train.copies) == ("with copies", True)
    assert copies.policy is not None
    assert copies.policy.copies == {"train": 1}, "test images are the study's"
    assert {arm.config.train.images_per_original for arm in (originals, copies)} == {2}


def test_the_policies_that_ship() -> None:
    arms = load_arms("policies", load())
    assert [arm.name for arm in arms][:1] == ["chest"]
    assert {"lossless", "strong"} < {arm.name for arm in arms}
    for arm in arms:
        assert arm.config.augment.policy == load_policy(arm.name)
        assert arm.config.augment.effective_policy.copies_of("train") == 1
        assert arm.config.train.images_per_original == 2


def test_the_policies_have_the_copies_of_the_configurations_own() -> None:
    config = Config.model_validate({"root": "/runs", "data": {"root": "/data"}, "augment": {"policy": "strong"}})
    arms = load_arms("policies", config)
    assert {arm.config.augment.effective_policy.copies_of("train") for arm in arms} == {3}
    assert {arm.config.train.images_per_original for arm in arms} == {4}


def test_the_policy_without_each_of_its_transforms() -> None:
    everything, *others = load_arms("leave-one-out", load())
    assert (everything.name, everything.policy) == ("all of chest", load_arms("copies", load())[1].policy)
    names = [transform.name for transform in load_policy("chest").transforms]
    assert [arm.name for arm in others] == [f"without {name}" for name in names]
    for place, arm in enumerate(others):
        assert arm.policy is not None
        assert [transform.name for transform in arm.policy.transforms] == names[:place] + names[place + 1 :]
        assert arm.policy.name == f"chest {arm.name}"


def test_a_transform_that_is_there_twice(tmp_path: Path) -> None:
    flip: dict[str, JsonValue] = {"name": "HorizontalFlip", "p": 0.5}
    policy: dict[str, JsonValue] = {
        "name": "twice",
        "copies": {"train": 1},
        "transforms": [flip, {"name": "RandomGamma"}, flip],
    }
    arms = load_arms("leave-one-out", load(augment__policy=policy))
    names = ["all of twice", "without HorizontalFlip 1", "without RandomGamma", "without HorizontalFlip 2"]
    assert [arm.name for arm in arms] == names


def test_nothing_can_be_left_out_of_one_transform() -> None:
    with pytest.raises(UserError, match=r"^--arms leave-one-out: policy 'lossless' has one transform alone: use "):
        load_arms("leave-one-out", load(augment__policy="lossless"))


def test_normalizations() -> None:
    arms = load_arms("normalizations", load())
    assert [arm.config.transform.normalization for arm in arms] == ["dataset", "image", "percentile"]
    assert {arm.config.train.copies for arm in arms} == {True}


def test_numbers_of_copies_in_as_many_steps() -> None:
    arms = load_arms("numbers", load())
    assert [arm.policy and arm.policy.copies["train"] for arm in arms] == [None, 1, 2, 4, 8, 16]
    assert {arm.config.train.images_per_original for arm in arms} == {2}


def test_a_file(load_file: LoadArms) -> None:
    plain, slow, wide = load_file(
        "plain:\nslow: { train.epochs: 9, train.learning_rate: 0.001 }\n"
        "wide: { augment.policy: strong, augment.copies.train: 3, model.filters: 16 }\n"
    )
    assert plain.settings == {}
    assert plain.config.train.images_per_original == 2
    assert (slow.config.train.epochs, slow.config.train.learning_rate) == (9, 0.001)
    assert slow.config.train.images_per_original is None, "it says itself how long it is trained"
    assert slow.settings == {"train.epochs": 9, "train.learning_rate": 0.001}
    assert (wide.config.augment.policy.name, wide.config.model.filters) == ("strong", 16)
    assert wide.config.augment.effective_policy.copies_of("train") == 3
    assert wide.config.train.images_per_original == 2
    assert wide.config.data == load().data


def test_a_file_may_repeat_an_arm_by_reference(load_file: LoadArms) -> None:
    one, other = load_file("one: &one { train.epochs: 9 }\nother: { <<: *one, model.filters: 4 }\n")
    assert one.settings == {"train.epochs": 9}
    assert other.settings == {"train.epochs": 9, "model.filters": 4}


def test_the_number_of_images_of_the_configuration_holds(tmp_path: Path) -> None:
    arms = load_arms("copies", load(train__images_per_original=7))
    assert [arm.config.train.images_per_original for arm in arms] == [7, 7]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a:\na: { train.epochs: 2 }", "two arms, or two values of one arm, are called 'a': name one otherwise"),
        ("a b:\nA-b: { train.epochs: 2 }", "two arms are called 'a b' and 'A-b': name one otherwise"),
        (
            "a: { train.epochs: 2, train.epochs: 3 }\nb:",
            "two arms, or two values of one arm, are called 'train.epochs': name one otherwise",
        ),
        (
            "a:\nb: { train.epochs: 4, train.images_per_original: 2 }",
            f"arms 'a' and 'b' differ in nothing{SET_ONE}",
        ),
        (
            "a: { train.copies: false }\nb: { augment.copies.train: 0 }",
            f"arms 'a' and 'b' differ in nothing{SET_ONE}",
        ),
        (
            "a: { train.copies: false }\nb: { train.copies: false, augment.policy: strong }",
            f"arms 'a' and 'b' differ in nothing{SET_ONE}",
        ),
        (
            "a:\nb: { data.spans: 2 }",
            f"arm 'b' sets data.spans, {THE_SAME}train.patience",
        ),
        (
            "a:\nb: { root: there }",
            f"arm 'b' sets root, {THE_SAME}model.dropout",
        ),
        (
            "a:\nb: { augment.copies.test: 2 }",
            f"arm 'b' sets augment.copies.test, {THE_SAME}augment.copies",
        ),
        (
            "a:\nb: { augment.copies: { test: 2 } }",
            f"arm 'b' sets augment.copies.test, {THE_SAME}augment.copies",
        ),
        (
            "a:\nb: { train: { epochs: 2 } }",
            "arm 'b' sets the whole section 'train': name its keys, such as train.epochs",
        ),
        (
            "a:\nb: { train.epoch: 2 }",
            "arm 'b': configuration: unknown key 'train.epoch'; the nearest known one is 'train.epochs'",
        ),
        (
            "a:\nb: { trian.epochs: 2 }",
            "arm 'b': configuration: unknown key 'trian'; the nearest known one is 'train'",
        ),
        (
            "a:\nb: { train.epochs: 0 }",
            "arm 'b': configuration: train.epochs: Input should be greater than or equal to 1, is 0",
        ),
        (
            "a:\nb: { augment.policy: chset }",
            "arm 'b': augmentation policy 'chset' is neither a file nor one of: chest, lossless, strong, wide; did "
            "you mean 'chest'?",
        ),
        (
            "a:\nb: { train.warm_start: true }",
            "arm 'b': a study trains from scratch: set tune.trials to 0 and train.warm_start to ",
        ),
        (
            "a:\nb: { train.devices: 'cpu:2' }",
            "arm 'b' sets train.devices, but all arms are trained on the same: give --set train.devices=cpu:2 for all",
        ),
        ("a:\nb: { 3: 4 }", "arm 'b': configuration: unknown key '3'; the nearest known one is "),
        ("a:\nb: 3", "arm 'b' must hold keys and values, such as train.epochs: 3, is 3"),
        ("- a\n- b", "must hold names of arms with their keys and values, is list"),
        ("a: {", "is no YAML: "),
        ("a:", "a study compares two arms or more, there is 1"),
        (
            "a:\n'b/c': { train.epochs: 2 }",
            "arm 'b/c': its name must be letters, digits and, between them, spaces, '.', ",
        ),
    ],
)
def test_what_cannot_be_compared(load_file: LoadArms, text: str, problem: str) -> None:
    with pytest.raises(UserError) as error:
        load_file(text)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_no_such_list() -> None:
    with pytest.raises(UserError) as error:
        load_arms("copy", load())
    assert str(error.value) == (
        "--arms copy is neither a file nor one of copies, policies, leave-one-out, numbers, normalizations; "
        "did you mean 'copies'?"
    )


def test_seeds_are_no_arms(load_file: LoadArms) -> None:
    arms = load_file("a:\nb: { train.seed: 9 }")
    check_seeds(arms, 2)
    with pytest.raises(UserError, match=r"^arms 'a' and 'b' differ in train.seed alone, .* give --seeds 2 or more$"):
        check_seeds(arms, 1)
    with pytest.raises(UserError, match=r"^arms 'a' and 'b' share seeds, 7 and 9 being the first of 3 each: .* to 12$"):
        check_seeds(arms, 3)


def test_arms_that_differ_in_more_may_share_seeds(load_file: LoadArms) -> None:
    check_seeds(load_file("a:\nb: { train.seed: 8, train.epochs: 3 }"), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arms", "none.yaml"], "--arms none.yaml is neither a file nor one of copies, policies, leave-one-out, num"),
        (["--set", "tune.trials=2"], "a study trains from scratch: set tune.trials to 0 and train.warm_start to false"),
        (["--set", "train.warm_start=true"], "a study trains from scratch: "),
    ],
)
def test_wrong_input_is_one_line(lungseg: Lungseg, tmp_path: Path, arguments: list[str], message: str) -> None:
    code, output, errors = lungseg("study", "--data", "x", *arguments)
    assert (code, output) == (2, "")
    assert errors.startswith(f"lungseg: {message}")
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
