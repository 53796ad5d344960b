"""The serving folder: one numbered folder a pushed model, as TensorFlow Serving reads it, and which of them is current.

    serving/1/, serving/2/   models; TensorFlow Serving serves the highest number
    serving/current.json     a `ServingPointer`: which version is current, and what made and judged it
    serving/withdrawn/3/     a model that an earlier one has replaced again
    serving/.partial-.../    a push under way, or one that was killed

A model appears and moves by one rename. The pointer knows the files of each version that was put there: whoever takes
one, the current or by its number, gets it as it was put there, or an error. What no pointer knows is trusted: a folder
without one, versions that something else put there, and of a pointer of before, which knew the current model alone, the
others.
"""

import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Final

from modules.serving.saved_model import MODEL_FILE, STATISTICS_FILE, files_digest
from schema.reports.base import ReportFileError
from schema.reports.serving import Origin, ServingPointer, Standing

_WITHDRAWN: Final = "withdrawn"
_PARTIAL: Final = ".partial-"
_LEFTOVER_SECONDS: Final = 3600
"""A partial folder as old as that was left by a push that was killed; a younger one may still be at work."""


def is_model(folder: Path) -> bool:
    """Return whether a folder holds a SavedModel."""
    return (folder / MODEL_FILE).exists()


def current_version(serving_dir: Path) -> int | None:
    """Return the version that the pointer names, as it was put there; without a pointer, the highest there is, or None.

    Raises:
        ValueError: The pointer is damaged, or names what is no model or no longer the model that was put there.
    """
    version = pointed_version(serving_dir)
    if version is not None:
        _check(serving_dir / str(version), _read_pointer(serving_dir))
    return version


def pointed_version(serving_dir: Path) -> int | None:
    """Return what `current_version` does, without a look at the model's files.

    Raises:
        ValueError: The pointer is damaged, or names what is no model.
    """
    pointer = _read_pointer(serving_dir)
    if pointer is None:
        return _newest_model(serving_dir)
    if not is_model(serving_dir / str(pointer.version)):
        raise ValueError(
            f"'{serving_dir / ServingPointer.FILE}' names version {pointer.version}, which is no model there: "
            "put one back with `lungseg promote --to VERSION`"
        )
    return pointer.version


def standings(serving_dir: Path) -> dict[int, Standing]:
    """Return the standing of each version; raise ValueError where `pointed_version` does."""
    current = pointed_version(serving_dir) or 0
    standing: dict[int, Standing] = dict.fromkeys(_versions(serving_dir / _WITHDRAWN), "withdrawn")
    for version in _versions(serving_dir):  # a higher one was left there by a promotion that was killed
        standing[version] = "serves" if version == current else "earlier" if version < current else "withdrawn"
    return standing


def current_origin(serving_dir: Path) -> Origin | None:
    """Return what the current version was made of; None where there is none, or its pointer does not tell.

    Raises:
        ValueError: The pointer is damaged.
    """
    pointer = _read_pointer(serving_dir)
    return pointer.origin if pointer else None


def version_named(name: str) -> int | None:
    """Return the version that a folder's name stands for; None where it is no number, as `007`."""
    return int(name) if name.isdecimal() and str(int(name)) == name else None


def baseline_key(candidate_key: str, serving_dir: Path) -> str:
    """Identify the model that a candidate has to stand comparison with, as a key for caches.

    That is the current one; but for the candidate that became it, the one that it was compared with, so that an
    unchanged run finds its own result again instead of comparing the model with itself.

    Raises:
        ValueError: As of `current_version`.
    """
    version = pointed_version(serving_dir)
    if version is None:
        return "none"
    content = digest_of(serving_dir / str(version))
    pointer = _read_pointer(serving_dir)
    return pointer.baseline_key if pointer and pointer.candidate_key == candidate_key else f"{version}:{content}"


def push(
    model_dir: Path,
    serving_dir: Path,
    candidate_key: str = "",
    baseline_key: str = "",
    statistics: bytes | None = None,
    origin: Origin | None = None,
) -> int:
    """Put a model under the next number and make it the current one; whole, or not at all.

    No number is used twice, not even that of a withdrawn model. A model equal to the newest one keeps its number,
    unless that one was changed since.

    Args:
        model_dir: A SavedModel.
        serving_dir: Made if missing.
        candidate_key: Identifies what made and judged the model.
        baseline_key: What the function of this name said before it was judged.
        statistics: Of the data that it was trained on, kept beside it (`STATISTICS_FILE`).
        origin: What it was made of.

    Returns:
        The model's version, from 1.

    Raises:
        ValueError: There is no model, or it or the pointer is damaged.
    """
    if not is_model(model_dir):
        raise ValueError(f"'{model_dir}' is no model to push: it holds no {MODEL_FILE}")
    pointer, content, version = _read_pointer(serving_dir), _digest(model_dir), _newest_model(serving_dir)
    if version is None or not _holds(serving_dir, version, content):
        version = _publish(model_dir, serving_dir, statistics)
    elif pointer and pointer.version == version:
        # The keys stay those of the candidate that made it first; the origin is what makes it now. Another push may
        # have written the pointer since.
        if (now := _read_pointer(serving_dir)) and now.version == version:
            now.model_copy(update={"origin": origin}).write(serving_dir)
        return version
    ServingPointer(
        version=version,
        digest=content,
        candidate_key=candidate_key,
        baseline_key=baseline_key,
        origin=origin,
        # Another push may have written the pointer since.
        files=_with_files(_read_pointer(serving_dir), serving_dir / str(version)),
    ).write(serving_dir)
    return version


