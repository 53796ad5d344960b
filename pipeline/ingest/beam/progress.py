"""Shows how far an ingest is, whatever it runs on: by the files that appear."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pipeline.ingest.storage.files import list_files

_SECONDS: Final = 0.5
_SHARD: Final = re.compile(r"records-\d+-of-(\d+)\.tfrecord")


@contextmanager
def watch_progress(folder: str, progress: Callable[[int, int], None] | None) -> Iterator[None]:
    """Call `progress` with the numbers of shards that are in a folder and that there will be, as they grow."""
    if progress is None:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(folder, progress, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _watch(folder: str, progress: Callable[[int, int], None], ended: threading.Event) -> None:
    shown = 0
    last = False
    while not last:
        last = ended.wait(_SECONDS)  # once more after the end, so that the bar gets there
        shards = [match for name in list_files(folder) if (match := _SHARD.fullmatch(name))]
        if len(shards) > shown:
            shown = len(shards)
            progress(shown, int(shards[0][1]))
