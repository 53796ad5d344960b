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
    shown = 0

    def look() -> None:
        nonlocal shown
        shards = [match for name in list_files(folder) if (match := _SHARD.fullmatch(name))]
        if len(shards) > shown:
            shown = len(shards)
            progress(shown, int(shards[0][1]))

    with repeated(look):
        yield


@contextmanager
def repeated(call: Callable[[], None]) -> Iterator[None]:
    """Call a function in a thread every half second while the block runs, and once more after its end."""
    ended = threading.Event()

    def repeat() -> None:
        last = False
        while not last:
            last = ended.wait(_SECONDS)  # once more after the end, so that a bar gets there
            call()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
