"""Compiles who is told of a run: into all steps, and into a last one that starts however the others have ended.

It has the form of `dsl.ExitHandler` of Kubeflow's SDK: all other steps in a graph of their own, for which alone the
last one waits. Of several that it waited for, the backend would start it for each.
"""

from typing import Any, Final

from pipeline.kubeflow.telling import RUN_ID, STATUS, TOLD, RunTold

STEPS: Final = "steps"
"""The graph of all other steps, as a task and as a component."""
NOTIFIER: Final = "Notifier"
"""The last step."""

_COMMAND: Final = ("python", "-m", "pipeline.kubeflow.telling", "{{$}}")

Spec = dict[str, Any]


def add_notifier(spec: Spec, told: RunTold, image: str) -> None:
    """Have a webhook told of the runs of a pipeline.

    Args:
        spec: The pipeline's specification, with the parameters of a run; changed in place.
        told: Who is told.
        image: Of the containers.
    """
    given = {RUN_ID: "{{$.pipeline_job_uuid}}", TOLD: told.model_dump_json(exclude_none=True)}
    constants = {name: {"runtimeValue": {"constant": value}} for name, value in given.items()}
    texts = {name: {"parameterType": "STRING"} for name in given}
    root = spec["root"]
    for name, task in root["dag"]["tasks"].items():
        task.setdefault("inputs", {}).setdefault("parameters", {}).update(constants)
        definitions = spec["components"][name].setdefault("inputDefinitions", {})
        definitions.setdefault("parameters", {}).update(texts)
    declared = root["inputDefinitions"]["parameters"]
    spec["components"][STEPS] = {
        "dag": root["dag"],
        "inputDefinitions": {
            "parameters": {name: {"parameterType": one["parameterType"]} for name, one in declared.items()}
        },
    }
    status = {STATUS: {"parameterType": "TASK_FINAL_STATUS", "isOptional": True}}
    label = f"{NOTIFIER}_executor"
    spec["components"][NOTIFIER] = {"executorLabel": label, "inputDefinitions": {"parameters": {**texts, **status}}}
    *command, argument = _COMMAND
    spec["deploymentSpec"]["executors"][label] = {"container": {"image": image, "command": command, "args": [argument]}}
    steps = _task(STEPS, {name: {"componentInputParameter": name} for name in declared})
    notifier = _task(NOTIFIER, {**constants, STATUS: {"taskFinalStatus": {"producerTask": STEPS}}})
    notifier["dependentTasks"] = [STEPS]
    notifier["triggerPolicy"] = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    root["dag"] = {"tasks": {STEPS: steps, NOTIFIER: notifier}}


def _task(name: str, parameters: Spec) -> Spec:
    return {"taskInfo": {"name": name}, "componentRef": {"name": name}, "inputs": {"parameters": parameters}}