def promote(serving_dir: Path, version: int) -> list[int]:
    """Make an earlier or a withdrawn version the current one; higher ones are withdrawn.

    What a crash leaves half done is mended by the same call.

    Returns:
        All versions that are withdrawn now, rising.

    Raises:
        ValueError: There is no such version, which names those that there are, or its model is damaged or no longer
            what was put there.
    """
    withdrawn_dir = serving_dir / _WITHDRAWN
    target, withdrawn = serving_dir / str(version), withdrawn_dir / str(version)
    if not is_model(withdrawn) and not is_model(target):
        raise ValueError(f"there is no version {version} in '{serving_dir}': {_known(serving_dir)}")
    try:
        pointer = _read_pointer(serving_dir)
    except ValueError:
        pointer = None  # this call is what mends it
    there = withdrawn if is_model(withdrawn) else target
    _check(there, pointer)
    content, files = _digest(there), _with_files(pointer, there)
    if withdrawn.exists():
        withdrawn.rename(target)
    ServingPointer(version=version, digest=content, files=files).write(serving_dir)
    # Rising, so that no model in between becomes the highest for a moment.
    for higher in _versions(serving_dir):
        if higher > version:
            withdrawn_dir.mkdir(exist_ok=True)
            (serving_dir / str(higher)).rename(withdrawn_dir / str(higher))
    return _versions(withdrawn_dir)


def digest_of(model_dir: Path) -> str:
    """Return the digest of a version that is what was put there: the pointer's, or as its model says.

    Args:
        model_dir: The version's folder, also among the withdrawn.

    Raises:
        ValueError: The pointer or the model is damaged, or the model is no longer what was put there.
    """
    folder = model_dir.parent
    pointer = _read_pointer(folder.parent if folder.name == _WITHDRAWN else folder)
    _check(model_dir, pointer)
    return pointer.digest if pointer and pointer.version == int(model_dir.name) else _digest(model_dir)


def _digest(model_dir: Path) -> str:
    from modules.serving.content import digest  # takes TensorFlow, a quarter of a minute that a look around can spare

    return digest(model_dir)


def _check(model_dir: Path, pointer: ServingPointer | None) -> None:
    """Refuse a model that is no longer what was put there, as far as the pointer knows what that was."""
    version = int(model_dir.name)
    if pointer is None:
        return
    if version in pointer.files:
        unchanged = files_digest(model_dir) == pointer.files[version]
    else:  # of a pointer of before
        unchanged = version != pointer.version or _digest(model_dir) == pointer.digest
    if not unchanged:
        raise ValueError(
            f"'{model_dir}' is no longer the model that was put there: files of it were changed, added or removed; "
            "restore them, or put another version back with `lungseg promote --to VERSION`"
        )


def _holds(serving_dir: Path, version: int, content: str) -> bool:
    """Tell whether a version is what was put there, and equal to a model; what cannot be read is neither."""
    try:
        return digest_of(serving_dir / str(version)) == content
    except ValueError:
        return False


def _with_files(pointer: ServingPointer | None, model_dir: Path) -> dict[int, str]:
    """Return the files that a pointer knows, and those of one more version."""
    return {**(pointer.files if pointer else {}), int(model_dir.name): files_digest(model_dir)}


def _publish(model_dir: Path, serving_dir: Path, statistics: bytes | None) -> int:
    serving_dir.mkdir(parents=True, exist_ok=True)
    for leftover in leftovers(serving_dir):
        shutil.rmtree(leftover)
    partial = serving_dir / f"{_PARTIAL}{uuid.uuid4().hex}"
    try:
        shutil.copytree(model_dir, partial)
        os.utime(partial)  # copytree takes the time of the original over, by which this would be a leftover
        if statistics is not None:
            path = partial / STATISTICS_FILE
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(statistics)
        return _rename_to_next(partial, serving_dir)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _rename_to_next(partial: Path, serving_dir: Path) -> int:
    while True:
        version = _next_version(serving_dir)
        target = serving_dir / str(version)
        try:
            partial.rename(target)
        except OSError:
            if not target.exists():
                raise
            # Another push was faster: the number after its own.
        else:
            return version


def leftovers(serving_dir: Path) -> list[Path]:
    """List the folders that pushes have left which were killed."""
    latest = time.time() - _LEFTOVER_SECONDS
    return [folder for folder in serving_dir.glob(f"{_PARTIAL}*") if folder.stat().st_mtime < latest]


def _newest_model(serving_dir: Path) -> int | None:
    return max((version for version in _versions(serving_dir) if is_model(serving_dir / str(version))), default=None)


def _next_version(serving_dir: Path) -> int:
    pointer = _read_pointer(serving_dir)
    taken = [*_versions(serving_dir), *_versions(serving_dir / _WITHDRAWN), pointer.version if pointer else 0]
    return max(taken) + 1


def _known(serving_dir: Path) -> str:
    known = [str(version) for version in _versions(serving_dir) if is_model(serving_dir / str(version))]
    known += [f"{version} (withdrawn)" for version in _versions(serving_dir / _WITHDRAWN)]
    return f"it holds {', '.join(known)}" if known else "it holds no models"


def _versions(folder: Path) -> list[int]:
    """List the versions in a folder, rising."""
    numbers = [version_named(path.name) for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(number for number in numbers if number is not None)


def _read_pointer(serving_dir: Path) -> ServingPointer | None:
    path = serving_dir / ServingPointer.FILE
    if not path.exists():
        return None
    try:
        return ServingPointer.read(serving_dir)
    except ReportFileError as error:
        raise ValueError(f"'{path}' is damaged: write it anew with `lungseg promote --to VERSION`") from error
