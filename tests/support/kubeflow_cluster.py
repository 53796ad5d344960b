"""Plays Kubeflow's driver and launcher for a compiled pipeline, with what is peculiar to the open-source ones.

    >>> cluster = Cluster(tmp_path, processes(tmp_path))
    >>> run = cluster.run(list(yaml.safe_load_all(Path("pipeline.yaml").read_text())), {"epochs": 2})
    >>> run["Trainer"].outputs["model"]["metadata"]

As in a cluster, a step sees the artifacts as files only while it runs: the launcher fetches its inputs from the store
before, and stores its outputs after it has ended well. Inputs come without types, an output `executor-logs` is added,
URIs are of an object store, no driver is run, and a cached task is recognised by inputs, image and command.
"""

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEME = "minio://"
Json = dict[str, Any]
Launch = Callable[[str, list[str]], "subprocess.CompletedProcess[str]"]
"""Runs a step's command line in what stands for its pod: component and command in, what became of it out."""


@dataclass(frozen=True)
class Done:
    """What became of a task.

    Attributes:
        cached: whether it was not run.
        attempts: how often it was run.
        outputs: name, uri and metadata of the artifact by key.
    """

    cached: bool
    attempts: int
    outputs: dict[str, Json]


class StepError(Exception):
    """A step ended with a code other than 0; the message is what it last wrote to standard error."""


class Cluster:
    """A cluster with an artifact store and a cache, which outlive a run."""

    def __init__(self, folder: Path, launch: Launch, mount: str | None = None) -> None:
        """Takes what to work with.

        Args:
            folder: for the store, and for the launcher's copies in the pod.
            launch: runs a command.
            mount: where the command sees those copies; by default where they are.
        """
        self.store, self.copies = folder / "store", folder / "minio"
        self._mount = mount or str(self.copies)
        self._launch = launch
        self._cache: dict[str, dict[str, Json]] = {}
        self._ids = iter(range(1, 1_000_000))

    def run(
        self, documents: list[Json], parameters: Mapping[str, Any], earlier: Mapping[str, Done] | None = None
    ) -> dict[str, Done]:
        """Runs a compiled pipeline.

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
        run_root = f"{SCHEME}mlpipeline/v2/artifacts/{spec['pipelineInfo']['name']}/{uuid.uuid4()}"
        done = dict(earlier or {})
        for name in _in_order(spec["root"]["dag"]["tasks"]):
            if name in done:
                continue
            task = spec["root"]["dag"]["tasks"][name]
            assert "triggerPolicy" not in task, "conditions are not played here"
            inputs = _inputs(task, values, done)
            container = spec["deploymentSpec"]["executors"][_component(spec, task)["executorLabel"]]["container"]
            key = json.dumps([inputs, container], sort_keys=True)
            if task.get("cachingOptions", {}).get("enableCache") and key in self._cache:
                done[name] = Done(cached=True, attempts=0, outputs=self._cache[key])
                continue
            retries = task.get("retryPolicy", {}).get("maxRetryCount", 0)
            done[name] = self._run_task(name, container, inputs, _outputs(spec, task, f"{run_root}/{name}"), retries)
            self._cache[key] = done[name].outputs
        return done

    def path(self, artifact: Json) -> Path:
        """Where the store has an artifact."""
        return self.store / artifact["uri"].removeprefix(SCHEME)

    def _run_task(self, name: str, container: Json, inputs: Json, outputs: Json, retries: int) -> Done:
        for attempt in range(1, retries + 2):
            shutil.rmtree(self.copies, ignore_errors=True)
            for artifacts in inputs["artifacts"].values():
                for artifact in artifacts["artifacts"]:
                    if self.path(artifact).exists():
                        shutil.copytree(self.path(artifact), self._copy(artifact["uri"]))
            output_file = outputs["outputFile"]
            self._copy(output_file).parent.mkdir(parents=True)
            seen = f"{self._mount}/{output_file.removeprefix(SCHEME)}"
            invocation = json.dumps({"inputs": inputs, "outputs": {**outputs, "outputFile": seen}})
            command = [
                *container["command"],
                *(argument.replace("{{$}}", invocation) for argument in container["args"]),
            ]
            ended = self._launch(name, command)
            if ended.returncode == 0:
                return Done(cached=False, attempts=attempt, outputs=self._publish(outputs))
        raise StepError((ended.stderr.strip().splitlines() or [f"code {ended.returncode}"])[-1])

    def _publish(self, outputs: Json) -> dict[str, Json]:
        written = json.loads(self._copy(outputs["outputFile"]).read_text()).get("artifacts", {})
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
                "metadata": {**stated.get("metadata", {}), "display_name": key, "store_session_info": "{}"},
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


def processes(folder: Path, kill: dict[str, Callable[[], bool]] | None = None) -> Launch:
    """Runs each step as a process on this machine, which sees the launcher's copies in the cluster's folder.

    Args:
        folder: of the cluster.
        kill: by component, when to kill it; once each.
    """
    program = (
        "import sys; from pipeline.kubeflow import entrypoint; "
        f"entrypoint._LOCAL_COPIES = {{{SCHEME!r}: {str(folder / 'minio')!r} + '/'}}; entrypoint.main(sys.argv[1:])"
    )

    def launch(component: str, command: list[str]) -> "subprocess.CompletedProcess[str]":
        python, *rest = command
        assert python == "python"
        if rest[:2] == ["-m", "pipeline.kubeflow.entrypoint"]:
            rest[:2] = ["-c", program]
        pipe = subprocess.PIPE
        with subprocess.Popen([sys.executable, *rest], stdout=pipe, stderr=pipe, text=True) as process:
            now = (kill or {}).pop(component, None)
            while now:
                try:
                    process.communicate(timeout=0.05)
                    raise AssertionError(f"{component} was over before it could be killed")
                except subprocess.TimeoutExpired:
                    if now():
                        process.kill()
                        break
            output, errors = process.communicate()
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    return launch


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
        parameters[name] = values[parameter["componentInputParameter"]] if constant is None else constant
    artifacts = {}
    for key, artifact in inputs.get("artifacts", {}).items():
        source = artifact["taskOutputArtifact"]
        artifacts[key] = {"artifacts": [done[source["producerTask"]].outputs[source["outputArtifactKey"]]]}
    return {"parameterValues": parameters, "artifacts": artifacts}


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
