"""What is compiled for Kubeflow: against a golden file, the specifications' schemas, and by what is refused."""

import copy
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.components import load_component_from_file
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2
from pydantic import JsonValue

from pipeline.config import PRESETS, Config, load_config
from pipeline.errors import UserError
from pipeline.kubeflow.compiler import check, compile_documents, compile_pipeline

GOLDEN = Path(__file__).with_name("demo.yaml")

Spec = dict[str, Any]
Lungseg = Callable[..., tuple[int, str, str]]

PLACED: dict[str, JsonValue] = {
    "kubeflow.resources": {"Trainer": {"cpu": "8", "memory": "32Gi", "gpus": 2}, "ExampleGen": {"memory": "4Gi"}},
    "kubeflow.placement": {
        "Trainer": {
            "node_selector": {"nvidia.com/gpu.product": "H200"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        }
    },
    "kubeflow.secrets": [
        {"name": "store", "env": {"key": "STORE_KEY"}},
        {"name": "certificates", "mount_path": "/certificates"},
    ],
    "kubeflow.shared_memory": "16Gi",
    "kubeflow.pipeline_root": "s3://bucket/lungseg",
    "kubeflow.retries": 1,
}


FOLDERS: dict[str, Any] = {"data": Path("/lungseg/data"), "root": Path("/lungseg")}


def configuration(**overrides: JsonValue) -> Config:
    return load_config("demo", {**overrides}, external={"elsewhere": Path("/lungseg/elsewhere")}, **FOLDERS)


@pytest.fixture(autouse=True)
def code_version(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (
        "components.base", "components.example_gen.component", "components.transform.component", "pipeline.graph",
    ):  # fmt: skip
        monkeypatch.setattr(f"{module}.code_version", lambda *_, **__: "code-version")


@pytest.fixture(scope="module")
def documents() -> tuple[Spec, Spec]:
    spec, platform = compile_documents(configuration(**PLACED), "registry/lungseg:1")
    return spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


@pytest.fixture
def spec(documents: tuple[Spec, Spec]) -> Spec:
    return copy.deepcopy(documents[0])


def test_is_the_golden_file(tmp_path: Path) -> None:
    """After a change that is meant: `LUNGSEG_GOLDEN=1 pytest` on this test writes it anew, to be read in the diff."""
    compile_pipeline(configuration(), "lungseg:1", tmp_path / "pipeline.yaml")
    if os.environ.get("LUNGSEG_GOLDEN"):
        shutil.copy(tmp_path / "pipeline.yaml", GOLDEN)
    assert (tmp_path / "pipeline.yaml").read_text() == GOLDEN.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.yaml"]


def test_kfp_can_load_it() -> None:
    assert load_component_from_file(str(GOLDEN)).name == "lungseg"


def test_is_of_the_schema_that_the_backend_takes(spec: Spec) -> None:
    assert spec["schemaVersion"] == "2.1.0"
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    assert spec["defaultPipelineRoot"] == "s3://bucket/lungseg"


def test_each_step_runs_our_entry_point(spec: Spec) -> None:
    for label, executor in spec["deploymentSpec"]["executors"].items():
        container = executor["container"]
        name = label.removesuffix("_executor")
        assert container["command"] == ["python", "-m", "pipeline.kubeflow.entrypoint", "--retries=1", name]
        assert container["image"] == "registry/lungseg:1"
        assert "lifecycle" not in container


def test_nothing_is_looked_for_in_the_cache(spec: Spec) -> None:
    assert not any("cachingOptions" in task for task in spec["root"]["dag"]["tasks"].values())


def test_all_other_steps_wait_for_a_change(spec: Spec) -> None:
    tasks = dict(spec["root"]["dag"]["tasks"])
    first = tasks.pop("ChangeDetector")
    assert not {"triggerPolicy", "dependentTasks", "artifacts"} & {*first, *first["inputs"]}
    for name, task in tasks.items():
        key = "changes" if name == "Pusher" else "_ChangeDetector.changes"
        assert task["triggerPolicy"] == {
            "condition": f"(inputs.artifacts['{key}'].artifacts[0].metadata['unchanged'] == 0.0)"
        }
        assert task["inputs"]["artifacts"][key]["taskOutputArtifact"] == {
            "producerTask": "ChangeDetector", "outputArtifactKey": "changes"
        }  # fmt: skip
        assert "ChangeDetector" in task["dependentTasks"]


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_pods_are_replaced_until_a_deadline(preset: str) -> None:
    spec, _ = compile_documents(load_config(preset, {"kubeflow.retries": 1}, **FOLDERS), "lungseg:1")
    for task in spec["root"]["dag"]["tasks"].values():
        policy = dict(task["retryPolicy"])
        deadline = policy.pop("backoffMaxDuration")
        assert policy == {"maxRetryCount": 1, "backoffDuration": "30s", "backoffFactor": 2.0}
        assert int(deadline.removesuffix("s")) > 7 * 24 * 3600, "a training over a week is still tried again"


def test_without_retries_nothing_is_tried_again() -> None:
    spec, _ = compile_documents(configuration(**{"kubeflow.retries": 0}), "lungseg:1")
    assert not any("retryPolicy" in task for task in spec["root"]["dag"]["tasks"].values())
    assert "--retries=0" in spec["deploymentSpec"]["executors"]["Trainer_executor"]["container"]["command"]


@pytest.mark.parametrize(("option", "overrides"), [
    ("--data", {"data": Path("/home/data")}),
    ("--root", {"root": Path("/lungsegs")}),
    ("--external elsewhere", {"external": {"elsewhere": Path("/lungsegs")}}),
])  # fmt: skip
def test_a_folder_that_no_step_sees(option: str, overrides: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        compile_documents(load_config("demo", {}, **{**FOLDERS, **overrides}), "lungseg:1")
    folder = next(iter(overrides.values()))
    folder = folder["elsewhere"] if isinstance(folder, dict) else folder
    expected = f"{option}: '{folder}' is on no volume that the steps see: name a folder below one of these: /lungseg"
    assert str(caught.value) == expected


@pytest.mark.parametrize(("options", "of_file", "data", "root"), [
    ((), "", "/lungseg/data", "/lungseg"),
    ((), "root: /lungseg/b\ndata: { root: /lungseg/a }", "/lungseg/a", "/lungseg/b"),
    (("--data", "/lungseg/c", "--root", "/lungseg/d"), "root: /lungseg/b", "/lungseg/c", "/lungseg/d"),
])  # fmt: skip
def test_folders_of_options_or_of_the_configuration_or_as_the_volume_has_them(
    lungseg: Lungseg, tmp_path: Path, options: tuple[str, ...], of_file: str, data: str, root: str
) -> None:
    (tmp_path / "c.yaml").write_text(of_file)
    assert lungseg("kubeflow", "compile", "--config", "c.yaml", "--image", "lungseg:1", *options)[0] == 0
    spec, _ = yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text())
    assert spec["root"]["inputDefinitions"]["parameters"]["data_root"]["defaultValue"] == data
    assert f'"checkpoint_dir": "{root}/checkpoints"' in str(spec["root"]["dag"]["tasks"]["Trainer"])


@pytest.mark.parametrize(("toleration", "problem"), [
    ({"operator": "Exists", "key": "pool", "value": "gpu"}, "operator Exists takes no value: leave one of both out"),
    ({"effect": "NoSchedule"}, "operator Equal needs a key: name it, or write operator: Exists"),
])  # fmt: skip
def test_tolerations_that_kubernetes_would_refuse(toleration: JsonValue, problem: str) -> None:
    placement: JsonValue = {"Trainer": {"tolerations": [toleration]}}
    with pytest.raises(UserError, match=problem):
        configuration(**{"kubeflow.placement": placement})


UNMOUNTABLE = (
    "'my.claim' cannot be mounted, since Kubeflow gives its name to a volume of the pod: name one of up to 63 small "
    "letters, digits and '-'"
)


@pytest.mark.parametrize(("key", "value", "where"), [
    ("kubeflow.volumes", {"/lungseg": "my.claim"}, "kubeflow.volumes"),
    ("kubeflow.secrets", [{"name": "my.claim", "mount_path": "/secret"}], "kubeflow.secrets.0"),
])  # fmt: skip
def test_a_name_that_no_volume_can_have(key: str, value: JsonValue, where: str) -> None:
    with pytest.raises(UserError) as caught:
        configuration(**{key: value})
    assert str(caught.value) == f"configuration: {where}: {UNMOUNTABLE}"


def test_a_secret_for_the_environment_may_have_dots() -> None:
    secrets: JsonValue = [{"name": "my.secret", "env": {"key": "KEY"}}]
    configuration(**{"kubeflow.secrets": secrets})


def test_parameters_of_a_run_have_defaults(spec: Spec) -> None:
    declared = spec["root"]["inputDefinitions"]["parameters"]
    assert {name: parameter["defaultValue"] for name, parameter in declared.items()} == {
        "data_root": "/lungseg/data", "span": 0, "spans": 1, "epochs": 4, "seed": 7, "thresholds": "",
        "force": False,
    }  # fmt: skip
    trainer = spec["root"]["dag"]["tasks"]["Trainer"]["inputs"]["parameters"]
    assert trainer["epochs"] == {"componentInputParameter": "epochs"}
    assert "epochs" in spec["components"]["Trainer"]["inputDefinitions"]["parameters"]


def test_a_span_of_the_configuration_is_a_default() -> None:
    spec, _ = compile_documents(configuration(**{"data.span": 5, "data.spans": 3}), "lungseg:1")
    declared = spec["root"]["inputDefinitions"]["parameters"]
    assert (declared["span"]["defaultValue"], declared["spans"]["defaultValue"]) == (5, 3)
    assert "range_config" not in spec["root"]["dag"]["tasks"]["ExampleGen"]["inputs"]["parameters"]


def test_resources(spec: Spec) -> None:
    executors = spec["deploymentSpec"]["executors"]
    assert executors["Trainer_executor"]["container"]["resources"] == {
        "resourceCpuRequest": "8", "resourceCpuLimit": "8", "resourceMemoryRequest": "32Gi",
        "resourceMemoryLimit": "32Gi", "accelerator": {"resourceType": "nvidia.com/gpu", "resourceCount": "2"},
    }  # fmt: skip
    assert executors["ExampleGen_executor"]["container"]["resources"]["resourceMemoryLimit"] == "4Gi"
    assert "resources" not in executors["Evaluator_executor"]["container"]


def test_the_platform_is_what_kubernetes_extension_defines(documents: tuple[Spec, Spec]) -> None:
    spec, platform = documents
    assert set(platform) == set(spec["deploymentSpec"]["executors"])
    parsed = {
        label: json_format.ParseDict(executor_config, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
        for label, executor_config in platform.items()
    }
    trainer, evaluator = parsed["Trainer_executor"], parsed["Evaluator_executor"]
    assert evaluator.pvc_mount[0].mount_path == "/lungseg"
    assert evaluator.pvc_mount[0].pvc_name_parameter.runtime_value.constant.string_value == "lungseg"
    assert not evaluator.empty_dir_mounts
    assert evaluator.secret_as_env[0].key_to_env[0].env_var == "STORE_KEY"
    assert evaluator.secret_as_volume[0].mount_path == "/certificates"
    assert dict(trainer.node_selector.labels) == {"nvidia.com/gpu.product": "H200"}
    assert (trainer.tolerations[0].key, trainer.tolerations[0].operator) == ("nvidia.com/gpu", "Exists")
    (shared,) = trainer.empty_dir_mounts
    assert (shared.mount_path, shared.medium, shared.size_limit) == ("/dev/shm", "Memory", "16Gi")  # noqa: S108


def test_twice_the_same() -> None:
    first, second = (yaml.safe_dump_all(compile_documents(configuration(), "lungseg:1")) for _ in range(2))
    assert first == second


def test_refuses_a_name_with_an_underscore(spec: Spec) -> None:
    tasks = spec["root"]["dag"]["tasks"]
    tasks["my_trainer"] = tasks.pop("Trainer")
    with pytest.raises(UserError) as caught:
        check(spec)
    expected = "component 'my_trainer': Kubeflow allows letters, digits and '-' in names: give it another id"
    assert str(caught.value) == expected


def test_refuses_a_resolver(spec: Spec) -> None:
    spec["deploymentSpec"]["executors"]["Trainer_executor"] = {"resolver": {}}
    with pytest.raises(UserError) as caught:
        check(spec)
    expected = "component 'Trainer' is a resolver, which Kubeflow cannot run: resolve inside a component instead"
    assert str(caught.value) == expected


def test_refuses_a_producer_that_is_not_there(spec: Spec) -> None:
    parameters = spec["root"]["dag"]["tasks"]["Trainer"]["inputs"]["parameters"]
    parameters["epochs"] = {"taskOutputParameter": {"producerTask": "Tuner_task", "outputParameterKey": "epochs"}}
    with pytest.raises(UserError) as caught:
        check(spec)
    expected = "component 'Trainer' takes something of 'Tuner_task', which is no component of the pipeline"
    assert str(caught.value) == expected


def test_refuses_resources_of_what_is_not_there() -> None:
    resources: JsonValue = {"Trainr": {"gpus": 1}}
    with pytest.raises(UserError, match=r"^configuration: kubeflow\.resources: 'Trainr' is no component; there are "):
        compile_documents(configuration(**{"kubeflow.resources": resources}), "lungseg:1")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    output = tmp_path / "missing/pipeline.yaml"
    with pytest.raises(UserError) as caught:
        compile_pipeline(configuration(), "lungseg:1", output)
    assert str(caught.value) == f"cannot write '{output}': No such file or directory"
