"""What has been done: a receipt for each result, there while all of its files are, and are of one model.

>>> write_receipt(output, input_, receipt)
>>> find_receipt(output, input_, digest, files).measurement.lung_fraction
0.31

By receipts a later call knows what is missing, without a model and without reading an image.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from pipeline.ingest.storage.files import version_of
from pipeline.prediction.inputs import Input
from schema.files import write_whole
from schema.reports.base import Part
from schema.reports.prediction import Measurement

FOLDER: Final = ".receipts"


class Receipt(Part):
    """What was made of an input."""

    model: str
    """Digest of the model."""
    source: str
    """What the input's files were, see `stamp`."""
    files: tuple[str, ...]
    """Names of what was written, in the output folder."""
    measurement: Measurement


def stamp(input_: Input) -> str:
    """Identify the state of an input's files by their names, sizes and times of change, in hexadecimal.

    Raises:
        OSError: One of them is gone, or its store cannot be reached.
    """
    digest = hashlib.sha256()
    for file in input_.files:
        digest.update(repr((os.path.basename(file), *version_of(file))).encode())
    return digest.hexdigest()


def write_receipt(output: Path, input_: Input, receipt: Receipt) -> None:
    """Write the receipt of an input, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    write_whole(_path(output, input_), receipt.model_dump_json() + "\n")


def withdraw_receipt(output: Path, input_: Input) -> None:
    """Remove the receipt of an input, if it has one: its files are about to be replaced.

    Raises:
        OSError: It cannot be removed.
    """
    _path(output, input_).unlink(missing_ok=True)


def find_receipt(output: Path, input_: Input, model: str, files: Sequence[str]) -> Receipt | None:
    """Return the receipt of an input; None where a file, or another model, makes that it has to be done again.

    Args:
        output: Folder of the results.
        input_: The input.
        model: Digest of the model.
        files: Names of what is to be there.
    """
    try:
        receipt = Receipt.model_validate_json(_path(output, input_).read_bytes())
        is_same = receipt.model == model and receipt.source == stamp(input_) and set(files) <= set(receipt.files)
    except (OSError, ValidationError):
        return None
    return receipt if is_same and all((output / name).is_file() for name in files) else None


def _path(output: Path, input_: Input) -> Path:
    return output / FOLDER / f"{input_.name}.json"
