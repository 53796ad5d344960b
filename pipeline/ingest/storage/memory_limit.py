"""Bounds how many pixels a process decodes at a time, whatever the number of its threads.

>>> with read_within(PIXELS, "gs://clinic/images/a.png") as data:
...     decode_image(data)
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pipeline.ingest.formats.registry import count_pixels
from pipeline.ingest.storage.files import open_file, read_rest, read_some

_HEAD_BYTES: Final = 2**20  # every format but TIFF tells its size within these


class PixelSemaphore:
    """A semaphore that counts pixels.

    Attributes:
        limit: Pixels that may be acquired at a time.
    """

    def __init__(self, limit: int) -> None:
        self.limit: Final = limit
        self._free = limit
        self._released = threading.Condition()

    def acquire(self, pixels: int) -> int:
        """Wait until so many pixels are free, and acquire them.

        Returns:
            Pixels acquired, to be released: no more than the limit, so that a larger image has it all to itself.
        """
        pixels = min(pixels, self.limit)
        with self._released:
            self._released.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        return pixels

    def release(self, pixels: int) -> None:
        """Release pixels that were acquired."""
        with self._released:
            self._free += pixels
            self._released.notify_all()


PIXELS: Final = PixelSemaphore(2**25)
"""Of the image files that a process decodes at a time: two of 4,000 x 4,000."""


@contextmanager
def read_within(semaphore: PixelSemaphore, path: str) -> Iterator[bytes]:
    """Read an image file and hold its pixels of a semaphore for as long as the context lasts.

    The pixels are counted from the first bytes, so that no more files lie in memory than can be decoded. A large file
    that does not tell there is read while no other is.

    Raises:
        ImageError: It cannot be read, or is larger than `MAX_FILE_BYTES`.
    """
    with open_file(path) as file:
        data = read_some(file, _HEAD_BYTES)
        is_whole = len(data) < _HEAD_BYTES
        held = semaphore.acquire(count_pixels(data) or (len(data) if is_whole else semaphore.limit))
        try:
            if not is_whole:
                data = read_rest(file, data)
                # Only ever less, so that holders cannot wait for one another.
                needed = min(held, count_pixels(data) or len(data))
                semaphore.release(held - needed)
                held = needed
            yield data
        finally:
            semaphore.release(held)
