"""One attempt at a step, as `pipeline.kubeflow.entrypoint` starts it: `python -m pipeline.kubeflow.step COMPONENT ...`.

TFX's own entry point is made for another product, and fails on open-source Kubeflow Pipelines in each step. This one
takes its place:

    1  Kubeflow adds an output `executor-logs`, of a type that TFX does not know       it is dropped
    2  inputs come without their types                                                 taken from what was compiled
    3  URIs are of object stores that neither TensorFlow nor Beam can open             mapped to the launcher's copies
    4  nobody runs the driver of ExampleGen, which resolves the span                   it is run here
    5  TFX overwrites what the driver found, and the span is lost                      it is merged
    6  there is no way to hand on "no artifact"                                        one marked as absent is dropped
    7  the run's parameters cannot reach into JSON                                     `pipeline.kubeflow.parameters`
    8  a path of the machine that compiled means nothing here                          the schema is this package's own
    9  what a step's condition looks at comes as an input                              it is dropped
   10  an input takes one artifact; some of a study take several                       those of one name are joined

It uses parts of TFX that are not meant for others, so it runs with one version of TFX alone, and says so otherwise.

Its exit code tells why it failed, as that of `lungseg` does: 2, what it was given is wrong, and 3, its data are over a
limit, which would both come again; 143, it was told to stop; 1, anything else.
"""

import argparse
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from importlib import metadata
from typing import Any, Final, NoReturn

from tfx import types
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.components.example_gen import base_example_gen_executor
from tfx.dsl.components.base import base_beam_executor, base_executor
from tfx.dsl.io import fileio
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as tfx_utils
from tfx.orchestration.kubeflow.v2.file_based_example_gen import driver
from tfx.utils import import_utils

from components.artifacts import SECONDS
from components.data_gate.errors import DataError
from components.example_gen import executor
from components.example_gen.driver import check_spans
from pipeline.errors import FAILED, NOT_BLESSED, WRONG_INPUT, ComponentError, UserError, worker_deaths_raised
from pipeline.kubeflow.parameters import apply_parameters
from pipeline.kubeflow.settings import kind_of
from pipeline.kubeflow.telling import RUN_ID, TOLD, telling_of
from schema import features

TFX_VERSION: Final = "1.21.0"
"""The one whose internals this module was written for."""

_LOCAL_COPIES: Final = {"minio://": "/minio/", "s3://": "/s3/", "gs://": "/gcs/"}
"""Where Kubeflow's launcher puts what lies in an object store, and takes it from."""
_LOGS: Final = "executor-logs"
_ABSENT: Final = "absent"
_OF_CONDITION: Final = "_"
"""What TFX begins the names of inputs with that only a condition takes."""
ONE_OF_SEVERAL: Final = "."
"""What is compiled between the name of an input that takes several artifacts and the number of one."""

ExecutorInput = pipeline_spec_pb2.ExecutorInput
Artifacts = dict[str, list[types.Artifact]]


