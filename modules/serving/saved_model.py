"""A SavedModel as files: which there are, and whether any of them was changed."""

import hashlib
from pathlib import Path
from typing import Final

MODEL_FILE: Final = "saved_model.pb"
"""By which a folder is known to be a SavedModel."""
STATISTICS_FILE: Final = "assets.extra/statistics/FeatureStats.pb"
"""Statistics of the data that a pushed model was trained on; no part of the model."""


def files_digest(model_dir: Path) -> str:
    """Identify the files of a SavedModel, with all that lies beside them: any other byte or name gives another digest.

    Raises:
        ValueError: A file cannot be read.
    """
    try:
        files = [(path.relative_to(model_dir).as_posix(), path) for path in model_dir.rglob("*") if path.is_file()]
        return hash_parts(*(part for name, path in sorted(files) for part in (name.encode(), path.read_bytes()))).hex()
    except OSError as error:
        raise ValueError(f"the model in '{model_dir}' cannot be read: {error}") from error


def hash_parts(*parts: bytes) -> bytes:
    """Hash several parts, of which none runs into the next."""
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
