"""What the metadata store knows of the artifacts under a root, and what it is told of those that go.

The cache takes what an execution made where all of it is LIVE, and there: never what is MARKED_FOR_DELETION or DELETED.

Names of TFX's nodes and of their properties are repeated here, as in `pipeline.store`.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.gc.disk import measure
from pipeline.gc.picture import Step
from pipeline.root import ARTIFACTS_DIR
from pipeline.store import Node, local_time

Artifact = metadata_store_pb2.Artifact

_PUSHED: Final = ("pushed_model", "pushed_version")
_BASELINE: Final = ("model", "version")
"""The key of an output, and its property that names a version of the serving folder."""


class Lineage:
    """The artifacts of a store, and which execution made which of which."""

    def __init__(self, root: Path, store: metadata_store.MetadataStore) -> None:
        """Read it.

        Args:
            root: Of the runs; may lie elsewhere now than when they ran.
            store: The one under that root.
        """
        self._artifacts_dir = root / ARTIFACTS_DIR
        self._executions = {execution.id: execution for execution in store.get_executions()}
        self._artifacts = {artifact.id: artifact for artifact in store.get_artifacts()}
        events = sorted(store.get_events_by_execution_ids(self._executions), key=lambda event: event.execution_id)
        self._maker: dict[int, int] = {}
        # What is found in the cache is an output as well, of a later execution.
        for event in events:
            if event.type == metadata_store_pb2.Event.OUTPUT:
                self._maker.setdefault(event.artifact_id, event.execution_id)
        self._made: dict[int, list[metadata_store_pb2.Artifact]] = defaultdict(list)
        for artifact, execution in self._maker.items():
            self._made[execution].append(self._artifacts[artifact])
        self._takes: dict[int, set[int]] = defaultdict(set)
        for event in events:
            if event.type == metadata_store_pb2.Event.INPUT and event.artifact_id in self._maker:
                self._takes[event.execution_id].add(self._maker[event.artifact_id])

    def steps(self) -> dict[int, Step]:
        """Return what executions have made that is there, by execution."""
        there = (execution for execution in self._made if Artifact.LIVE in self._states(execution))
        return {execution: self._step(execution) for execution in there if not self._is_marked(execution)}

    def half_removed(self) -> tuple[Step, ...]:
        """Return what a clean-up that was cut off has marked."""
        return tuple(self._step(execution) for execution in self._made if self._is_marked(execution))

    def folders(self) -> set[Path]:
        """Return the folders of all artifacts that are there, or half removed."""
        there = (Artifact.LIVE, Artifact.MARKED_FOR_DELETION)
        folders = (self._folder(artifact) for artifact in self._artifacts.values() if artifact.state in there)
        return {folder for folder in folders if folder}

    def makers(self, nodes: Iterable[Node]) -> frozenset[int]:
        """Return the executions that made what nodes made, or found in the cache."""
        return frozenset(self._maker[artifact.id] for node in nodes for artifact in node.outputs.values())

    def _states(self, execution: int) -> set[int]:
        return {artifact.state for artifact in self._made[execution]}

    def _is_marked(self, execution: int) -> bool:
        return Artifact.MARKED_FOR_DELETION in self._states(execution)

    def _step(self, execution: int) -> Step:
        made = self._made[execution]
        folders = tuple(folder for folder in map(self._folder, made) if folder)
        return Step(
            name=f"{self._executions[execution].type.rpartition('.')[2]} {execution}",
            paths=folders,
            bytes=measure(*folders)[0],
            changed=local_time(self._executions[execution].last_update_time_since_epoch),
            artifacts=tuple(artifact.id for artifact in made),
            execution=execution,
            takes=frozenset(self._takes[execution]),
            pushed=_version(made, *_PUSHED),
            baseline=_version(made, *_BASELINE),
        )

    def _folder(self, artifact: metadata_store_pb2.Artifact) -> Path | None:
        """Return where an artifact lies, by the end of its address, since roots are moved; None if not among them."""
        node, key, execution = ("", "", "", *Path(artifact.uri).parts)[-3:]
        is_folder = execution.isdecimal() and ".." not in (node, key) and "" not in (node, key)
        return self._artifacts_dir / node / key / execution if is_folder else None


def _version(made: Iterable[metadata_store_pb2.Artifact], key: str, name: str) -> int | None:
    """Return the version of the serving folder that an output names, if there is such an output and it names one."""
    properties = [artifact.custom_properties for artifact in made if Path(artifact.uri).parent.name == key]
    values = [
        property_[name].int_value or property_[name].string_value for property_ in properties if name in property_
    ]
    return next((int(value) for value in values if value), None)


def mark(store: metadata_store.MetadataStore, artifacts: Iterable[int], state: int) -> None:
    """Set the state of artifacts, of all or of none.

    Args:
        store: Open for writing.
        artifacts: Their ids.
        state: The new one, of `Artifact.State`.
    """
    changed = store.get_artifacts_by_id(artifacts)
    for artifact in changed:
        artifact.state = state
    store.put_artifacts(changed)
