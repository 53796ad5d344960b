"""Arrays in one file, with a model that says what they are.

>>> write_npz(path, settings, {"layer/0": weights})
>>> settings, arrays = read_npz(path, ModelSettings)
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from schema.files import write_whole

Header = TypeVar("Header", bound=BaseModel)

_HEADER: Final = "settings"
"""Its name in the weights of models that are served already."""


def write_npz(path: Path, header: BaseModel, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name and their header, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{_HEADER: np.array(header.model_dump_json())}, **arrays)
    write_whole(path, buffer.getvalue())


def read_npz(path: Path, header: type[Header]) -> tuple[Header, dict[str, NDArray[Any]]]:
    """Read arrays by name and their header.

    Raises:
        ValueError: The file cannot be read, is damaged, or has a header of another kind.
    """
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return header.model_validate_json(str(arrays.pop(_HEADER))), arrays
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError) as error:
        raise ValueError(f"'{path}' cannot be read: {' '.join(str(error).split())}") from error
