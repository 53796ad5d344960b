"""Puts the picture of a root together, from its store, its serving folder and what lies on disk."""

from pathlib import Path
from typing import Final

from modules.serving.serving_dir import standings
from pipeline.commands.history import Run, Status, describe
from pipeline.errors import UserError
from pipeline.gc.disk import find_leftovers
from pipeline.gc.lineage import Lineage
from pipeline.gc.picture import PastRun, Picture
from pipeline.root import ARTIFACTS_DIR, CHECKPOINTS_DIR, METADATA_FILE, SERVING_DIR
from pipeline.store import has_store, open_store, read_runs

_WORDS: Final[dict[Status, str]] = {
    "not_blessed": "not blessed",
    "unchanged": "which found nothing new",
    "done": "a study",
    "failed": "which failed",
    "unfinished": "which was cut off",
}
_COMPLETE: Final = frozenset({"blessed", "not_blessed", "done"})


def check_is_root(root: Path) -> None:
    """Raise UserError where a folder is not the root of runs, or has lost the store that tells what is needed there."""
    if not root.is_dir():
        raise UserError(f"'{root}' does not exist: name the root of runs with --root")
    if has_store(root):
        return
    if (root / ARTIFACTS_DIR).exists():
        raise UserError(
            f"'{root}' has {ARTIFACTS_DIR}/ but no {METADATA_FILE}, which tells what is needed: put it back, or remove "
            "by hand what can go"
        )
    if not (root / CHECKPOINTS_DIR).is_dir() and not (root / SERVING_DIR).is_dir():
        raise UserError(
            f"'{root}' is no root of runs: it holds no {METADATA_FILE}, no {CHECKPOINTS_DIR}/ and no {SERVING_DIR}/; "
            "name one with --root"
        )


def read_picture(root: Path) -> Picture:
    """Read what lies under a root, on which no run is under way. Change nothing there.

    Args:
        root: Of runs, or the volume of a cluster, which has a serving folder and checkpoints alone.

    Raises:
        UserError: The store cannot be read, or the serving folder's pointer is damaged.
    """
    try:
        versions = standings(root / SERVING_DIR)
    except ValueError as error:
        raise UserError(str(error)) from error
    if not has_store(root):
        return Picture(versions=versions, leftovers=tuple(find_leftovers(root, ())))
    with open_store(root) as store:
        lineage, recorded = Lineage(root, store), read_runs(store)
    return Picture(
        steps=lineage.steps(),
        half_removed=lineage.half_removed(),
        runs=tuple(
            PastRun(
                started=started,
                pipeline=nodes[0].pipeline if nodes else "",
                outcome=_outcome(run := describe(started, nodes)),
                complete=run.status in _COMPLETE,
                uses=lineage.makers(nodes),
            )
            for started, nodes in recorded
        ),
        versions=versions,
        leftovers=tuple(find_leftovers(root, lineage.folders())),
    )


def _outcome(run: Run) -> str:
    if run.status == "blessed":
        return f"blessed as version {run.version}" if run.version else "blessed"
    return _WORDS[run.status]
