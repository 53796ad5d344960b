"""Plays Kubeflow's driver and launcher for a compiled pipeline, with what is peculiar to the open-source ones.

    >>> cluster = Cluster(tmp_path, processes(tmp_path))
    >>> run = cluster.run(list(yaml.safe_load_all(Path("pipeline.yaml").read_text())), {"epochs": 2})
    >>> run["Trainer"].outputs["model"]["metadata"]

As in a cluster, a step sees the artifacts as files only while it runs: the launcher fetches its inputs from the store
before, and stores its outputs after it has ended well. Inputs come without types, an output `executor-logs` is added,
URIs are of an object store, no driver is run, metadata come back in other types, and which pods are replaced depends on
the release. Nothing is cached, since nothing is ever found.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

SCHEME = "minio://"
_CONDITION = re.compile(
    r"\(inputs\.artifacts\['(?P<key>[^']+)'\]\.artifacts\[0\]\.metadata\['(?P<name>\w+)'\] == (?P<number>[0-9.]+)\)"
)
_EXIT = "ALL_UPSTREAM_TASKS_COMPLETED"
_RUN_ID, _STATUS = "{{$.pipeline_job_uuid}}", "{{status}}"
"""Values beside the parameters: the run's id by its placeholder, and the state of the others for a last task."""
Json = dict[str, Any]
Launch = Callable[[str, list[str]], "subprocess.CompletedProcess[str] | None"]
"""Runs a step's command line in what stands for its pod: component and command in, what became of it out; None where
the pod vanished."""
Policy = Literal["OnFailure", "OnError"]
"""Argo's, for which pods get another one: those that failed (Kubeflow Pipelines 2.14 to 2.16) or vanished (2.17)."""
Moments = dict[str, Callable[[], bool]]
"""By component, when something is to happen to it; it happens once."""


@dataclass(frozen=True)
class Done:
    """What became of a task.

    Attributes:
        pods: how many it took.
        log: standard error of the last one.
        outputs: name, uri and metadata of the artifact by key.
    """

    pods: int
    log: str
    outputs: dict[str, Json]


class StepError(Exception):
    """A step ended badly; the message is what it last wrote to standard error, or what the launcher says."""


