"""Puts an earlier version of the model back into service."""

from pathlib import Path

from pipeline.errors import UserError
from pipeline.root import SERVING_DIR


def promote(root: Path, version: int) -> list[int]:
    """Make a version that was pushed earlier the current one.

    Args:
        root: Of the run that pushed it.
        version: Its number.

    Returns:
        All versions that are withdrawn now, rising.

    Raises:
        UserError: There is no serving folder or no such version, or the folder cannot be changed.
    """
    serving_dir = root / SERVING_DIR
    if not serving_dir.is_dir():
        raise UserError(f"'{serving_dir}' does not exist: name the root of a run that has pushed a model with --root")

    # TensorFlow takes seconds to import: errors in the arguments come first.
    from modules.serving import serving_dir as serving

    try:
        return serving.promote(serving_dir, version)
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"serving folder '{serving_dir}' cannot be changed: {error.strerror}") from error
