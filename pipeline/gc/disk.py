"""What lies under a root on disk: sizes, ages, and what a run, a push or a training leaves when it is cut off."""

import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from modules.serving.serving_dir import leftovers as left_by_pushes
from pipeline.errors import UserError
from pipeline.gc.picture import Leftover
from pipeline.notify.notes import ENDED
from pipeline.root import ARTIFACTS_DIR, CHECKPOINTS_DIR, NOTES_DIR, SERVING_DIR

_WORKING: Final = ".system"
"""Of each node: where TFX keeps what a step needs while it runs."""
_NUMBER: Final = re.compile(r"[0-9]+")
_CHECKPOINT: Final = re.compile(r"[0-9a-f]{16}")
_CHECKPOINT_FILES: Final = re.compile(r"checkpoint\.npz|\.checkpoint\.npz\.[0-9a-f]{32}")
_PARTIAL_FILE: Final = re.compile(r"\..+\.[0-9a-f]{32}")
"""As `schema.files.write_whole` names what it has not yet written whole."""


def measure(*paths: Path) -> tuple[int, datetime]:
    """Return the bytes of files and of all that lies in folders, and when the last of it was changed, in local time.

    What is not there counts nothing; 1970 stands for the time of nothing at all.
    """
    stats = [path.lstat() for given in paths for path in _walk(given)]
    changed = max((stat.st_mtime for stat in stats), default=0.0)
    return sum(stat.st_size for stat in stats), datetime.fromtimestamp(changed).astimezone()


def delete(path: Path) -> None:
    """Delete a file or a folder with all in it, if it is there; what a link names stays.

    Raises:
        UserError: It cannot be deleted.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"'{error.filename or path}' cannot be deleted: {error.strerror}; mend it, and `lungseg gc` goes on"
        ) from error


def find_leftovers(root: Path, made: Collection[Path]) -> Iterator[Leftover]:
    """Find what nobody needs any more, while no run is under way.

    Args:
        root: Of runs.
        made: Folders of artifacts that the store knows.
    """
    artifacts, serving = root / ARTIFACTS_DIR, root / SERVING_DIR
    for folder in sorted(artifacts.glob("*/*/*")):
        if _NUMBER.fullmatch(folder.name) and folder.parent.name != _WORKING and folder not in made:
            yield _leftover(root, folder, "left by a step that was killed")
    for folder in sorted(artifacts.glob(f"*/{_WORKING}")):
        yield _leftover(root, folder, "working files of steps that have ended")
    for folder in sorted((root / CHECKPOINTS_DIR).glob("*")):
        if _CHECKPOINT.fullmatch(folder.name) and all(_CHECKPOINT_FILES.fullmatch(file.name) for file in _in(folder)):
            yield _leftover(root, folder, "checkpoint of a training that was cut off", resumes=True)
    for folder in sorted(file.parent for file in (root / NOTES_DIR).glob(f"*/{ENDED}")):
        yield _leftover(root, folder, "notes of a run on Kubeflow, of which a webhook was told")
    for folder in left_by_pushes(serving):
        yield _leftover(root, folder, "left by a push that was killed")
    for file in sorted([*_in(root), *_in(serving)]):
        if _PARTIAL_FILE.fullmatch(file.name) and file.is_file():
            yield _leftover(root, file, "left half written")


def _leftover(root: Path, path: Path, reason: str, *, resumes: bool = False) -> Leftover:
    size, changed = measure(path)
    return Leftover(
        name=str(path.relative_to(root)),
        paths=(path,),
        bytes=size,
        changed=changed,
        reason=reason,
        resumes=resumes,
    )


def _in(folder: Path) -> Iterable[Path]:
    return folder.iterdir() if folder.is_dir() else ()


def _walk(path: Path) -> Iterator[Path]:
    if path.is_symlink() or path.exists():
        yield path
    if path.is_dir() and not path.is_symlink():
        yield from path.rglob("*")