class Step:
    """One step of a run: what Kubeflow's launcher hands over, and what it takes back."""

    def __init__(self, component: str, executor_class: str, invocation: str, inputs_spec: str) -> None:
        """Read what Kubeflow hands over.

        Args:
            component: Id of the step.
            executor_class: Path of the executor's class.
            invocation: Kubeflow's ExecutorInput, JSON.
            inputs_spec: The component's inputs as compiled (ComponentInputsSpec), JSON.
        """
        self.component = component
        self._executor_class = import_utils.import_class_by_path(executor_class)
        self._input = json_format.Parse(invocation, ExecutorInput(), ignore_unknown_fields=True)
        self._spec = json_format.Parse(inputs_spec, pipeline_spec_pb2.ComponentInputsSpec(), ignore_unknown_fields=True)
        self._output_file = local_path(self._input.outputs.output_file)
        self._input.outputs.output_file = self._output_file
        self._temporary = os.path.join(os.path.dirname(self._output_file), ".temp")
        self._remote: dict[str, str] = {}
        self._mend_inputs()
        self._mend_outputs()
        self._mend_parameters()

    def run(self, beam_args: list[str]) -> tuple[Artifacts, Artifacts]:
        """Run the executor and write what came of it for the launcher; return inputs and outputs."""
        if issubclass(self._executor_class, base_example_gen_executor.BaseExampleGenExecutor):
            self._run_driver()
        names: dict[int, str] = {}
        inputs = tfx_utils.parse_raw_artifact_dict(self._input.inputs.artifacts, names)
        outputs = tfx_utils.parse_raw_artifact_dict(self._input.outputs.artifacts, names)
        properties = tfx_utils.parse_execution_properties(self._input.inputs.parameter_values, {}, self._spec)
        start = time.monotonic()
        self._executor(beam_args).Do(inputs, outputs, properties)
        self._write(outputs, names, time.monotonic() - start)
        return inputs, outputs

    def _mend_inputs(self) -> None:
        given, mended = self._input.inputs.artifacts, ExecutorInput.Inputs().artifacts
        for key in sorted(key for key in given if not key.startswith(_OF_CONDITION)):
            of_name = mended[key.partition(ONE_OF_SEVERAL)[0]].artifacts
            for artifact in given[key].artifacts:
                if not dict(artifact.metadata).get(_ABSENT):
                    there = of_name.add()
                    there.CopyFrom(artifact)
                    there.type.CopyFrom(self._spec.artifacts[key].artifact_type)
                    there.uri = local_path(artifact.uri)
        given.clear()
        given.MergeFrom(mended)

    def _mend_outputs(self) -> None:
        if _LOGS in self._input.outputs.artifacts:
            del self._input.outputs.artifacts[_LOGS]
        for artifacts in self._input.outputs.artifacts.values():
            for artifact in artifacts.artifacts:
                path = local_path(artifact.uri)
                self._remote[path] = artifact.uri
                artifact.uri = path
                _empty(path)
        _empty(self._temporary)

    def _mend_parameters(self) -> None:
        values = self._input.inputs.parameter_values
        properties = json_format.MessageToDict(self._input.inputs)["parameterValues"] if values else {}
        for name in (RUN_ID, TOLD):  # of the run, and none of the component's
            properties.pop(name, None)
        kind = kind_of(self.component)
        apply_parameters(kind, properties)
        if kind == "ImportSchemaGen":
            properties["schema_file"] = str(features.SCHEMA_FILE)
        values.clear()
        for name, value in properties.items():
            json_format.ParseDict(value, values[name])

    def _run_driver(self) -> None:
        """Have TFX resolve span, version and fingerprint, and hand them on to the executor and its output."""
        values = self._input.inputs.parameter_values
        if issubclass(self._executor_class, executor.Executor):
            check_spans(tfx_utils.parse_execution_properties(values, {}, self._spec))
        fileio.makedirs(os.path.dirname(self._output_file))
        driver._run_driver(self._input, self._spec)
        with fileio.open(self._output_file, "rb") as file:
            found = json_format.Parse(file.read(), pipeline_spec_pb2.ExecutorOutput(), ignore_unknown_fields=True)
        for name, value in found.parameter_values.items():
            values[name].CopyFrom(value)
        for key, artifacts in found.artifacts.items():
            for artifact, resolved in zip(
                self._input.outputs.artifacts[key].artifacts, artifacts.artifacts, strict=True
            ):
                artifact.metadata.MergeFrom(resolved.metadata)
        fileio.remove(self._output_file)

    def _executor(self, beam_args: list[str]) -> base_executor.BaseExecutor:
        of_task = os.path.basename(os.path.dirname(self._output_file))
        context: dict[str, Any] = {"unique_id": of_task, "tmp_dir": self._temporary}
        if issubclass(self._executor_class, base_beam_executor.BaseBeamExecutor):
            beam = base_beam_executor.BaseBeamExecutor.Context(beam_pipeline_args=beam_args, **context)
            return self._executor_class(beam)
        return self._executor_class(base_executor.BaseExecutor.Context(extra_flags=beam_args, **context))

    def _write(self, outputs: Artifacts, names: dict[int, str], seconds: float) -> None:
        """Write what came of the step; the launcher reads it after the process has ended well."""
        written = pipeline_spec_pb2.ExecutorOutput()
        for key, artifacts in self._input.outputs.artifacts.items():
            for handed in artifacts.artifacts:
                made = next(iter(outputs[key]), None)
                if made is None:
                    fileio.makedirs(handed.uri)  # for the launcher to find
                    told = pipeline_spec_pb2.RuntimeArtifact(name=handed.name, uri=self._remote[handed.uri])
                    told.metadata[_ABSENT] = 1
                else:
                    made.set_float_custom_property(SECONDS, seconds)
                    told = tfx_utils.to_runtime_artifact(made, names)
                    told.uri = self._remote_uri(key, made.uri)
                written.artifacts[key].artifacts.append(told)
        fileio.makedirs(os.path.dirname(self._output_file))
        with fileio.open(self._output_file, "wb") as file:
            file.write(json_format.MessageToJson(written).encode())

    def _remote_uri(self, key: str, uri: str) -> str:
        """Return where Kubeflow will have an output; with any other URI, the step that takes it would not start."""
        if uri not in self._remote:
            raise ValueError(f"its output '{key}' is at '{uri}', which Kubeflow cannot hand on: leave its uri as given")
        return self._remote[uri]


