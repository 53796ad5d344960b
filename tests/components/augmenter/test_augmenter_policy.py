"""Policies: what ships is sound, and every way to write a wrong one is answered in one line."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import albumentations
import pytest
import yaml
from pydantic import ValidationError

from components.augmenter.policy import POLICIES, Policy, PolicyError, compose, load_policy

NAMES = sorted(path.stem for path in POLICIES.glob("*.yaml"))
SHIPPED = "chest, lossless, strong, wide"

GOOD = """
name: mine
seed: 4
copies: { train: 3, test: 1 }
transforms:
  - { name: Rotate, arguments: { limit: [-5, 5] }, p: 1 }
  - { name: HorizontalFlip }
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "policy.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(name_or_path: object) -> str:
    with pytest.raises(PolicyError) as caught:
        load_policy(str(name_or_path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_transform(transform: str) -> str:
    return f"name: mine\ncopies: {{ train: 1 }}\ntransforms: [{transform}]\n"


def test_the_policies_that_ship() -> None:
    assert NAMES == ["chest", "lossless", "strong", "wide"]


@pytest.mark.parametrize("name", NAMES)
def test_shipped_policies_load_under_their_own_name(name: str) -> None:
    policy = load_policy(name)
    assert policy.name == name
    assert load_policy(str(POLICIES / f"{name}.yaml")) == policy


@pytest.mark.parametrize("name", NAMES)
def test_shipped_policies_copy_what_is_trained_and_tested_on_but_never_what_stops_training(name: str) -> None:
    policy = load_policy(name)
    assert {split: policy.copies_of(split) > 0 for split in ("train", "eval", "test")} == {
        "train": True,
        "eval": False,
        "test": True,
    }


@pytest.mark.parametrize("name", NAMES)
def test_shipped_policies_need_no_permission(name: str) -> None:
    policy = load_policy(name)
    assert not policy.allow_copies_of_copies
    assert not any(transform.allow for transform in policy.transforms)


def test_a_file(tmp_path: Path) -> None:
    policy = load_policy(str(written(tmp_path, GOOD)))
    assert (policy.name, policy.seed, policy.copies) == ("mine", 4, {"train": 3, "test": 1})
    assert [(transform.name, transform.arguments, transform.p) for transform in policy.transforms] == [
        ("Rotate", {"limit": [-5, 5]}, 1),
        ("HorizontalFlip", {}, 0.5),
    ]


def test_defaults(tmp_path: Path) -> None:
    policy = load_policy(str(written(tmp_path, GOOD.replace("seed: 4\n", ""))))
    assert (policy.seed, policy.max_lung_loss, policy.redraws, policy.allow_copies_of_copies) == (0, 0.4, 3, False)


def test_limits_of_a_file(tmp_path: Path) -> None:
    limits = "max_lung_loss: 0.1\nredraws: 0\nallow_copies_of_copies: true\n"
    policy = load_policy(str(written(tmp_path, GOOD + limits)))
    assert (policy.max_lung_loss, policy.redraws, policy.allow_copies_of_copies) == (0.1, 0, True)


@pytest.mark.parametrize(("split", "copies"), [("train", 3), ("test", 1), ("eval", 0), ("other-hospital", 1)])
def test_copies_of(tmp_path: Path, split: str, copies: int) -> None:
    assert load_policy(str(written(tmp_path, GOOD))).copies_of(split) == copies


def test_compose_keeps_order_probabilities_and_arguments(tmp_path: Path) -> None:
    composed = compose(load_policy(str(written(tmp_path, GOOD))))
    assert [(type(transform), transform.p) for transform in composed.transforms] == [
        (albumentations.Rotate, 1),
        (albumentations.HorizontalFlip, 0.5),
    ]
    assert composed.transforms[0].limit == (-5, 5)


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_is_frozen_and_survives_json(name: str) -> None:
    policy = load_policy(name)
    assert Policy.model_validate_json(policy.model_dump_json()) == policy
    with pytest.raises(ValidationError, match="Instance is frozen"):
        policy.seed = 1  # type: ignore[misc]


class TestContentHash:
    def test_is_16_hexadecimal_digits(self) -> None:
        digest = load_policy("chest").content_hash()
        assert len(digest) == 16
        int(digest, 16)

    def test_is_the_same_however_the_file_is_laid_out(self, tmp_path: Path) -> None:
        """Keys in reverse order, at every level but in the list of transforms, block style, a comment."""

        def reverse(value: object) -> object:
            if isinstance(value, dict):
                return {key: reverse(value[key]) for key in reversed(value)}
            return [reverse(item) for item in value] if isinstance(value, list) else value

        text = GOOD.replace("{ limit: [-5, 5] }", "{ limit: [-5, 5], border_mode: 1 }")
        before = load_policy(str(written(tmp_path, text))).content_hash()
        turned = "# again\n" + yaml.safe_dump(reverse(yaml.safe_load(text)), sort_keys=False, default_flow_style=False)
        assert turned.index("transforms:") < turned.index("copies:") < turned.index("name: mine")
        assert turned.index("border_mode:") < turned.index("limit:")
        assert load_policy(str(written(tmp_path, turned))).content_hash() == before

    def test_is_the_same_where_a_default_is_written_out(self, tmp_path: Path) -> None:
        before = load_policy(str(written(tmp_path, GOOD))).content_hash()
        assert load_policy(str(written(tmp_path, GOOD + "redraws: 3\n"))).content_hash() == before

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("seed: 4", "seed: 5"),
            ("name: mine", "name: yours"),
            ("train: 3", "train: 2"),
            ("p: 1 ", "p: 0.9 "),
            ("[-5, 5]", "[-5, 6]"),
            ("seed: 4", "seed: 4\nredraws: 2"),
            ("seed: 4", "seed: 4\nmax_lung_loss: 0.3"),
            ("HorizontalFlip", "InvertImg"),
        ],
    )
    def test_changes_with_the_content(self, tmp_path: Path, old: str, new: str) -> None:
        before = load_policy(str(written(tmp_path, GOOD))).content_hash()
        assert old in GOOD
        assert load_policy(str(written(tmp_path, GOOD.replace(old, new, 1)))).content_hash() != before


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("chesst", "; did you mean 'chest'?"),
        ("loseless", "; did you mean 'lossless'?"),
        ("/nowhere/policy.yaml", ""),
        ("", ""),
    ],
)
def test_neither_name_nor_file(name: str, hint: str) -> None:
    assert refused(name) == f"augmentation policy '{name}' is neither a file nor one of: {SHIPPED}{hint}"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path).startswith(f"augmentation policy '{tmp_path}' is neither a file nor one of: {SHIPPED}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        # Keys that are missing or unknown.
        ("name: mine\ncopies: {}\n", "transforms: Field required"),
        (GOOD.replace("name: mine", ""), "name: Field required"),
        ("name: mine\ntransforms: [{ name: HorizontalFlip }]\n", "copies: Field required"),
        (with_transform("{ p: 1 }"), "transforms.0.name: Field required"),
        (GOOD + "sead: 3\n", "unknown key 'sead'; did you mean 'seed'?"),
        (GOOD + "max_lung_los: 0.1\n", "unknown key 'max_lung_los'; did you mean 'max_lung_loss'?"),
        (
            GOOD + "xyzzy: 3\n",
            "unknown key 'xyzzy'; known are name, seed, copies, transforms, max_lung_loss, redraws, "
            "allow_copies_of_copies",
        ),
        (
            with_transform("{ name: Rotate, argument: { limit: 3 } }"),
            "unknown key 'transforms.0.argument'; did you mean 'arguments'?",
        ),
        (
            with_transform("{ name: HorizontalFlip }, { name: Rotate, prob: 1 }"),
            "unknown key 'transforms.1.prob'; known are name, arguments, p, allow",
        ),
        # Values out of range.
        (with_transform(""), "transforms: Tuple should have at least 1 item after validation, not 0, is []"),
        (with_transform("{ name: Rotate, p: 0 }"), "transforms.0.p: Input should be greater than 0, is 0"),
        (with_transform("{ name: Rotate, p: 1.5 }"), "transforms.0.p: Input should be less than or equal to 1, is 1.5"),
        (
            with_transform("{ name: Rotate, p: .nan }"),
            "transforms.0.p: Input should be less than or equal to 1, is nan",
        ),
        (GOOD.replace("name: mine", "name: ''"), "name: String should have at least 1 character, is ''"),
        (GOOD.replace("seed: 4", "seed: -1"), "seed: Input should be greater than or equal to 0, is -1"),
        (GOOD.replace("train: 3", "train: -1"), "copies.train: Input should be greater than or equal to 0, is -1"),
        (GOOD.replace("train: 3", "train: 101"), "copies.train: Input should be less than or equal to 100, is 101"),
        (GOOD.replace("train: 3", "dev: 3"), "copies.dev: Input should be 'train', 'eval' or 'test', is 'dev'"),
        (GOOD + "max_lung_loss: 2\n", "max_lung_loss: Input should be less than or equal to 1, is 2"),
        (GOOD + "max_lung_loss: -0.1\n", "max_lung_loss: Input should be greater than or equal to 0, is -0.1"),
        (GOOD + "redraws: 21\n", "redraws: Input should be less than or equal to 20, is 21"),
        (GOOD + "redraws: -1\n", "redraws: Input should be greater than or equal to 0, is -1"),
        # Values of another type.
        (
            with_transform("{ name: Rotate, p: often }"),
            "transforms.0.p: Input should be a valid number, unable to parse string as a number, is 'often'",
        ),
        (with_transform("{ name: 7 }"), "transforms.0.name: Input should be a valid string, is 7"),
        (
            with_transform("{ name: Rotate, arguments: [1] }"),
            "transforms.0.arguments: Input should be a valid dictionary, is [1]",
        ),
        (
            with_transform("HorizontalFlip"),
            "transforms.0: Input should be a valid dictionary or instance of Transform, is 'HorizontalFlip'",
        ),
        (
            "name: mine\ncopies: {}\ntransforms: { name: HorizontalFlip }\n",
            "transforms: Input should be a valid tuple, is {'name': 'HorizontalFlip'}",
        ),
        (
            GOOD.replace("train: 3", "train: 1.5"),
            "copies.train: Input should be a valid integer, got a number with a fractional part, is 1.5",
        ),
        (
            GOOD.replace("{ train: 3, test: 1 }", "3"),
            "copies: Input should be a valid dictionary, is 3",
        ),
        (
            GOOD.replace("seed: 4", "seed: soon"),
            "seed: Input should be a valid integer, unable to parse string as an integer, is 'soon'",
        ),
        ("- 1\n", "Input should be a valid dictionary or instance of Policy, is [1]"),
        ("chest", "Input should be a valid dictionary or instance of Policy, is 'chest'"),
        ("", "Input should be a valid dictionary or instance of Policy, is None"),
    ],
)
def test_wrong_contents(tmp_path: Path, text: str, problem: str) -> None:
    path = written(tmp_path, text)
    assert refused(path) == f"augmentation policy {path}: {problem}"


