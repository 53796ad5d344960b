"""The metadata store under a root: what TFX recorded of each run, for `lungseg history` and `lungseg gc`.

    >>> with open_store(root) as store:
    ...     runs = read_runs(store)

Names of TFX's nodes and contexts are repeated here: importing what wrote them takes TFX, a quarter of a minute.
"""

import datetime
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ml_metadata import errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.errors import UserError
from pipeline.root import METADATA_FILE

_NODE_CONTEXT: Final = "node"
_RUN_CONTEXT: Final = "pipeline_run"

_ROUND_REASON = re.compile(r"^Error when executing query: |\s+query: .*|\. .*", re.DOTALL)
"""What MLMD puts around a reason: the statement that failed, or advice on migration."""

_CUT_OFF: Final = "attempt to write a readonly database"
"""What MLMD says of a store that a killed run was writing, or making, where it may only be read."""
_LOCKED: Final = "Concurrent writes aborted"
"""What MLMD says, after most of a minute, of a store that something else has locked."""


@dataclass(frozen=True)
class Node:
    """What one component did in one run; the artifacts that it made, or found in the cache, by key."""

    id: str
    pipeline: str
    state: int
    outputs: dict[str, metadata_store_pb2.Artifact]


def has_store(root: Path) -> bool:
    """Tell whether there is a store under a root; a run that was killed at once leaves an empty file."""
    store = root / METADATA_FILE
    return store.is_file() and store.stat().st_size > 0


@contextmanager
def open_store(root: Path, *, writes: bool = False) -> Iterator[metadata_store.MetadataStore]:
    """Open the store under a root, which has one.

    Args:
        root: What was given to `lungseg run` or `lungseg study`.
        writes: Whether it may be changed.

    Raises:
        UserError: It cannot be read, here or within the block.
    """
    try:
        yield _connect(root / METADATA_FILE, writes)
    except (RuntimeError, errors.StatusError) as error:
        reason = _ROUND_REASON.sub("", str(error))
        advice = "use the version of lungseg that wrote it, or another root"
        if reason.startswith(_LOCKED):
            reason, advice = "another program has locked it", "start again when that has ended"
        raise UserError(f"'{root / METADATA_FILE}' cannot be read: {reason}; {advice}") from error


def _connect(store: Path, writes: bool) -> metadata_store.MetadataStore:
    config, modes = metadata_store_pb2.ConnectionConfig(), metadata_store_pb2.SqliteMetadataSourceConfig
    config.sqlite.filename_uri = str(store)
    config.sqlite.connection_mode = modes.READWRITE if writes else modes.READONLY
    try:
        return metadata_store.MetadataStore(config)
    except RuntimeError as error:
        if writes or _CUT_OFF not in str(error) or not _is_ours(store):
            raise
        return _connect(store, writes=True)  # which completes the tables


def _is_ours(store: Path) -> bool:
    """Tell whether a database is MLMD's or empty yet. To look at it undoes what a killed process had begun to write."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(store)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return not tables or "MLMDEnv" in tables
    return False


def read_runs(store: metadata_store.MetadataStore) -> list[tuple[datetime.datetime, list[Node]]]:
    """Return when each run started, in local time, and its nodes; the oldest run first."""
    contexts = sorted(store.get_contexts_by_type(_RUN_CONTEXT), key=lambda context: context.create_time_since_epoch)
    executions = [[run.id for run in store.get_executions_by_context(context.id)] for context in contexts]
    nodes = _read_nodes(store)  # the last to be read, so that none is missing where a run goes on
    return [
        (local_time(context.create_time_since_epoch), [nodes[id_] for id_ in ids])
        for context, ids in zip(contexts, executions, strict=True)
    ]


def local_time(milliseconds: int) -> datetime.datetime:
    """Return a time of the store, milliseconds since 1970, as local time with its offset."""
    return datetime.datetime.fromtimestamp(milliseconds / 1000).astimezone()


def _read_nodes(store: metadata_store.MetadataStore) -> dict[int, Node]:
    """All executions by id, in few calls."""
    executions = {
        execution.id: (context.name.rpartition("."), execution.last_known_state)
        for context in store.get_contexts_by_type(_NODE_CONTEXT)
        for execution in store.get_executions_by_context(context.id)
    }
    outputs = _read_outputs(store, executions)
    return {id_: Node(node, pipeline, state, outputs[id_]) for id_, ((pipeline, _, node), state) in executions.items()}


def _read_outputs(
    store: metadata_store.MetadataStore, executions: Iterable[int]
) -> dict[int, dict[str, metadata_store_pb2.Artifact]]:
    """Read the artifacts of each execution by key, without those that it failed to make."""
    all_events = store.get_events_by_execution_ids(executions)
    events = [event for event in all_events if event.type == metadata_store_pb2.Event.OUTPUT]
    artifacts = {
        artifact.id: artifact for artifact in store.get_artifacts_by_id({event.artifact_id for event in events})
    }
    outputs: dict[int, dict[str, metadata_store_pb2.Artifact]] = defaultdict(dict)
    for event in events:
        outputs[event.execution_id][event.path.steps[0].key] = artifacts[event.artifact_id]
    return outputs