class Cluster:
    """A cluster with an artifact store, which outlives a run."""

    def __init__(self, folder: Path, launch: Launch, mount: str | None = None, policy: Policy = "OnError") -> None:
        """Takes what to work with.

        Args:
            folder: for the store, and for the launcher's copies in the pod.
            launch: runs a command.
            mount: where the command sees those copies; by default where they are.
            policy: of the installation.
        """
        self.store, self.copies = folder / "store", folder / "minio"
        self._mount = mount or str(self.copies)
        self._launch, self._policy = launch, policy
        self._ids = iter(range(1, 1_000_000))

    def run(
        self, documents: list[Json], parameters: Mapping[str, Any], earlier: Mapping[str, Done] | None = None
    ) -> dict[str, Done]:
        """Runs a compiled pipeline; what its conditions leave out is not among what is returned.

        Args:
            documents: of its YAML.
            parameters: of the run.
            earlier: what became of tasks that need not be run again.
        """
        spec = documents[0]
        assert spec["schemaVersion"] == "2.1.0", "the API server takes no other"
        declared = spec["root"]["inputDefinitions"]["parameters"]
        assert set(parameters) <= set(declared)
        values = {name: parameters.get(name, parameter.get("defaultValue")) for name, parameter in declared.items()}
        assert None not in values.values(), "the API server refuses a run without a value for each parameter"
        run_id = str(uuid.uuid4())
        done = dict(earlier or {})
        self._run_graph(spec, spec["root"]["dag"]["tasks"], {**values, _RUN_ID: run_id}, done)
        return done

    def _run_graph(self, spec: Json, tasks: Json, values: Json, done: dict[str, Done]) -> None:
        """Runs tasks, and adds what became of them."""
        exits = [name for name, task in tasks.items() if task.get("triggerPolicy", {}).get("strategy") == _EXIT]
        for name in _in_order({name: task for name, task in tasks.items() if name not in exits}):
            task = tasks[name]
            if "dag" not in _component(spec, task):
                self._run_step(spec, name, task, values, done)
                continue
            state = "FAILED"
            try:
                self._run_inner(spec, task, values, done)
                state = "COMPLETE"
            finally:
                for last in exits:
                    assert tasks[last]["dependentTasks"] == [name], "a last task is a hook of one other"
                    self._run_step(spec, last, tasks[last], {**values, _STATUS: {"state": state}}, done)

    def _run_inner(self, spec: Json, task: Json, values: Json, done: dict[str, Done]) -> None:
        component = _component(spec, task)
        given = _inputs(task, values, done)["parameterValues"]
        assert set(given) == set(component["inputDefinitions"]["parameters"])
        self._run_graph(spec, component["dag"]["tasks"], {**given, _RUN_ID: values[_RUN_ID]}, done)

    def _run_step(self, spec: Json, name: str, task: Json, values: Json, done: dict[str, Done]) -> None:
        waits_for = set() if _STATUS in values else set(task.get("dependentTasks", []))
        if name in done or not waits_for <= set(done):
            return  # Argo leaves out what comes after a task that is left out
        inputs = _inputs(task, values, done)
        if not _is_met(task.get("triggerPolicy", {}).get("condition"), inputs):
            return
        assert set(inputs["parameterValues"]) <= set(_component(spec, task)["inputDefinitions"]["parameters"])
        container = spec["deploymentSpec"]["executors"][_component(spec, task)["executorLabel"]]["container"]
        run_root = f"{SCHEME}mlpipeline/v2/artifacts/{spec['pipelineInfo']['name']}/{values[_RUN_ID]}"
        outputs = _outputs(spec, task, f"{run_root}/{name}")
        done[name] = self._run_task(name, container, inputs, outputs, task.get("retryPolicy", {}))

    def path(self, artifact: Json) -> Path:
        """Where the store has an artifact."""
        return self.store / artifact["uri"].removeprefix(SCHEME)

    def _run_task(self, name: str, container: Json, inputs: Json, outputs: Json, retry: Json) -> Done:
        # Counted from the start of the first pod; where none is named, it is over at once.
        deadline = time.monotonic() + float(retry.get("backoffMaxDuration", "0s").removesuffix("s"))
        for pod in range(1, retry.get("maxRetryCount", 0) + 2):
            ended = self._run_pod(name, container, inputs, outputs)
            if ended and ended.returncode == 0:
                return Done(pods=pod, log=ended.stderr, outputs=self._publish(outputs))
            if self._policy != ("OnFailure" if ended else "OnError") or time.monotonic() >= deadline:
                break
        raise StepError((ended.stderr.strip().splitlines() or ["it said nothing"])[-1] if ended else "its pod vanished")

    def _run_pod(
        self, name: str, container: Json, inputs: Json, outputs: Json
    ) -> "subprocess.CompletedProcess[str] | None":
        shutil.rmtree(self.copies, ignore_errors=True)
        for artifacts in inputs["artifacts"].values():
            for artifact in artifacts["artifacts"]:
                if not artifact["uri"].startswith(("gs://", "s3://", "minio://")):
                    raise StepError(f"unrecognized uri format: {artifact['uri']}")
                if self.path(artifact).exists():
                    shutil.copytree(self.path(artifact), self._copy(artifact["uri"]))
        output_file = outputs["outputFile"]
        self._copy(output_file).parent.mkdir(parents=True)
        seen = f"{self._mount}/{output_file.removeprefix(SCHEME)}"
        invocation = json.dumps({"inputs": inputs, "outputs": {**outputs, "outputFile": seen}})
        arguments = (argument.replace("{{$}}", invocation) for argument in container["args"])
        return self._launch(name, [*container["command"], *arguments])

    def _publish(self, outputs: Json) -> dict[str, Json]:
        file = self._copy(outputs["outputFile"])
        written = json.loads(file.read_text()).get("artifacts", {}) if file.exists() else {}
        published = {}
        for key, artifacts in outputs["artifacts"].items():
            if key == "executor-logs":
                continue
            (artifact,) = artifacts["artifacts"]
            (stated,) = written[key]["artifacts"]
            published[key] = {
                "name": str(next(self._ids)),
                "uri": stated.get("uri", artifact["uri"]),
                "type": {"instanceSchema": ""},
                "metadata": {
                    **{name: _given_back(value) for name, value in stated.get("metadata", {}).items()},
                    "display_name": key,
                    "store_session_info": "{}",
                },
            }
            self._store(self._copy(artifact["uri"]), self.path(published[key]))
        return published

    @staticmethod
    def _store(source: Path, target: Path) -> None:
        """An object store keeps files; it knows no empty folders."""
        for file in source.rglob("*"):
            if file.is_file():
                (target / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target / file.relative_to(source))

    def _copy(self, uri: str) -> Path:
        """Where the launcher puts what lies at a URI."""
        return self.copies / uri.removeprefix(SCHEME)