@pytest.mark.parametrize(
    ("transform", "problem"),
    [
        (
            "{ name: HorizontalFlop }",
            "Albumentations has no transform 'HorizontalFlop'; did you mean 'HorizontalFlip'?",
        ),
        ("{ name: gaussnoise }", "Albumentations has no transform 'gaussnoise'; did you mean 'GaussNoise'?"),
        ("{ name: Quux }", "Albumentations has no transform 'Quux'"),
        ("{ name: __version__ }", "Albumentations has no transform '__version__'"),
        (
            "{ name: BasicTransform }",
            "Albumentations has no transform 'BasicTransform'; did you mean 'ElasticTransform'?",
        ),
        # Albumentations itself only warns of these.
        ("{ name: Rotate, arguments: { limits: 3 } }", "Rotate has no argument 'limits'; did you mean 'limit'?"),
        (
            "{ name: Affine, arguments: { translate_percents: [0, 0.1] } }",
            "Affine has no argument 'translate_percents'; did you mean 'translate_percent'?",
        ),
        (
            "{ name: GaussNoise, arguments: { var_limit: [10, 20] } }",
            "GaussNoise has no argument 'var_limit'; known are std_range, mean_range, per_channel, noise_scale_factor",
        ),
        # Former versions had these.
        (
            "{ name: HorizontalFlip, arguments: { always_apply: true } }",
            "HorizontalFlip has no argument 'always_apply'; write `p: 1` beside `name` where it is to fire always",
        ),
        (
            "{ name: Rotate, arguments: { limit: 5, always_apply: false } }",
            "Rotate has no argument 'always_apply'; write `p: 1` beside `name` where it is to fire always",
        ),
        (
            "{ name: ElasticTransform, arguments: { alpha_affine: 3 } }",
            "ElasticTransform has no argument 'alpha_affine'; list an Affine transform of its own",
        ),
        ("{ name: Affine, arguments: { cval: 0 } }", "Affine has no argument 'cval'; did you mean 'fill'?"),
        (
            "{ name: CoarseDropout, arguments: { mask_fill_value: 0 } }",
            "CoarseDropout has no argument 'mask_fill_value'; did you mean 'fill_mask'?",
        ),
        ("{ name: HorizontalFlip, arguments: { to: left } }", "HorizontalFlip has no argument 'to'; it takes none"),
        ("{ name: Rotate, arguments: { p: 0.3 } }", "Rotate: give `p` beside `arguments`, not in them"),
        (
            "{ name: Rotate, arguments: { limit: steep } }",
            "Rotate: limit.tuple[float, float]: Input should be a valid tuple, is 'steep'",
        ),
        (
            "{ name: Rotate, arguments: { limit: [1, 2, 3] } }",
            "Rotate: limit.tuple[float, float]: Tuple should have at most 2 items after validation, not 3, "
            "is [1, 2, 3]",
        ),
        (
            "{ name: Rotate, arguments: { limit: 5, border_mode: 99 } }",
            "Rotate: border_mode: Input should be 0, 1, 2, 3 or 4, is 99",
        ),
        (
            "{ name: GaussNoise, arguments: { std_range: [2, 3] } }",
            "GaussNoise: std_range: All values in (2.0, 3.0) must be >= 0 and <= 1",
        ),
        (
            "{ name: GaussNoise, arguments: { std_range: [0.3, 0.1] } }",
            "GaussNoise: std_range: First value should be less than the second value, got (0.3, 0.1) instead",
        ),
        ("{ name: LongestMaxSize }", "LongestMaxSize: Either max_size or max_size_hw must be specified"),
    ],
)
def test_transforms_that_cannot_be_built(tmp_path: Path, transform: str, problem: str) -> None:
    path = written(tmp_path, with_transform(transform))
    assert refused(path) == f"augmentation policy {path}: transforms.0: {problem}"


