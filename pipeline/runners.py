"""Runs the graph on this machine with one of TFX's runners, telling of each component as it starts and ends."""

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol

from tfx import types
from apache_beam.options.pipeline_options import StandardOptions
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import constants
from tfx.orchestration import metadata
from tfx.orchestration.beam import beam_dag_runner
from tfx.orchestration.local import local_dag_runner
from tfx.orchestration.portable import runtime_parameter_utils, tfx_runner
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.proto.orchestration import pipeline_pb2

from components.artifacts import SECONDS
from components.change_detector.executor import UNCHANGED
from pipeline.beam.settings import DIRECT
from pipeline.errors import ComponentError, worker_deaths_raised
from pipeline.root import METADATA_FILE


@dataclass(frozen=True)
class ComponentRun:
    """What became of one component."""

    id: str
    seconds: float
    cached: bool
    outputs: dict[str, list[types.Artifact]]

    @property
    def unchanged(self) -> bool:
        """Whether it found that nothing has changed, so that nothing behind it is needed."""
        made = [artifact for artifacts in self.outputs.values() for artifact in artifacts]
        return any(artifact.get_int_custom_property(UNCHANGED) == 1 for artifact in made)


class Observer(Protocol):
    """Who is told."""

    def started(self, component_id: str) -> None:
        """Hear that a component starts, or is looked up in the cache."""

    def ended(self, run: ComponentRun) -> None:
        """Hear that a component has succeeded."""


class Runner(tfx_runner.IrBasedRunner):
    """What the runners share: the metadata store, the list of what ran, and whom to tell."""

    def __init__(self, root: Path, observer: Observer) -> None:
        """Take the run's root, for the metadata store, and whom to tell."""
        super().__init__()
        self.connection = metadata.sqlite_metadata_connection_config(str(root / METADATA_FILE))
        self.runs: list[ComponentRun] = []
        self._observer = observer

    def observe(self, component_id: str, run_id: str, launch: Callable[[], None]) -> None:
        """Launch a component and tell of it; do nothing after one that found nothing changed.

        Raises:
            ComponentError: It failed.
        """
        if any(run.unchanged for run in self.runs):
            return
        self._observer.started(component_id)
        start = time.monotonic()
        try:
            with worker_deaths_raised():
                launch()
            run = self._record(component_id, run_id, time.monotonic() - start)
        except Exception as error:
            raise ComponentError(component_id, error) from error
        self.runs.append(run)
        self._observer.ended(run)

    def _record(self, component_id: str, run_id: str, seconds: float) -> ComponentRun:
        """Return what the newest execution of this run gave; what it made itself bears the time it took."""
        with metadata.Metadata(self.connection) as handle:
            context = handle.store.get_context_by_type_and_name(constants.PIPELINE_RUN_CONTEXT_TYPE_NAME, run_id)
            execution = max(handle.store.get_executions_by_context(context.id), key=lambda execution: execution.id)
            outputs = dict(execution_lib.get_output_artifacts(handle, execution.id))
            cached = execution.last_known_state == metadata_store_pb2.Execution.CACHED
            if not cached:
                made = [artifact for artifacts in outputs.values() for artifact in artifacts]
                for artifact in made:
                    artifact.set_float_custom_property(SECONDS, seconds)
                handle.store.put_artifacts([artifact.mlmd_artifact for artifact in made])
        return ComponentRun(component_id, seconds, cached, outputs)


class LocalRunner(Runner, local_dag_runner.LocalDagRunner):
    """LocalDagRunner that runs one component at a time and reports it."""

    def run_with_ir(self, pipeline: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None) -> None:
        """Run the compiled pipeline.

        Raises:
            ComponentError: A component failed.
        """
        run_id = _begin(pipeline)
        run = super().run_with_ir
        for node in pipeline.nodes:
            component_id = node.pipeline_node.node_info.id
            self.observe(component_id, run_id, partial(run, _only(pipeline, component_id), run_options))


class BeamRunner(Runner):
    """BeamDagRunner that reports each component.

    The graph is a Beam pipeline itself, in which a component starts once those are done that it depends on. The
    runner for one machine takes them one after another.
    """

    def run_with_ir(self, pipeline: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None) -> None:
        """Run the compiled pipeline.

        Raises:
            ComponentError: A component failed.
        """
        _ObservedNode.runner, _ObservedNode.run_id, _ObservedNode.failure = self, _begin(pipeline), None
        # TFX makes a Beam pipeline of the graph without options, to which Beam's default applies.
        default, StandardOptions.DEFAULT_RUNNER = StandardOptions.DEFAULT_RUNNER, DIRECT
        try:
            _ObservingBeamDagRunner().run_with_ir(pipeline, run_options)
        except Exception:
            if _ObservedNode.failure:  # Beam hides it in an error of its own
                raise _ObservedNode.failure from _ObservedNode.failure.__cause__
            raise
        finally:
            StandardOptions.DEFAULT_RUNNER = default


class _ObservedNode(beam_dag_runner.PipelineNodeAsDoFn):
    """Beam pickles it, but runs it in this process, where its class is the same."""

    runner: ClassVar[BeamRunner]
    run_id: ClassVar[str]
    failure: ClassVar[ComponentError | None]

    def _run_node(self) -> None:
        try:
            self.runner.observe(self._node_id, self.run_id, super()._run_node)
        except ComponentError as error:
            type(self).failure = error
            raise


class _ObservingBeamDagRunner(beam_dag_runner.BeamDagRunner):
    _PIPELINE_NODE_DO_FN_CLS = _ObservedNode


def _begin(pipeline: pipeline_pb2.Pipeline) -> str:
    """Give the run an id of its own."""
    run_id = datetime.datetime.now(tz=datetime.timezone.utc).isoformat()
    runtime_parameter_utils.substitute_runtime_parameter(pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
    return run_id


def _only(pipeline: pipeline_pb2.Pipeline, component_id: str) -> pipeline_pb2.Pipeline:
    """Return a copy of the pipeline in which all other components are skipped."""
    copy = pipeline_pb2.Pipeline()
    copy.CopyFrom(pipeline)
    for node in copy.nodes:
        if node.pipeline_node.node_info.id != component_id:
            node.pipeline_node.execution_options.skip.SetInParent()
    return copy