def local_path(uri: str) -> str:
    """Where Kubeflow's launcher has its copy of what lies at a URI; a path stays as it is."""
    for scheme, folder in _LOCAL_COPIES.items():
        if uri.startswith(scheme):
            return folder + uri.removeprefix(scheme)
    return uri


def _empty(folder: str) -> None:
    """Make a folder; what an earlier attempt has left in it is no part of this one."""
    if fileio.exists(folder):
        fileio.rmtree(folder)
    fileio.makedirs(folder)


def check_tfx(version: str) -> None:
    """Raise UserError where TFX is not the one that this module was written for."""
    if version != TFX_VERSION:
        raise UserError(
            f"TFX {version} is installed, but Kubeflow's entry point was written for {TFX_VERSION}: install that, or "
            "read pipeline/kubeflow/step.py against the new one, run the tests of Kubeflow, and change the number"
        )


def main(arguments: Sequence[str]) -> None:
    """Run a step once.

    Args:
        arguments: The component's id, then the flags that TFX compiles into a step; what is left is Beam's.
    """
    given, beam_args = _parse(arguments)
    # Beam reads the process's arguments as options of its own.
    del sys.argv[1:]
    # TFX has given the root logger a handler by now, which would keep what a training tells of itself out of the log.
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", force=True)
    logging.getLogger("lungseg").setLevel(logging.INFO)
    telling = telling_of(given.component, given.json_serialized_invocation_args)

    def stop(*_: object) -> None:
        if telling:
            telling.stop()
        stopped = InterruptedError("it was told to stop (SIGTERM)")
        _end(ComponentError(given.component, stopped), 128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    try:
        check_tfx(metadata.version("tfx"))
        if telling:
            telling.begin()
        step = Step(
            given.component,
            given.executor_class_path,
            given.json_serialized_invocation_args,
            given.json_serialized_inputs_spec_args,
        )
        with worker_deaths_raised():
            inputs, outputs = step.run(beam_args)
        if telling:
            telling.end(inputs, outputs)
    except Exception as error:
        traceback.print_exc()
        failure = ComponentError(given.component, error)
        failure.__cause__ = error
        if telling:
            telling.fail(failure)
        _end(failure, _code(error))


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("component")
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", default="{}")
    return parser.parse_known_args(arguments)


def _code(error: Exception) -> int:
    if isinstance(error, UserError):
        return WRONG_INPUT
    return NOT_BLESSED if isinstance(error, DataError) else FAILED


def _end(error: ComponentError, code: int) -> NoReturn:
    """End the process at once, with the cause in its last line; threads of Beam or TensorFlow are not waited for."""
    print(f"lungseg: {error}", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