@pytest.mark.parametrize("name", ["OneOf", "SomeOf", "Sequential", "Compose", "RandomOrder", "OneOrOther"])
@pytest.mark.parametrize("rest", ["", ", transforms: [{ name: HorizontalFlip }]", ", arguments: { transforms: [] }"])
def test_compositions(tmp_path: Path, name: str, rest: str) -> None:
    path = written(tmp_path, with_transform(f"{{ name: {name}{rest} }}"))
    assert refused(path) == (
        f"augmentation policy {path}: transforms.0.name: {name} is a composition of transforms, which policies do not "
        "take: list its transforms singly, each with its own `p`"
    )


STEEP = "turns a chest by up to {} degrees, more than 45"
IMPLAUSIBLE = "makes a chest implausible"
IMAGE_ALONE = "moves pixels of the image but not of the mask"


@pytest.mark.parametrize(
    ("name", "arguments", "objection"),
    [
        ("Rotate", "", STEEP.format(90)),  # its own default
        ("Rotate", "limit: 46", STEEP.format(46)),
        ("Rotate", "limit: 45.5", STEEP.format(45.5)),
        ("Rotate", "limit: [-50, 0]", STEEP.format(50)),
        ("SafeRotate", "limit: [0, 180]", STEEP.format(180)),
        ("Affine", "rotate: [-60, 60]", STEEP.format(60)),
        ("VerticalFlip", "", IMPLAUSIBLE),
        ("RandomRotate90", "", IMPLAUSIBLE),
        ("D4", "", IMPLAUSIBLE),
        ("SquareSymmetry", "", IMPLAUSIBLE),
        ("RandomGridShuffle", "", IMPLAUSIBLE),
        ("GlassBlur", "", IMAGE_ALONE),
        ("ZoomBlur", "", IMAGE_ALONE),
    ],
)
def test_what_needs_permission(tmp_path: Path, name: str, arguments: str, objection: str) -> None:
    entry = f"name: {name}, arguments: {{ {arguments} }}"
    path = written(tmp_path, with_transform(f"{{ {entry} }}"))
    message = f"augmentation policy {path}: transforms.0: {name} {objection}; write `allow: true` if you mean it"
    assert refused(path) == message
    path = written(tmp_path, with_transform(f"{{ {entry}, allow: true }}"))
    (transform,) = load_policy(str(path)).transforms
    assert (transform.name, transform.allow) == (name, True)


