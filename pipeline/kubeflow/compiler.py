"""Compiles the graph for open-source Kubeflow Pipelines: YAML of schema 2.1, and what Kubernetes has to know beside it.

TFX compiles for another product of the same specification. What the open-source backend takes differently is mended
here, step by step; what it would refuse is refused here, by name.
"""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner
from tfx.orchestration.pipeline import Pipeline
from tfx.types.channel import UnionChannel

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.graph import create_pipeline
from pipeline.kubeflow.exit_handler import add_notifier
from pipeline.kubeflow.parameters import RunParameter, parameters_of
from pipeline.kubeflow.settings import KubeflowSettings, Placement, Resources, kind_of
from pipeline.kubeflow.step import ONE_OF_SEVERAL
from pipeline.kubeflow.telling import RunTold
from pipeline.study.graph import create_study
from pipeline.study.plan import StudyPlan
from schema import features

ENTRY_POINT: Final = ("python", "-m", "pipeline.kubeflow.entrypoint")

_RETRY_DEADLINE: Final = "2592000s"
"""After 30 days, longer than any training, no attempt begins any more. Where none is named, Kubeflow hands on one of 0
seconds, which count from the start of the first attempt, so that a second one never begins."""

_BACKOFF: Final = {"backoffDuration": "30s", "backoffFactor": 2.0, "backoffMaxDuration": _RETRY_DEADLINE}

# Argo's rule for the names of templates and tasks, which Kubeflow takes from ours as they are.
_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")
_LONGEST_NAME: Final = 128 - len("-driver")
"""Characters: Argo takes 128, and Kubeflow names the task before each step so."""

Spec = dict[str, Any]


def compile_pipeline(config: Config, image: str, output: Path, plan: StudyPlan | None = None) -> None:
    """Write the graph of a run or a study as YAML for Kubeflow Pipelines v2.

    Args:
        config: Of the run or the study; its folders are those that the steps see, on a volume.
        image: Of the containers.
        output: The file to write, ending in `.yaml`.
        plan: Of the study; None for a run.

    Raises:
        UserError: Kubeflow would refuse the pipeline, the configuration names a component that there is none of, a
            folder is on no volume, or the file cannot be written.
    """
    documents = compile_documents(config, image, plan)
    text = yaml.safe_dump_all(documents, sort_keys=True, width=120)
    partial = output.with_name(f".{output.name}.partial")
    try:
        partial.write_text(text)
        partial.replace(output)
    except OSError as error:
        raise UserError(f"cannot write '{output}': {error.strerror}") from error


def compile_documents(config: Config, image: str, plan: StudyPlan | None = None) -> list[Spec]:
    """Return the pipeline's specification, and what Kubernetes has to know beside it.

    Raises:
        UserError: As of `compile_pipeline`.
    """
    _check_folders(config)
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            default_image=image, default_commands=list(ENTRY_POINT), use_pipeline_spec_2_1=True
        )
    )
    spec: Spec = runner.run(_graph(config, plan), write_out=False)["pipelineSpec"]
    _adapt_containers(spec, config.kubeflow)
    _declare_parameters(spec, config, parameters_of(plan))
    if config.notify.names_a_webhook and plan is None:
        add_notifier(spec, RunTold(pipeline=config.name, root=config.root, notify=config.notify), image)
    _set_resources(spec, config.kubeflow)
    for task in _tasks(spec).values():
        # Its key holds the ids of the inputs, and each run makes new ones from ExampleGen on: nothing would be found.
        task.pop("cachingOptions", None)
        if config.kubeflow.retries:
            task["retryPolicy"] = {"maxRetryCount": config.kubeflow.retries, **_BACKOFF}
    if config.kubeflow.pipeline_root:
        spec["defaultPipelineRoot"] = config.kubeflow.pipeline_root
    check(spec)
    return [spec, {"platforms": {"kubernetes": {"deploymentSpec": {"executors": _platform(spec, config.kubeflow)}}}}]


