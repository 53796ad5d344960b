"""The last step, which tells a webhook what became of a run: how it is compiled."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp import compiler, dsl
from kfp.components import load_component_from_file
from kfp.pipeline_spec import pipeline_spec_pb2
from pydantic import JsonValue

from pipeline.config import load_config
from pipeline.errors import UserError
from pipeline.kubeflow.compiler import compile_documents, compile_pipeline
from pipeline.kubeflow.telling import RunTold
from pipeline.study.arms import load_arms
from pipeline.study.plan import StudyPlan

Spec = dict[str, Any]

NOTIFY: dict[str, JsonValue] = {
    "notify.url": "https://ops.example/lungseg",
    "notify.headers": {"Authorization": {"env": "WEBHOOK_AUTHORIZATION"}},
    "kubeflow.secrets": [{"name": "webhook", "env": {"key": "WEBHOOK_AUTHORIZATION"}}],
    "kubeflow.resources": {"Notifier": {"memory": "1Gi"}, "Trainer": {"gpus": 1}},
}


def compiled(**overrides: JsonValue) -> tuple[Spec, Spec]:
    config = load_config("demo", overrides, data=Path("/lungseg/data"), root=Path("/lungseg"))
    spec, platform = compile_documents(config, "lungseg:1")
    return spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


@pytest.fixture(scope="module")
def documents() -> tuple[Spec, Spec]:
    return compiled(**NOTIFY)


@pytest.fixture(scope="module")
def of_sdk(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    """What Kubeflow's own SDK makes of a pipeline of two steps and a last one, with our names."""

    @dsl.container_component
    def work(epochs: int) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image="lungseg:1", command=["true"], args=[epochs])

    @dsl.container_component
    def tell(run_id: str, status: dsl.PipelineTaskFinalStatus) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image="lungseg:1", command=["true"], args=[run_id])

    @dsl.pipeline(name="lungseg")
    def two_steps(epochs: int = 4) -> None:
        with dsl.ExitHandler(tell(run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER)):
            work(epochs=epochs).after(work(epochs=epochs))

    path = tmp_path_factory.mktemp("sdk") / "pipeline.yaml"
    compiler.Compiler().compile(two_steps, str(path))
    names = {
        "comp-exit-handler-1": "steps",
        "exit-handler-1": "steps",
        "comp-tell": "Notifier",
        "pipelinechannel--": "",
    }
    text = path.read_text().replace("tell:\n", "Notifier:\n").replace("name: tell\n", "name: Notifier\n")
    for theirs, ours in names.items():
        text = text.replace(theirs, ours)
    spec: Spec = yaml.safe_load(text.replace("comp-Notifier", "Notifier"))
    return spec


def without(task: Spec, *keys: str) -> Spec:
    return {key: value for key, value in task.items() if key not in keys}


def test_has_the_form_that_kubeflows_sdk_gives_it(documents: tuple[Spec, Spec], of_sdk: Spec) -> None:
    spec = copy.deepcopy(documents[0])
    ours, theirs = spec["root"]["dag"]["tasks"], of_sdk["root"]["dag"]["tasks"]
    assert set(ours) == set(theirs) == {"steps", "Notifier"}
    del ours["Notifier"]["inputs"]["parameters"]["told"]
    assert without(ours["Notifier"], "retryPolicy") == without(theirs["Notifier"], "cachingOptions")
    assert without(ours["steps"], "inputs") == without(theirs["steps"], "inputs")
    for root, graph in ((spec["root"], spec["components"]["steps"]), (of_sdk["root"], of_sdk["components"]["steps"])):
        assert set(graph) == {"dag", "inputDefinitions"}
        declared = root["inputDefinitions"]["parameters"]
        assert root["dag"]["tasks"]["steps"]["inputs"]["parameters"] == {
            name: {"componentInputParameter": name} for name in declared
        }
        assert graph["inputDefinitions"]["parameters"] == {
            name: {"parameterType": parameter["parameterType"]} for name, parameter in declared.items()
        }
    components = [of["components"]["Notifier"]["inputDefinitions"]["parameters"] for of in (spec, of_sdk)]
    assert without(components[0], "told") == components[1]


def test_is_what_kubeflow_can_load(documents: tuple[Spec, Spec], tmp_path: Path) -> None:
    spec, _ = documents
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    config = load_config("demo", NOTIFY, data=Path("/lungseg/data"), root=Path("/lungseg"))
    compile_pipeline(config, "lungseg:1", tmp_path / "pipeline.yaml")
    assert load_component_from_file(str(tmp_path / "pipeline.yaml")).name == "lungseg"


def test_the_steps_are_those_of_a_pipeline_that_tells_nobody(documents: tuple[Spec, Spec]) -> None:
    told, _ = documents
    resources: JsonValue = {"Trainer": {"gpus": 1}}
    untold, _ = compiled(**{"kubeflow.resources": resources})
    assert told["root"]["inputDefinitions"] == untold["root"]["inputDefinitions"]
    steps = copy.deepcopy(told["components"]["steps"]["dag"]["tasks"])
    for task in steps.values():
        parameters = task["inputs"]["parameters"]
        assert parameters.pop("run_id") == {"runtimeValue": {"constant": "{{$.pipeline_job_uuid}}"}}
        who = RunTold.model_validate_json(parameters.pop("told")["runtimeValue"]["constant"])
        assert (who.pipeline, who.root) == ("lungseg", Path("/lungseg"))
        assert who.notify.headers["Authorization"].env == "WEBHOOK_AUTHORIZATION"
    assert steps == untold["root"]["dag"]["tasks"]
    executors = dict(told["deploymentSpec"]["executors"])
    notifier = executors.pop("Notifier_executor")["container"]
    assert executors == untold["deploymentSpec"]["executors"]
    assert notifier["command"] == ["python", "-m", "pipeline.kubeflow.telling"]
    assert (notifier["args"], notifier["image"]) == (["{{$}}"], "lungseg:1")


def test_the_last_step_has_what_all_have(documents: tuple[Spec, Spec]) -> None:
    spec, platform = documents
    tasks = spec["root"]["dag"]["tasks"]
    assert tasks["Notifier"]["retryPolicy"]["maxRetryCount"] == 2
    assert "retryPolicy" not in tasks["steps"], "no step is done twice since another one failed"
    notifier = spec["deploymentSpec"]["executors"]["Notifier_executor"]["container"]
    assert notifier["resources"]["resourceMemoryLimit"] == "1Gi"
    assert platform["Notifier_executor"] == platform["Evaluator_executor"]
    assert platform["Notifier_executor"]["secretAsEnv"][0]["keyToEnv"] == [
        {"secretKey": "key", "envVar": "WEBHOOK_AUTHORIZATION"}
    ]


def test_without_a_webhook_there_is_none() -> None:
    spec, _ = compiled()
    assert "Notifier" not in json.dumps(spec)
    with pytest.raises(UserError, match="'Notifier' is no component"):
        compiled(**{"kubeflow.resources": NOTIFY["kubeflow.resources"]})


def test_a_study_tells_nothing() -> None:
    config = load_config("demo", {"notify.url": "https://a.example"}, data=Path("/lungseg/data"), root=Path("/lungseg"))
    spec, _ = compile_documents(config, "lungseg:1", StudyPlan(config, load_arms("copies", config)))
    assert "Notifier" not in json.dumps(spec)
    assert "a.example" not in json.dumps(spec)