@pytest.mark.parametrize("transform", ["Rotate, arguments: { limit: 45 }", "Affine, arguments: { rotate: [-45, 45] }"])
def test_45_degrees_need_none(tmp_path: Path, transform: str) -> None:
    assert load_policy(str(written(tmp_path, with_transform(f"{{ name: {transform} }}")))).name == "mine"


@pytest.mark.parametrize(
    ("transform", "name"),
    [
        ("Resize, arguments: { height: 32, width: 32 }", "Resize"),
        ("RandomCrop, arguments: { height: 32, width: 32 }", "RandomCrop"),
        ("RandomScale", "RandomScale"),
        ("PadIfNeeded", "PadIfNeeded"),
        ("Rotate, arguments: { limit: 5, crop_border: true }", "Rotate"),
        ("Perspective, arguments: { keep_size: false }", "Perspective"),
        # These leave an image alone that has the very size they make.
        ("Resize, arguments: { height: 64, width: 64 }", "Resize"),
        ("CenterCrop, arguments: { height: 61, width: 61 }", "CenterCrop"),
        ("LongestMaxSize, arguments: { max_size: 64 }", "LongestMaxSize"),
        ("Resize, arguments: { height: 512, width: 512 }", "Resize"),
    ],
)
def test_what_changes_the_size(tmp_path: Path, transform: str, name: str) -> None:
    path = written(tmp_path, with_transform(f"{{ name: {transform} }}"))
    assert refused(path) == f"augmentation policy {path}: {name} changes the image's size, which must stay"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Normalize", "changes the image's type to float32, which must stay uint8"),
        ("ToFloat", "changes the image's type to float32, which must stay uint8"),
        ("FDA", "does not take a grey image with a mask: FDA requires ['fda_metadata'] missing keys: {'fda_metadata'}"),
        (
            "HistogramMatching",
            "does not take a grey image with a mask: HistogramMatching requires ['hm_metadata'] missing keys: "
            "{'hm_metadata'}",
        ),
        ("CubicSymmetry, allow: true", "does not take a grey image with a mask: 'volume'"),
    ],
)
def test_what_needs_or_makes_something_else(tmp_path: Path, name: str, problem: str) -> None:
    path = written(tmp_path, with_transform(f"{{ name: {name} }}"))
    assert refused(path) == f"augmentation policy {path}: {name.partition(',')[0]} {problem}"


