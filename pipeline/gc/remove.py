"""Removes what a plan lets go. Killed at any moment it leaves nothing that the cache would take for whole."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path

from pipeline.gc.disk import delete
from pipeline.gc.lineage import Artifact, mark
from pipeline.gc.picture import Item
from pipeline.store import has_store, open_store


def remove(root: Path, items: Iterable[Item], progress: Callable[[int], None]) -> None:
    """Remove items, each whole before the next.

    The store is told before anything is deleted, and again after: what is marked and still there was cut off, and goes
    the next time.

    Args:
        root: Of runs, held alone.
        items: What goes.
        progress: Told after each how many are gone.

    Raises:
        UserError: The store cannot be changed, or a file cannot be deleted.
    """
    with open_store(root, writes=True) if has_store(root) else nullcontext() as store:
        for number, item in enumerate(items, start=1):
            if store and item.artifacts:
                mark(store, item.artifacts, Artifact.MARKED_FOR_DELETION)
            for path in item.paths:
                delete(path)
            if store and item.artifacts:
                mark(store, item.artifacts, Artifact.DELETED)
            progress(number)
