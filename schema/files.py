"""Writing files so that no reader ever finds half of one."""

import uuid
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, whole or not at all, in place of what is there; its folder is made where it is missing.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
