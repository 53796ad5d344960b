"""What a study is compiled to for Kubeflow, and what is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_records
import tensorflow as tf
from pydantic import JsonValue

from pipeline.config import Config, load_config
from pipeline.errors import UserError
from pipeline.kubeflow.compiler import compile_documents
from pipeline.study.arms import load_arms
from pipeline.study.plan import StudyPlan
from schema.record import encode

Spec = dict[str, Any]
Lungseg = Callable[..., tuple[int, str, str]]

ARMS: dict[str, dict[str, JsonValue]] = {
    "as it is": {},
    "originals": {"train.copies": False},
    "strong, slow": {"augment.policy": "strong", "train.learning_rate": 0.001},
}
PLACED: dict[str, JsonValue] = {
    "kubeflow.resources": {"Trainer": {"gpus": 1}, "Transform": {"memory": "4Gi"}},
    "kubeflow.placement": {"Evaluator": {"node_selector": {"pool": "cpu"}}},
    "data.span": 4,
}


def config_of(**overrides: JsonValue) -> Config:
    folders: dict[str, Any] = {"data": Path("/lungseg/data"), "root": Path("/lungseg")}
    return load_config("demo", overrides, external={"north": Path("/lungseg/north")}, **folders)


def compiled(
    folder: Path, arms: dict[str, dict[str, JsonValue]], config: Config, seeds: int = 1, folds: int | None = None
) -> tuple[Spec, Spec]:
    file = folder / "arms.yaml"
    file.write_text(json.dumps({name.replace(",", ""): settings for name, settings in arms.items()}))
    plan = StudyPlan(config, load_arms(str(file), config), seeds, folds)
    spec, platform = compile_documents(config, "lungseg:1", plan)
    return spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Spec]:
    return compiled(tmp_path_factory.mktemp("arms"), ARMS, config_of(**PLACED), seeds=2, folds=2)


@pytest.fixture(scope="module")
def tasks(documents: tuple[Spec, Spec]) -> Spec:
    found: Spec = documents[0]["root"]["dag"]["tasks"]
    return found


def of_kind(tasks: Spec, kind: str) -> list[str]:
    return sorted(name for name in tasks if name.split("-")[0] == kind)


def producers(task: Spec, key: str) -> list[str]:
    """Those of an input, whether it takes one artifact or several."""
    given = task["inputs"]["artifacts"].items()
    return sorted(source["taskOutputArtifact"]["producerTask"] for name, source in given if name.split(".")[0] == key)


def test_trainings_are_parallel(tasks: Spec, documents: tuple[Spec, Spec]) -> None:
    assert documents[0]["pipelineInfo"]["name"] == "lungseg-study"
    trainers = of_kind(tasks, "Trainer")
    assert len(trainers) == len(ARMS) * 2 * 2
    for trainer in trainers:
        assert {name.split("-")[0] for name in tasks[trainer]["dependentTasks"]} == {"ImportSchemaGen", "Transform"}
    assert not {"ChangeDetector", "BaselineResolver", "Pusher", "Reporter"} & {name.split("-")[0] for name in tasks}
    assert not any("triggerPolicy" in task or "cachingOptions" in task for task in tasks.values())
    assert all(task["retryPolicy"]["maxRetryCount"] == 2 for task in tasks.values())


def test_what_takes_several_artifacts_has_an_input_for_each(tasks: Spec, documents: tuple[Spec, Spec]) -> None:
    evaluators, trainers = of_kind(tasks, "Evaluator"), of_kind(tasks, "Trainer")
    for name in ("StudyComparison", "StudyReporter", "DoubtfulMasks"):
        assert producers(tasks[name], "evaluations") == evaluators
        assert set(evaluators) <= set(tasks[name]["dependentTasks"])
        container = documents[0]["deploymentSpec"]["executors"][f"{name}_executor"]["container"]
        declared = json.loads(container["args"][container["args"].index("--json_serialized_inputs_spec_args") + 1])
        assert set(tasks[name]["inputs"]["artifacts"]) == set(declared["artifacts"])
    for key in ("models", "model_runs"):
        assert producers(tasks["StudyReporter"], key) == trainers
    assert producers(tasks["StudyReporter"], "examples") == ["Augmenter", "Augmenter-fold-2"]
    assert producers(tasks["StudyReporter"], "external_examples") == ["ExternalAugmenter"]


def test_settings_of_a_component_are_those_of_all_of_its_kind(documents: tuple[Spec, Spec]) -> None:
    spec, platform = documents
    for label, executor in spec["deploymentSpec"]["executors"].items():
        kind = re.split("[-_]", label)[0]
        resources = executor["container"].get("resources", {})
        assert ("accelerator" in resources) == (kind == "Trainer")
        assert ("resourceMemoryLimit" in resources) == (kind == "Transform")
        assert ("emptyDirMounts" in platform[label]) == (kind == "Trainer")
        assert ("nodeSelector" in platform[label]) == (kind == "Evaluator")
        assert platform[label]["pvcMount"]
        assert executor["container"]["command"][-1] == label.removesuffix("_executor")
        assert "lifecycle" not in executor["container"]


def test_no_path_of_this_machine(documents: tuple[Spec, Spec], tasks: Spec) -> None:
    for name in ("ImportSchemaGen", "ImportSchemaGen-fold-2"):
        given = tasks[name]["inputs"]["parameters"]["schema_file"]
        assert given == {"runtimeValue": {"constant": "schema.pbtxt"}}
    assert str(Path(__file__).parents[3]) not in json.dumps(documents)


def test_parameters_reach_all_that_they_are_of(documents: tuple[Spec, Spec], tasks: Spec) -> None:
    declared = documents[0]["root"]["inputDefinitions"]["parameters"]
    assert {name: parameter["defaultValue"] for name, parameter in declared.items()} == {
        "data_root": "/lungseg/data", "span": 4, "spans": 1, "epochs": 4,
    }  # fmt: skip
    for name, task in tasks.items():
        given = task["inputs"].get("parameters", {})
        taken = {key for key, value in given.items() if value == {"componentInputParameter": key}}
        expected = {"ExampleGen": {"data_root", "span", "spans"}, "Trainer": {"epochs"}}
        assert taken == expected.get(name.split("-")[0], set())
        assert "range_config" not in given


def test_a_parameter_that_an_arm_sets_is_none(tmp_path: Path) -> None:
    spec, _ = compiled(tmp_path, {"a": {}, "b": {"train.epochs": 9}}, config_of())
    assert set(spec["root"]["inputDefinitions"]["parameters"]) == {"data_root", "span", "spans"}
    assert "DoubtfulMasks" not in spec["root"]["dag"]["tasks"]


def test_a_name_that_is_too_long_for_argo(tmp_path: Path) -> None:
    compiled(tmp_path, {"a": {}, "b" * 109: {"train.epochs": 9}}, config_of())
    with pytest.raises(UserError) as caught:
        compiled(tmp_path, {"a": {}, "b" * 110: {"train.epochs": 9}}, config_of())
    assert str(caught.value) == (
        f"component 'Evaluator-{'b' * 110}-7': its name has 122 characters, of which Kubeflow takes 121: shorten what "
        "it is named after, such as an arm or a policy"
    )


def test_resources_of_what_a_study_has_not(tmp_path: Path) -> None:
    resources: JsonValue = {"Pusher": {"cpu": "1"}}
    config = config_of(**{"kubeflow.resources": resources})
    with pytest.raises(UserError) as caught:
        compiled(tmp_path, {"a": {}, "b": {"train.epochs": 9}}, config)
    message = str(caught.value)
    assert message.startswith("configuration: kubeflow.resources: 'Pusher' is no component; there are Augmenter, DataG")
    assert message.endswith(", StudyReporter, Trainer, Transform")


class TestCommand:
    COMPILE = ("kubeflow", "compile", "--config", "demo", "--image", "lungseg:1")

    def test_says_what_it_cannot_check(self, lungseg: Lungseg, tmp_path: Path) -> None:
        code, output, errors = lungseg(*self.COMPILE, "--study", "--seeds", 2, "--folds", 2)
        assert (code, errors) == (0, "")
        assert output.splitlines() == [
            "'/lungseg/data' is not on this machine: what lies there is not checked",
            "whether the patients are enough for 2 folds is not checked either",
            "a study: 8 trainings (2 arms x 2 seeds x 2 folds)",
            "lungseg compiled for Kubeflow Pipelines into pipeline.yaml",
        ]
        assert "StudyComparison:" in (tmp_path / "pipeline.yaml").read_text()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--arms", "policies"), "--arms is of studies: add --study, or leave it out"),
            (("--seeds", 1), "--seeds is of studies: add --study, or leave it out"),
            (("--folds", 2), "--folds is of studies: add --study, or leave it out"),
            (
                ("--study", "--set", "train.warm_start=true"),
                "a study trains from scratch: set tune.trials to 0 and train.warm_start to false",
            ),
            (
                ("--study", "--arms", "seeds.yaml", "--seeds", 1),
                "arms 'a' and 'b' differ in train.seed alone, and each is trained once: that compares two seeds, so "
                "give --seeds 2 or more",
            ),
        ],
    )
    def test_refuses(self, lungseg: Lungseg, tmp_path: Path, options: tuple[object, ...], message: str) -> None:
        (tmp_path / "seeds.yaml").write_text("a:\nb: { train.seed: 20 }\n")
        code, _, errors = lungseg(*self.COMPILE, *options)
        assert (code, errors) == (2, f"lungseg: {message}\n")
        assert not (tmp_path / "pipeline.yaml").exists()

    def test_checks_data_that_are_at_hand(self, lungseg: Lungseg, tmp_path: Path) -> None:
        data = tmp_path / "data"
        (data / "span-1").mkdir(parents=True)
        places = ("--study", "--data", data, "--set", f"kubeflow.volumes={{{tmp_path}: lungseg}}")
        code, _, errors = lungseg(*self.COMPILE, *places)
        assert code == 2
        assert errors.startswith(f"lungseg: data folder '{data}' holds no span-N/records-*")
        with tf.io.TFRecordWriter(str(data / "span-1/records-00000-of-00001.tfrecord")) as writer:
            writer.write(encode(small_records.make(1, "i1", "p1")))
        code, _, errors = lungseg(*self.COMPILE, *places, "--folds", 2)
        assert code == 2
        assert errors.startswith("lungseg: --folds 2: 1 patients leave a fold without any")
