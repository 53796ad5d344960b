"""What lies under the root of a run or a study, and which folders can be one."""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pipeline.errors import UserError

ARTIFACTS_DIR: Final = "artifacts"
CONFIG_FILE: Final = "config.yaml"
"""The configuration that the last run or study had."""
CHECKPOINTS_DIR: Final = "checkpoints"
LOCK_FILE: Final = ".lock"
LOG_FILE: Final = "log.txt"
METADATA_FILE: Final = "metadata.sqlite"
NOTES_DIR: Final = "notes"
"""What steps on Kubeflow have left to be told of their run, a folder a run."""
REPORT_DIR: Final = "report"
SERVING_DIR: Final = "serving"
DOUBTFUL_DIR: Final = "doubtful"
"""Of a study with folds: the masks that somebody should look at."""
STUDY_SUFFIX: Final = "-study"
"""Behind the name of a pipeline that is a study."""

NOT_LOCAL: Final = "must be a folder that this machine and all workers see: mount the bucket, or copy it"
"""What is wrong with a URL where a folder has to be."""

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]+:/")


def is_url(path: Path) -> bool:
    """Tell whether a path is a URL."""
    return bool(_URL.match(str(path)))


def as_given(path: Path) -> str:
    """Write a path as the user gave it: `Path` drops a slash of a URL."""
    return _URL.sub(lambda scheme: f"{scheme[0]}/", str(path), count=1)


def check_root(root: Path) -> None:
    """Make the root; raise UserError where it cannot be made or written."""
    if is_url(root):
        raise UserError(f"root '{as_given(root)}' {NOT_LOCAL}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"root '{root}' cannot be written: {error.strerror}") from error


@contextmanager
def occupied(root: Path, *, certainly: bool = False) -> Iterator[None]:
    """Hold a root, which exists, until the block ends or the process does, however that may be; one may at a time.

    Args:
        root: Of runs or studies.
        certainly: Whether it is refused where the file system has no locks, so that two might hold it: for what removes
            files that it takes for leftovers.

    Raises:
        UserError: It is held already, or certainty cannot be had.
    """
    with (root / LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"a run, a study or `lungseg gc` is under way under '{root}': start again when it has ended, or name "
                "another --root"
            ) from error
        except OSError as error:
            if certainly:
                raise UserError(
                    f"root '{root}' cannot be locked against runs: {error.strerror}; put it on a file system with locks"
                ) from error
        yield