@pytest.mark.parametrize(
    "transform",
    [
        "ElasticTransform, arguments: { alpha: 200, sigma: 8, mask_interpolation: 1 }",
        "CoarseDropout, arguments: { fill_mask: 128 }",
        "Affine, arguments: { translate_percent: [0.1, 0.2], fill_mask: 9 }",
    ],
)
def test_what_gives_the_mask_other_values_than_0_and_255(tmp_path: Path, transform: str) -> None:
    """Else the run fails at the first such copy."""
    path = written(tmp_path, with_transform(f"{{ name: {transform} }}"))
    assert refused(path).startswith(f"augmentation policy {path}: {transform.partition(',')[0]} ")


WRITES = "{} writes lung where there was none ({}): {}"


@pytest.mark.parametrize(
    ("name", "arguments", "given", "remedy"),
    [
        ("Rotate", "limit: [10, 12], fill_mask: 255", "fill_mask 255", "set fill_mask to 0"),
        ("Rotate", "limit: [-1, 1], fill_mask: 255", "fill_mask 255", "set fill_mask to 0"),
        ("Rotate", "limit: [-12, 12], border_mode: 2", "border_mode 2", "set border_mode to 0"),
        ("Rotate", "limit: [-12, 12], border_mode: 3", "border_mode 3", "set border_mode to 0"),
        ("Rotate", "limit: [-12, 12], border_mode: 4", "border_mode 4", "set border_mode to 0"),
        (
            "Rotate",
            "limit: [-12, 12], border_mode: 4, fill_mask: 255",
            "border_mode 4, fill_mask 255",
            "set border_mode to 0 and set fill_mask to 0",
        ),
        ("Rotate", "limit: [10, 12], fill_mask: [255]", "fill_mask 255", "set fill_mask to 0"),
        ("SafeRotate", "limit: [10, 12], fill_mask: 255", "fill_mask 255", "set fill_mask to 0"),
        ("Affine", "translate_percent: [0.1, 0.2], fill_mask: 255", "fill_mask 255", "set fill_mask to 0"),
        ("Affine", "translate_percent: [0.1, 0.2], border_mode: 3", "border_mode 3", "set border_mode to 0"),
        ("Affine", "scale: [0.5, 0.6], border_mode: 4", "border_mode 4", "set border_mode to 0"),
        ("Perspective", "fit_output: true, fill_mask: 255", "fill_mask 255", "set fill_mask to 0"),
        ("CoarseDropout", "fill_mask: 255", "fill_mask 255", "leave fill_mask out"),
        ("GridDropout", "fill_mask: 255", "fill_mask 255", "leave fill_mask out"),
        ("PixelDropout", "mask_drop_value: 255", "mask_drop_value 255", "leave mask_drop_value out"),
    ],
)
def test_what_writes_lung_where_there_was_none(
    tmp_path: Path, name: str, arguments: str, given: str, remedy: str
) -> None:
    path = written(tmp_path, with_transform(f"{{ name: {name}, arguments: {{ {arguments} }}, p: 0.1, allow: true }}"))
    assert refused(path) == f"augmentation policy {path}: {WRITES.format(name, given, remedy)}"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Rotate", "limit: [-12, 12], fill: 255"),
        ("Rotate", "limit: [-1, 1], border_mode: 4"),
        ("Rotate", "limit: [-12, 12], border_mode: 1"),
        ("Affine", "scale: [0.9, 1.1], translate_percent: [-0.06, 0.06], fill_mask: 0"),
        ("CoarseDropout", "fill_mask: 0"),
    ],
)
def test_what_writes_no_lung(tmp_path: Path, name: str, arguments: str) -> None:
    path = written(tmp_path, with_transform(f"{{ name: {name}, arguments: {{ {arguments} }} }}"))
    assert load_policy(str(path)).name == "mine"


