"""Decodes damaged files in a process of its own, under limits of memory and time, which end it.

    python fuzz_worker.py png 0 2000 progress

Decodes the inputs 0 to 1999. `progress` holds the number of the one at hand, so that whoever started this knows where
it died. Prints a line for each input that breaks the contract, and at the end how many came through and were refused.
"""

import json
import os
import resource
import signal
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_inputs import make_input, mask_for_nifti, seeds

from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.dicom.image import decode_slice
from pipeline.ingest.formats.masks import decode_mask
from pipeline.ingest.formats.registry import count_pixels, decode_image
from pipeline.ingest.metadata import Description
from pipeline.ingest.samples import ReadOptions
from pipeline.ingest.volumes import VolumeSample

MEMORY = 2**30
"""Bytes that decoding may take, of address space: 16 for each of the `MAX_PIXELS` that a header may claim."""
SECONDS = 5
"""Processor time that an input may take."""

_LONGEST_MESSAGE = 500


def check_image(pixels: Any) -> None:
    """An image of more than one level."""
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 2
    assert pixels.min() < pixels.max()


def check_mask(mask: Any) -> None:
    """A mask with pixels of both."""
    check_image(mask)
    assert np.isin(mask, (0, 255)).all()


def decode(kind: str, data: bytes, odd: bool, folder: Path) -> None:
    """Decodes an input and holds what comes out against the contract."""
    assert count_pixels(data) >= 0
    if kind == "nifti":
        decode_volume(data, odd, folder)
    elif kind == "dicom" and odd:
        assert decode_slice(data).hounsfield.dtype == np.int16
    elif odd:
        check_mask(decode_mask(data))
    else:
        check_image(decode_image(data).pixels)


def decode_volume(data: bytes, is_mask: bool, folder: Path) -> None:
    """Reads a volume of which the voxels or the mask are damaged."""
    (folder / "mask.nii").write_bytes(data if is_mask else mask_for_nifti())
    (folder / "volume.nii").write_bytes(make_sound_volume() if is_mask else data)
    sample = VolumeSample(str(folder), "volume.nii", ("volume.nii",), "mask.nii", "a", Description("", "clinic"))
    for record in sample.read(ReadOptions(size=32)):
        record.check()
        check_image(record.image)


def make_sound_volume() -> bytes:
    """The volume of a mask that is damaged."""
    return seeds("nifti")[0]


def try_input(kind: str, number: int, folder: Path) -> str:
    """What became of an input: "taken", "refused", or what is wrong."""
    try:
        decode(kind, make_input(kind, number), number % 2 == 1, folder)
    except ImageError as error:
        message = str(error)
        sound = len(message.splitlines()) == 1 and len(message) <= _LONGEST_MESSAGE and "MemoryError" not in message
        return "refused" if sound else f"refused as {message!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "taken"


def main() -> None:
    """Runs the worker."""
    kind, first, count, progress = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    warnings.simplefilter("ignore")
    outcomes: Counter[str] = Counter()
    file = os.open(progress, os.O_RDWR | os.O_CREAT)
    with tempfile.TemporaryDirectory(dir=progress.parent) as folder:
        for number in range(20):  # imports everything, before the limits
            try_input(kind, number, Path(folder))
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
        for number in range(first, first + count):
            os.pwrite(file, number.to_bytes(8, "little"), 0)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            outcome = try_input(kind, number, Path(folder))
            outcomes["broken" if outcome not in ("taken", "refused") else outcome] += 1
            if outcome not in ("taken", "refused"):
                sys.stdout.write(json.dumps({"number": number, "problem": outcome}) + "\n")
    sys.stdout.write(json.dumps(outcomes) + "\n")


if __name__ == "__main__":
    main()
