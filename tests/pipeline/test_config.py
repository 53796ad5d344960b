"""The configuration: what a user may write, and what each mistake is answered with."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from components.augmenter.policy import POLICIES
from modules.evaluation.settings import EvaluateSettings
from modules.network.settings import ModelSettings
from modules.training.settings import TrainSettings
from pipeline import config_reference
from pipeline.cli_options import read_config
from pipeline.config import PRESETS, Config, load_config
from pipeline.errors import UserError

Lungseg = Callable[..., tuple[int, str, str]]

NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))
DATA, ROOT = Path("/data"), Path("/runs")


def load(name: str = "cpu", data: Path | None = DATA, **overrides: JsonValue) -> Config:
    """Keys are written with two underscores for the dot."""
    return load_config(name, {key.replace("__", "."): value for key, value in overrides.items()}, data=data, root=ROOT)


def refused(*assignments: str, name: str = "cpu", data: Path | None = DATA) -> str:
    with pytest.raises(UserError) as caught:
        read_config(name, list(assignments), data, ROOT, None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_presets_that_ship() -> None:
    assert NAMES == ["best", "cpu", "demo", "gpu"]


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_valid_and_all_its_values_arrive(name: str) -> None:
    config = load(name)
    written = yaml.safe_load((PRESETS / f"{name}.yaml").read_text())
    assert set(written) >= {"model", "train", "evaluate"}
    assert config.model == ModelSettings.model_validate(written["model"])
    assert config.train == TrainSettings.model_validate(written["train"])
    assert config.evaluate == EvaluateSettings.model_validate(written["evaluate"])
    assert config.augment.effective_policy.copies_of("train") >= 1
    assert config.augment.effective_policy.copies_of("eval") == 0
    assert config.augment.effective_policy.copies_of("test") >= 1  # there is no comparison with originals without


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_says_how_it_is_run(name: str) -> None:
    head = (PRESETS / f"{name}.yaml").read_text().splitlines()[:2]
    assert all(line.startswith("#") for line in head)
    assert f"--config {name} " in head[1]


def test_paths_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config("cpu", {}, data=Path("data"), root=Path("here"))
    assert (config.data.root, config.root) == (tmp_path / "data", tmp_path / "here")
    assert config.serving_dir == tmp_path / "here" / "serving"


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ndata: { root: /elsewhere, train_buckets: 3 }\nbeam: { workers: 2 }\n")
    config = load(str(path), data=None)
    assert (config.name, config.beam.workers, config.data.train_buckets) == ("mine", 2, 3)
    assert config.data.root == Path("/elsewhere")
    assert load(str(path)).data.root == DATA  # the command line comes before the file
    assert config.train == TrainSettings()


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load(str(tmp_path / "empty.yaml")).model_dump(exclude={"root", "data"}) == {
        **Config(root=ROOT, data={"root": DATA}).model_dump(exclude={"root", "data"})
    }


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("train.epochs=3", 3),
        ("train.learning_rate=1e-3", 0.001),
        ("train.learning_rate=1E-3", 0.001),
        ("train.learning_rate=.5", 0.5),
        ("train.seed=1e3", 1000),
        ("train.devices=cpu:2", "cpu:2"),
        ("augment.copies.train=4", 4),
        ("augment.copies={train: 4, test: 2}", {"train": 4, "test": 2}),
        ("evaluate.slices=[[source], [view, sex]]", (("source",), ("view", "sex"))),
        ("beam.mode=multi_processing", "multi_processing"),
        ("name=a-1", "a-1"),
    ],
)
def test_set(assignment: str, value: object) -> None:
    setting: Any = read_config("cpu", [assignment], DATA, ROOT, None)
    for part in assignment.partition("=")[0].split("."):
        setting = setting[part] if isinstance(setting, dict) else getattr(setting, part)
    assert setting == value
    assert type(setting) is type(value)


def test_set_keeps_what_the_preset_says_beside_it() -> None:
    preset, changed = load("demo"), load("demo", train__epochs=3)
    assert changed.train == preset.train.model_copy(update={"epochs": 3})
    assert changed.model_copy(update={"train": preset.train}) == preset


def test_set_several_values_of_one_section_that_the_preset_lacks() -> None:
    config = load("cpu", beam__workers=2, beam__mode="multi_processing", augment__copies__test=0)
    assert (config.beam.workers, config.beam.mode) == (2, "multi_processing")
    assert config.augment.effective_policy.copies_of("test") == 0


def test_set_replaces_rules_as_a_whole() -> None:
    config = load("cpu", evaluate__rules=[{"metric": "iou_mean", "at_least": 0.5}])
    assert [(rule.metric, rule.at_least, rule.slice) for rule in config.evaluate.rules] == [("iou_mean", 0.5, {})]


@settings(max_examples=25, deadline=None)
@given(st.floats(min_value=1e-300, max_value=1, allow_subnormal=False))
def test_any_number_as_python_writes_it(rate: float) -> None:
    config = read_config("cpu", [f"train.learning_rate={rate!r}"], DATA, ROOT, None)
    assert config.train.learning_rate == rate


@pytest.mark.parametrize(
    ("assignment", "nearest"),
    [
        ("train.epoch=3", "train.epochs"),
        ("train.lerning_rate=1", "train.learning_rate"),
        ("model.size=64", "model.image_size"),
        ("evaluate.rule=1", "evaluate.rules"),
        ("epochs=3", "train.epochs"),
        ("data.rot=/x", "data.root"),
        ("records=1", "record_validation"),
        ("evaluate.rules=[{metric: dice_mean, at_lest: 0.5}]", "evaluate.rules.at_least"),
        ("kubeflow.resources.Trainer.cpus=1", "kubeflow.resources.cpu"),
        ("augment.policy={name: a, copies: {}, transforms: [{name: Blur}], sed: 1}", "augment.policy.seed"),
    ],
)
def test_an_unknown_key_names_the_nearest(assignment: str, nearest: str) -> None:
    message = refused(assignment)
    assert message.startswith(f"configuration: unknown key '{assignment.partition('=')[0]}")
    assert message.endswith(f"'; the nearest known one is '{nearest}'")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.epochs=0", "train.epochs: Input should be greater than or equal to 1, is 0"),
        ("train.epochs=three", "train.epochs: Input should be a valid integer, unable to parse string as an integer, "
         "is 'three'"),
        ("train.epochs=3.5", "train.epochs: Input should be a valid integer, got a number with a fractional part, "
         "is 3.5"),
        ("train.learning_rate=2", "train.learning_rate: Input should be less than or equal to 1, is 2"),
        ("train.learning_rate=nan", "train.learning_rate: Input should be less than or equal to 1, is nan"),
        ("train.seed=4294967296", "train.seed: Input should be less than 4294967296, is 4294967296"),
        ("train.devices=gpu", "train.devices: String should match pattern '^(auto|cpu:[1-9][0-9]*|gpu:[1-9][0-9]*)$', "
         "is 'gpu'"),
        ("tune.learning_rate=[0.1, 0.01]", "tune: learning_rate must be a lower and a higher value, is 0.1 and 0.01"),
        ("tune.filters=[]", "tune.filters: Tuple should have at least 1 item after validation, not 0, is []"),
        ("model.architecture=vnet", "model.architecture: Input should be 'unet' or 'resunet', is 'vnet'"),
        ("beam.mode=multi_threading", "beam.mode: Input should be 'in_memory' or 'multi_processing', "
         "is 'multi_threading'"),
        ("data.eval_buckets=0", "data.eval_buckets: Input should be greater than or equal to 1, is 0"),
        ("name=a_b", "name: String should match pattern '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$', is 'a_b'"),
        ("model.image_size=100", "model: image_size 100 must be a multiple of 32 (2 to the power of levels)"),
        ("evaluate.rules=[]", "evaluate: rules must hold one for all images (at_least or at_most, without `slice`)"),
        ("evaluate.rules=[{metric: dice_mean, at_least: 0.5, slice: {source: a}}]",
         "evaluate: rules must hold one for all images (at_least or at_most, without `slice`)"),
        ("evaluate.rules=[{metric: dice, at_least: 0.5}]",
         "evaluate.rules.0: unknown metric 'dice'; the nearest known one is 'dice_p5'"),
        ("data.external={test: d}",
         "data: external set 'test' has the name of a split of the data: name it otherwise"),
        ("data.external={north: /data}",
         "data: external set 'north' and the data are one folder, '/data': test sets must "
         "hold nothing that is trained on"),
        ("evaluate.rules=[{metric: dice_mean, at_least: 0.5}, {metric: hd95, at_most: 0.1, slice: {set: north}}]",
         "a rule on hd95 is for external set 'north', which is not given: add --external north=DIR"),
        ("data.external={A b: d}",
         "data.external.A b: String should match pattern '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$', is 'A b'"),
        ("evaluate.slices=[[colour]]", "evaluate.slices.0.0: Input should be 'is_augmented', 'transform', 'source', "
         "'finding', 'view', 'sex', 'age' or 'lungs', is 'colour'"),
        ("train=3", "train: Input should be a valid dictionary or instance of TrainSettings, is 3"),
        ("data=7", "data: Input should be a valid dictionary or instance of DataSettings, is 7"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_named_with_its_key(assignment: str, message: str) -> None:
    assert refused(assignment) == f"configuration: {message}"


def test_a_search_of_widths_does_not_go_with_a_warm_start() -> None:
    assert refused("tune.trials=2", "train.warm_start=true") == (
        "configuration: a warm start fits one width alone: set tune.filters to [16], as model.filters"
    )


@pytest.mark.parametrize("value", ["-1", "101"])
def test_copies_out_of_range(value: str) -> None:
    message = refused(f"augment.copies.train={value}")
    assert message.startswith("configuration: ")
    assert "copies.train: Input should be " in message
    assert message.endswith(f", is {value}")


def test_copies_of_a_split_that_there_is_not() -> None:
    message = refused("augment.copies.dev=1")
    assert "copies.dev" in message
    assert "Input should be 'train', 'eval' or 'test'" in message


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.epochs.more=3", "configuration: train.epochs.more: 'epochs' is no section"),
        ("name.x=3", "configuration: name.x: 'name' is no section"),
        ("train.epochs=[1", "--set train.epochs: '[1' is no YAML value"),
    ],
)
def test_set_where_nothing_can_be_set(assignment: str, message: str) -> None:
    if assignment.startswith("name"):
        assert refused("name=a", assignment) == message
    else:
        assert refused(assignment) == message


def test_no_data() -> None:
    assert refused(data=None) == "no data given: name a folder with `--data`"


@pytest.mark.parametrize("name", ["gpus", "/nowhere/mine.yaml"])
def test_neither_preset_nor_file(name: str) -> None:
    expected = f"configuration '{name}' is neither a file nor one of the presets best, cpu, demo, gpu"
    assert refused(name=name) == expected


@pytest.mark.parametrize("content", [b"train: [", b"a: b: c", b"\x89PNG\r\n", b"\x00"])
def test_no_yaml(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    assert refused(name=str(tmp_path / "mine.yaml")).startswith(f"configuration {tmp_path}/mine.yaml is no YAML: ")


@pytest.mark.parametrize(("text", "kind"), [("- 1", "list"), ("train", "str"), ("3", "int")])
def test_no_keys(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    expected = f"configuration {tmp_path}/mine.yaml must hold keys and values, is a {kind}"
    assert refused(name=str(tmp_path / "mine.yaml")) == expected


def test_an_unknown_policy() -> None:
    shipped = ", ".join(sorted(path.stem for path in POLICIES.glob("*.yaml")))
    expected = f"augmentation policy 'chess' is neither a file nor one of: {shipped}; did you mean 'chest'?"
    assert refused("augment.policy=chess") == expected


def test_a_policy_with_an_unknown_transform(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("name: mine\ncopies: {}\ntransforms: [{ name: Rotat }]\n")
    expected = "transforms.0: Albumentations has no transform 'Rotat'; did you mean 'Rotate'?"
    assert refused(f"augment.policy={path}") == f"augmentation policy {path}: {expected}"


def test_frozen() -> None:
    config = load()
    with pytest.raises(ValidationError, match="Instance is frozen"):
        config.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Instance is frozen"):
        config.train.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(("key", "option"), [("root", "--root"), ("data.root", "--data")])
def test_a_set_path_is_not_ignored(key: str, option: str) -> None:
    assert refused(f"{key}=/elsewhere") == f"--set {key}: give the folder with {option}"


def test_the_data_folder_may_be_set_where_no_option_names_it() -> None:
    assert load("cpu", data=None, data__root="/elsewhere").data.root == Path("/elsewhere")


def test_a_policy_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_bytes(b"\x89PNG\r\n")
    expected = f"augmentation policy {tmp_path}/policy.yaml is no YAML: "
    assert refused(f"augment.policy={tmp_path}/policy.yaml").startswith(expected)


EXTERNAL = {"north": Path("/north"), "south": Path("/south")}
POLICY = """name: mine
copies: { train: 1, test: 2 }
transforms: [{ name: Affine, arguments: { rotate: [-5.0, 5], scale: [0.9, 1.1] }, p: 0.00001 }]
"""


def round_trip(lungseg: Lungseg, folder: Path, config: Config, *arguments: object) -> None:
    """What `lungseg config` prints is a file of which the same configuration comes."""
    code, output, errors = lungseg("config", *arguments)
    assert (code, errors) == (0, "")
    (folder / "printed.yaml").write_text(output)
    assert load_config(str(folder / "printed.yaml"), {}, data=None, root=None) == config


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "assignments",
    [
        [],
        ["beam.runner=flink", "beam.job_endpoint=flink:8099", "beam.worker_pool=localhost:50000"],
        ["kubeflow.shared_memory=null", "kubeflow.placement.Trainer.tolerations=[{operator: Exists}]"],
        ["data.span=3", "train.xla=true", "train.weight_decay=1e-7", "record_validation.ignore=[near_duplicate]"],
    ],
    ids=["as it is", "on Flink", "without shared memory", "others"],
)
def test_what_is_printed_loads_back(lungseg: Lungseg, tmp_path: Path, name: str, assignments: list[str]) -> None:
    config = read_config(name, assignments, DATA, ROOT, None)
    options = [option for assignment in assignments for option in ("--set", assignment)]
    round_trip(lungseg, tmp_path, config, "--config", name, "--data", DATA, "--root", ROOT, *options)


def test_a_policy_of_its_own_and_external_sets_load_back(lungseg: Lungseg, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    rule: JsonValue = {"metric": "hd95", "at_most": 0.1, "slice": {"set": "north", "is_augmented": 0}}
    rules: JsonValue = [{"metric": "dice_mean", "at_least": 0.5}, rule]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"evaluate": {"rules": rules}, "data": {"root": str(DATA)}}))
    overrides: dict[str, JsonValue] = {"augment.policy": str(policy)}
    config = load_config(str(tmp_path / "mine.yaml"), overrides, data=None, root=ROOT, external=EXTERNAL)
    external = [option for name, folder in EXTERNAL.items() for option in ("--external", f"{name}={folder}")]
    arguments = ("--config", tmp_path / "mine.yaml", "--root", ROOT, "--set", f"augment.policy={policy}", *external)
    round_trip(lungseg, tmp_path, config, *arguments)


def test_a_configuration_can_be_printed_before_there_are_data(lungseg: Lungseg, tmp_path: Path) -> None:
    code, output, _ = lungseg("config")
    assert code == 0
    assert yaml.safe_load(output)["data"]["root"] == str(tmp_path / "data")


def test_a_policy_file_is_read_once(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    config = load("cpu", augment__policy=str(policy))
    before = config.to_yaml()
    policy.write_text(POLICY.replace("test: 2", "test: 5"))
    assert config.augment.effective_policy.copies_of("test") == 2
    assert config.to_yaml() == before
    assert load("cpu", augment__policy=str(policy)).augment.effective_policy.copies_of("test") == 5


def test_a_written_configuration_is_whole(tmp_path: Path) -> None:
    config = load_config("demo", {}, data=DATA, root=tmp_path / "root")
    config.write()
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["config.yaml"]
    assert load_config(str(tmp_path / "root" / "config.yaml"), {}, data=None, root=None) == config


NOT_LOCAL = "must be a folder that this machine and all workers see: mount the bucket, or copy it"


@pytest.mark.parametrize("command", ["run", "study", "config"])
@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["--data", "d", "--root", "gs://b/run"], "root: {}, is 'gs://b/run'"),
        (["--data", "s3://b/data"], "data.root: {}, is 's3://b/data'"),
        (["--data", "d", "--external", "x=gs://b/x"], "data.external.x: {}, is 'gs://b/x'"),
        (["--data", "d", "--config", "root.yaml"], "root: {}, is 'gs://b/run'"),
        (["--config", "data.yaml"], "data.root: {}, is 's3://b/data'"),
        (["--data", "d", "--config", "external.yaml"], "data.external.x: {}, is 'gs://b/x'"),
    ],
)
def test_a_url_is_no_folder(lungseg: Lungseg, tmp_path: Path, command: str, arguments: list[str], place: str) -> None:
    files = {
        "root.yaml": "root: gs://b/run",
        "data.yaml": "data: { root: s3://b/data }",
        "external.yaml": "data: { external: { x: gs://b/x } }",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    expected = f"lungseg: configuration: {place.format(NOT_LOCAL)}\n"
    assert lungseg(command, *arguments) == (2, "", expected)
    assert {path.name for path in tmp_path.iterdir()} == set(files)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["demo", "--root"], "root"),
        (["promote", "--to", "1", "--root"], "root"),
        (["history", "--root"], "root"),
        (["phantoms", "--output"], "output"),
        (["predict", "image.png", "--output", "out", "--model"], "model"),
        (["predict", "image.png", "--model", "model", "--output"], "output"),
        (["augment-preview", "image.png", "--output"], "output"),
    ],
)
def test_a_url_is_nothing_local(lungseg: Lungseg, tmp_path: Path, command: list[str], name: str) -> None:
    assert lungseg(*command, "gs://b/run") == (2, "", f"lungseg: {name} 'gs://b/run' {NOT_LOCAL}\n")
    assert list(tmp_path.iterdir()) == []


def test_the_reference_is_that_of_the_code(lungseg: Lungseg) -> None:
    page = Path(config_reference.__file__).with_name("CONFIGURATION.md").read_text()
    assert page == config_reference.reference(), (
        "write it anew: python -m pipeline config --reference > pipeline/CONFIGURATION.md"
    )
    assert lungseg("config", "--reference") == (0, page, "")


def test_every_key_has_a_type_a_default_and_a_meaning() -> None:
    rows = [line for line in config_reference.reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    for row in rows:
        key, kind, default, meaning = (cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1])
        assert kind, key
        assert default, key
        assert meaning.endswith("."), key