def check(spec: Spec) -> None:
    """Refuse what the open-source backend would refuse, or would fail on in the middle of a run.

    Args:
        spec: The pipeline's specification, schema 2.1.

    Raises:
        UserError: Names the first thing that is wrong.
    """
    for tasks in _graphs(spec):
        _check_tasks(tasks)
    for label, executor in _executors(spec).items():
        if "container" not in executor and "importer" not in executor:
            kind = next(iter(executor), "nothing")
            name = label.removesuffix("_executor")
            raise UserError(
                f"component '{name}' is a {kind}, which Kubeflow cannot run: resolve inside a component instead"
            )
    # Strict: no field that the specification does not know.
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())


def _check_tasks(tasks: Spec) -> None:
    for name in tasks:
        if not _NAME.fullmatch(name):
            raise UserError(f"component '{name}': Kubeflow allows letters, digits and '-' in names: give it another id")
        if len(name) > _LONGEST_NAME:
            raise UserError(
                f"component '{name}': its name has {len(name)} characters, of which Kubeflow takes {_LONGEST_NAME}: "
                "shorten what it is named after, such as an arm or a policy"
            )
    for name, task in tasks.items():
        producers = {source["taskOutputArtifact"]["producerTask"] for source in _inputs(task, "artifacts")}
        producers |= {
            source["taskOutputParameter"]["producerTask"]
            for source in _inputs(task, "parameters")
            if "taskOutputParameter" in source
        }
        for missing in sorted({*producers, *task.get("dependentTasks", [])} - set(tasks)):
            raise UserError(f"component '{name}' takes something of '{missing}', which is no component of the pipeline")


def _graph(config: Config, plan: StudyPlan | None) -> Pipeline:
    """Make the graph as TFX can compile it."""
    # A fixed span is the default of the run's parameter, and no constant.
    latest = config.model_copy(update={"data": config.data.model_copy(update={"span": None})})
    if plan is None:
        return create_pipeline(latest, on_cluster=True)
    study = create_study(dataclasses.replace(plan, config=latest), on_cluster=True)
    for node in study.components:
        for key, several in dict(node.inputs).items():
            if isinstance(several, UnionChannel):
                del node.inputs[key]
                node.inputs.update(
                    {f"{key}{ONE_OF_SEVERAL}{number}": one for number, one in enumerate(several.channels, 1)}
                )
    return study


def _check_folders(config: Config) -> None:
    """Refuse what is on no volume: a step would write it into its container, where it is lost."""
    volumes = config.kubeflow.volumes
    folders = {"--root": config.root, "--data": config.data.root}
    folders |= {f"--external {name}": folder for name, folder in config.data.external.items()}
    for option, folder in folders.items():
        if not any(folder.is_relative_to(mount) for mount in volumes):
            mounts = ", ".join(volumes) or "none"
            raise UserError(
                f"{option}: '{folder}' is on no volume that the steps see: name a folder below one of these: {mounts}"
            )


def _set_resources(spec: Spec, settings: KubeflowSettings) -> None:
    known = sorted({kind_of(name) for name in _tasks(spec)})
    for section in ("resources", "placement"):
        for name in getattr(settings, section):
            if name not in known:
                raise UserError(
                    f"configuration: kubeflow.{section}: '{name}' is no component; there are {', '.join(known)}"
                )
    for label, executor in _executors(spec).items():
        if resources := settings.resources.get(kind_of(label.removesuffix("_executor"))):
            executor["container"]["resources"] = _resources(resources)


def _adapt_containers(spec: Spec, settings: KubeflowSettings) -> None:
    for label, executor in _executors(spec).items():
        if "container" not in executor:
            continue
        container, name = executor["container"], label.removesuffix("_executor")
        # The entry point runs the driver of ExampleGen; the backend does not know this hook.
        container.pop("lifecycle", None)
        container["command"] = [*ENTRY_POINT, f"--retries={settings.retries}", name]
    for name, task in _tasks(spec).items():
        if kind_of(name) == "ImportSchemaGen":
            # Where the package lies in the image, the entry point knows.
            task["inputs"]["parameters"]["schema_file"] = _constant(features.SCHEMA_FILE.name)