def processes(folder: Path, fail: Moments | None = None, vanish: Moments | None = None, step: str = "") -> Launch:
    """Runs each pod as processes on this machine, which see the launcher's copies in the cluster's folder.

    Args:
        folder: of the cluster.
        fail: when to kill the process that does a step's work.
        vanish: when to kill all that runs in a step's pod.
        step: a program that does the work in the place of a step.
    """
    step = step or (
        "import sys; from pipeline.kubeflow import step; "
        f"step._LOCAL_COPIES = {{{SCHEME!r}: {str(folder / 'minio')!r} + '/'}}; step.main(sys.argv[1:])"
    )
    program = (
        f"import sys; from pipeline.kubeflow import entrypoint; entrypoint._STEP = ('-c', {step!r}); "
        "entrypoint._FIRST_PAUSE = 0.0; sys.exit(entrypoint.main(sys.argv[1:]))"
    )

    def launch(component: str, command: list[str]) -> "subprocess.CompletedProcess[str] | None":
        python, *rest = command
        assert python == "python"
        if rest[:2] == ["-m", "pipeline.kubeflow.entrypoint"]:
            rest[:2] = ["-c", program]
        pipe, vanishes = subprocess.PIPE, component in (vanish or {})
        arguments = [sys.executable, *rest]
        with subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
            if now := (fail or {}).pop(component, None):
                _wait(process, now)
                os.kill(_child(process), signal.SIGKILL)
            if now := (vanish or {}).pop(component, None):
                _wait(process, now)
                groups = (process.pid, _child(process))  # the first would start the second again
                for group in groups:
                    os.killpg(group, signal.SIGKILL)
            output, errors = process.communicate()
        return None if vanishes else subprocess.CompletedProcess(command, process.returncode, output, errors)

    return launch


def _wait(process: "subprocess.Popen[str]", now: Callable[[], bool]) -> None:
    while not now():
        try:
            process.communicate(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError("the pod was over before anything could happen to it")


def _child(process: "subprocess.Popen[str]") -> int:
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


def _given_back(value: Any) -> Any:
    """A value of metadata as the store gives it back."""
    assert value is not None, "the store refuses null, after the work is done"
    if isinstance(value, list | dict):
        return {"list" if isinstance(value, list) else "struct": value}
    return float(value) if isinstance(value, int) else value


def _component(spec: Json, task: Json) -> Json:
    component: Json = spec["components"][task["componentRef"]["name"]]
    return component


def _in_order(tasks: Json) -> Iterator[str]:
    left = dict(tasks)
    while left:
        ready = [name for name, task in left.items() if not set(task.get("dependentTasks", [])) & set(left)]
        assert ready, f"a cycle among {', '.join(left)}"
        for name in ready:
            del left[name]
            yield name


def _inputs(task: Json, values: Mapping[str, Any], done: Mapping[str, Done]) -> Json:
    inputs = task.get("inputs", {})
    parameters = {}
    for name, parameter in inputs.get("parameters", {}).items():
        constant = parameter.get("runtimeValue", {}).get("constant")
        if "taskFinalStatus" in parameter:
            parameters[name] = values[_STATUS]
        elif constant is None:
            parameters[name] = values[parameter["componentInputParameter"]]
        else:
            parameters[name] = values[_RUN_ID] if constant == _RUN_ID else constant
    artifacts = {}
    for key, artifact in inputs.get("artifacts", {}).items():
        source = artifact["taskOutputArtifact"]
        artifacts[key] = {"artifacts": [done[source["producerTask"]].outputs[source["outputArtifactKey"]]]}
    return {"parameterValues": parameters, "artifacts": artifacts}


def _is_met(condition: str | None, inputs: Json) -> bool:
    """What Kubeflow's driver makes of a condition, after it has found the inputs; numbers are doubles there."""
    if condition is None:
        return True
    known = _CONDITION.fullmatch(condition)
    assert known, f"conditions of another form are not played here: {condition}"
    (artifact,) = inputs["artifacts"][known["key"]]["artifacts"]
    return bool(artifact["metadata"][known["name"]] == float(known["number"]))


def _outputs(spec: Json, task: Json, root: str) -> Json:
    folder = f"{root}/{uuid.uuid4()}"
    declared = _component(spec, task).get("outputDefinitions", {}).get("artifacts", {})
    types = {key: artifact["artifactType"] for key, artifact in declared.items()}
    types["executor-logs"] = {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}
    return {
        "artifacts": {
            key: {"artifacts": [{"name": key, "uri": f"{folder}/{key}", "type": of_type, "metadata": {}}]}
            for key, of_type in types.items()
        },
        "outputFile": f"{folder}/output_metadata.json",
    }