def test_an_angle_that_is_no_number(tmp_path: Path) -> None:
    """It would come back from JSON, in which it reaches the executor, as something else."""
    path = written(tmp_path, with_transform("{ name: Rotate, arguments: { limit: .nan } }"))
    assert refused(path).startswith(f"augmentation policy {path}: transforms.0: Rotate")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            b"name: [\n",
            "while parsing a flow node expected the node content, but found '<stream end>' in \"<unicode string>\", "
            "line 2, column 1: ^",
        ),
        (
            b"a: b: c",
            'mapping values are not allowed here in "<unicode string>", line 1, column 5: a: b: c ^',
        ),
        (
            b"\x00",
            'unacceptable character #x0000: special characters are not allowed in "<unicode string>", position 0',
        ),
        (b"\x89PNG\r\n", "'utf-8' codec can't decode byte 0x89 in position 0: invalid start byte"),
        (
            b"!!python/object/apply:os.getcwd []",
            "could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.getcwd' in "
            '"<unicode string>", line 1, column 1: !!python/object/apply:os.getcwd [] ^',
        ),
    ],
)
def test_no_yaml(tmp_path: Path, content: bytes, problem: str) -> None:
    path = written(tmp_path, content)
    assert refused(path) == f"augmentation policy {path} is no YAML: {problem}"


def test_compose_raises_valueerror_alone() -> None:
    policy = load_policy("chest")
    wrong = policy.transforms[0].model_copy(update={"name": "Nothing"})
    with pytest.raises(ValueError, match=r"^Albumentations has no transform 'Nothing'$"):
        compose(policy.model_copy(update={"transforms": (wrong,)}))


def test_threads_leave_the_treatment_of_warnings_as_it_was() -> None:
    before = list(warnings.filters)
    policy = load_policy("chest")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: compose(policy), range(64)))
    assert list(warnings.filters) == before