def _resources(of: Resources) -> Spec:
    found: Spec = {}
    for name, quantity in (("Cpu", of.cpu), ("Memory", of.memory)):
        if quantity is not None:
            found |= {f"resource{name}Request": quantity, f"resource{name}Limit": quantity}
    if of.gpus:
        found["accelerator"] = {"resourceType": of.gpu_type, "resourceCount": str(of.gpus)}
    return found


def _declare_parameters(spec: Spec, config: Config, parameters: list[RunParameter]) -> None:
    root = spec["root"].setdefault("inputDefinitions", {}).setdefault("parameters", {})
    for parameter in parameters:
        kind = {"parameterType": parameter.kind}
        root[parameter.name] = {
            **kind,
            "defaultValue": parameter.default(config),
            "description": parameter.description,
            "isOptional": True,
        }
        for name, task in _tasks(spec).items():
            if kind_of(name) in parameter.places:
                definitions = spec["components"][task["componentRef"]["name"]]["inputDefinitions"]
                definitions.setdefault("parameters", {})[parameter.name] = kind
                task["inputs"].setdefault("parameters", {})[parameter.name] = {
                    "componentInputParameter": parameter.name
                }


def _platform(spec: Spec, settings: KubeflowSettings) -> Spec:
    """For each executor, what the specification has no word for; as `kfp-kubernetes` defines it."""
    for_all: Spec = {}
    if settings.volumes:
        for_all["pvcMount"] = [
            {"mountPath": path, "pvcNameParameter": _constant(claim)} for path, claim in settings.volumes.items()
        ]
    as_volume = [secret for secret in settings.secrets if secret.mount_path]
    if as_volume:
        for_all["secretAsVolume"] = [
            {"secretNameParameter": _constant(secret.name), "mountPath": secret.mount_path} for secret in as_volume
        ]
    as_env = [secret for secret in settings.secrets if secret.env]
    if as_env:
        for_all["secretAsEnv"] = [
            {
                "secretNameParameter": _constant(secret.name),
                "keyToEnv": [{"secretKey": key, "envVar": variable} for key, variable in secret.env.items()],
            }
            for secret in as_env
        ]
    platform: Spec = {}
    for label in _executors(spec):
        kind = kind_of(label.removesuffix("_executor"))
        of_step = {**for_all, **_place(settings.placement.get(kind, Placement()))}
        if kind == "Trainer" and settings.shared_memory:
            shared = {"volumeName": "shared-memory", "mountPath": "/dev/shm", "medium": "Memory"}  # noqa: S108
            of_step["emptyDirMounts"] = [{**shared, "sizeLimit": settings.shared_memory}]
        if of_step:
            platform[label] = of_step
    return platform


def _place(placement: Placement) -> Spec:
    spec: Spec = {}
    if placement.node_selector:
        spec["nodeSelector"] = {"labels": placement.node_selector}
    if placement.tolerations:
        spec["tolerations"] = [toleration.model_dump(exclude_none=True) for toleration in placement.tolerations]
    return spec


def _constant(value: str) -> Spec:
    return {"runtimeValue": {"constant": value}}


def _graphs(spec: Spec) -> list[Spec]:
    """Return the tasks of the whole, and those of a graph within it."""
    return [one["dag"]["tasks"] for one in (spec["root"], *spec["components"].values()) if "dag" in one]


def _tasks(spec: Spec) -> Spec:
    """Return all tasks that are steps."""
    components = spec["components"]
    return {
        name: task
        for tasks in _graphs(spec)
        for name, task in tasks.items()
        if "dag" not in components[task["componentRef"]["name"]]
    }


def _executors(spec: Spec) -> Spec:
    executors: Spec = spec["deploymentSpec"]["executors"]
    return executors


def _inputs(task: Spec, kind: str) -> Iterator[Spec]:
    yield from task.get("inputs", {}).get(kind, {}).values()
