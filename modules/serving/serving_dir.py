"""The serving folder: one numbered folder a pushed model, as TensorFlow Serving reads it, and which of them is current.

    serving/1/, serving/2/   models; TensorFlow Serving serves the highest number
    serving/current.json     {"version": 2, "digest": "...", "candidate": "...", "rival": "..."}
    serving/withdrawn/3/     a model that an earlier one has replaced again
    serving/.partial-.../    a push under way, or one that was killed

Everything goes through TensorFlow's file systems. A local folder appears and moves by one rename. Object stores know no
folders to rename: there the objects are copied one by one, `saved_model.pb`, by which a model is known, last.
"""

import json
import os
import time
import uuid
from typing import Final, NamedTuple

import tensorflow as tf

from modules.serving.saved_model import MODEL_FILE, STATISTICS_FILE, digest, files_below, read_bytes

_POINTER: Final = "current.json"
_WITHDRAWN: Final = "withdrawn"
_PARTIAL: Final = ".partial-"
_LEFTOVER_SECONDS: Final = 3600
"""A partial folder as old as that was left by a push that was killed; a younger one may still be at work."""


class _Pointer(NamedTuple):
    """Which version is current.

    Attributes:
        version: its number.
        digest: of its content.
        candidate: identifies what made and judged it; empty where it was put back.
        rival: what `rival_of` said when it was judged.
    """

    version: int
    digest: str
    candidate: str = ""
    rival: str = ""


def is_model(folder: str) -> bool:
    """Whether the folder holds a SavedModel."""
    return bool(tf.io.gfile.exists(os.path.join(folder, MODEL_FILE)))


def current_version(serving_dir: str) -> int | None:
    """The version that the pointer names; without a pointer, the highest number that holds a SavedModel, or None.

    Raises:
        ValueError: the pointer is damaged, or names what is no model.
    """
    pointer = _read_pointer(serving_dir)
    if pointer is None:
        return _newest_model(serving_dir)
    if not is_model(_folder(serving_dir, pointer.version)):
        msg = (
            f"'{_pointer_path(serving_dir)}' names version {pointer.version}, which is no model there: "
            "put one back with `lungseg promote --to VERSION`"
        )
        raise ValueError(msg)
    return pointer.version


def rival_of(candidate: str, serving_dir: str) -> str:
    """Identifies the model that a candidate has to stand comparison with, as a key for caches.

    That is the current one; but for the candidate that became it, the one that it was compared with, so that an
    unchanged run finds its own result again instead of comparing the model with itself.

    Raises:
        ValueError: the pointer is damaged, or names what is no model.
    """
    version = current_version(serving_dir)
    if version is None:
        return "none"
    pointer = _read_pointer(serving_dir)
    if pointer and pointer.candidate == candidate:
        return pointer.rival
    return f"{version}:{_digest_of(serving_dir, version)}"


def push(
    model_dir: str, serving_dir: str, candidate: str = "", rival: str = "", statistics: bytes | None = None
) -> int:
    """Puts a model under the next number and makes it the current one; whole, or not at all.

    No number is used twice, not even that of a withdrawn model. A model equal to the newest one keeps its number.

    Args:
        model_dir: a SavedModel.
        serving_dir: made if missing.
        candidate: identifies what made and judged the model.
        rival: what `rival_of` said before it was judged.
        statistics: of the data that it was trained on, kept beside it (`STATISTICS_FILE`).

    Returns:
        The model's version, from 1.

    Raises:
        ValueError: there is no model, or it or the pointer is damaged.
    """
    if not is_model(model_dir):
        msg = f"'{model_dir}' is no model to push: it holds no {MODEL_FILE}"
        raise ValueError(msg)
    model = digest(model_dir)
    version = _newest_model(serving_dir)
    if version is None or _digest_of(serving_dir, version) != model:
        version = _publish(model_dir, serving_dir, statistics)
    elif (pointer := _read_pointer(serving_dir)) and pointer.version == version:
        return version  # the pointer tells of the candidate that made it first
    _write_pointer(serving_dir, _Pointer(version, model, candidate, rival))
    return version


def promote(serving_dir: str, version: int) -> list[int]:
    """Makes an earlier or a withdrawn version the current one; higher ones are withdrawn.

    What a crash leaves half done is mended by the same call.

    Returns:
        All versions that are withdrawn now, rising.

    Raises:
        ValueError: there is no such version, which names those that there are, or its model is damaged.
    """
    target, withdrawn = _folder(serving_dir, version), _folder(os.path.join(serving_dir, _WITHDRAWN), version)
    if not is_model(withdrawn) and not is_model(target):
        msg = f"there is no version {version} in '{serving_dir}': {_known(serving_dir)}"
        raise ValueError(msg)
    model = digest(withdrawn if is_model(withdrawn) else target)
    if tf.io.gfile.exists(withdrawn):
        _move(withdrawn, target)
    _write_pointer(serving_dir, _Pointer(version, model))
    # Rising, so that no model in between becomes the highest for a moment.
    for higher in _versions(serving_dir):
        if higher > version:
            _move(_folder(serving_dir, higher), _folder(os.path.join(serving_dir, _WITHDRAWN), higher))
    return _versions(os.path.join(serving_dir, _WITHDRAWN))


def _publish(model_dir: str, serving_dir: str, statistics: bytes | None) -> int:
    if _is_object_store(serving_dir):
        version = _next_version(serving_dir)
        _fill(_folder(serving_dir, version), model_dir, statistics)
        return version
    _remove_leftovers(serving_dir)
    partial = os.path.join(serving_dir, f"{_PARTIAL}{uuid.uuid4().hex}")
    try:
        _fill(partial, model_dir, statistics)
        return _rename_to_next(partial, serving_dir)
    except BaseException:
        if tf.io.gfile.exists(partial):
            tf.io.gfile.rmtree(partial)
        raise


def _fill(target: str, model_dir: str, statistics: bytes | None) -> None:
    """Statistics first: a folder that is known to be a model is whole."""
    if statistics is not None:
        path = os.path.join(target, STATISTICS_FILE)
        tf.io.gfile.makedirs(os.path.dirname(path))
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(statistics)
    _copy(model_dir, target)


def _rename_to_next(partial: str, serving_dir: str) -> int:
    while True:
        version = _next_version(serving_dir)
        target = _folder(serving_dir, version)
        try:
            tf.io.gfile.rename(partial, target)
        except tf.errors.OpError:
            if not tf.io.gfile.exists(target):
                raise
            # Another push was faster: the number after its own.
        else:
            return version


def _remove_leftovers(serving_dir: str) -> None:
    for name in _names(serving_dir):
        path = os.path.join(serving_dir, name)
        if name.startswith(_PARTIAL) and time.time() - tf.io.gfile.stat(path).mtime_nsec / 1e9 > _LEFTOVER_SECONDS:
            tf.io.gfile.rmtree(path)


def _move(source: str, target: str) -> None:
    if _is_object_store(target):
        _copy(source, target)
        if is_model(source):
            tf.io.gfile.remove(os.path.join(source, MODEL_FILE))  # first, so that what is half removed is no model
        tf.io.gfile.rmtree(source)
    else:
        tf.io.gfile.makedirs(os.path.dirname(target))
        tf.io.gfile.rename(source, target)


def _copy(source: str, target: str) -> None:
    for path in sorted(files_below(source), key=lambda path: path == MODEL_FILE):
        tf.io.gfile.makedirs(os.path.dirname(os.path.join(target, path)))
        tf.io.gfile.copy(os.path.join(source, path), os.path.join(target, path), overwrite=True)


def _is_object_store(path: str) -> bool:
    return "://" in path


def _newest_model(serving_dir: str) -> int | None:
    return max((one for one in _versions(serving_dir) if is_model(_folder(serving_dir, one))), default=None)


def _next_version(serving_dir: str) -> int:
    pointer = _read_pointer(serving_dir)
    taken = [
        *_versions(serving_dir),
        *_versions(os.path.join(serving_dir, _WITHDRAWN)),
        pointer.version if pointer else 0,
    ]
    return max(taken) + 1


def _known(serving_dir: str) -> str:
    withdrawn = _versions(os.path.join(serving_dir, _WITHDRAWN))
    known = [str(one) for one in _versions(serving_dir) if is_model(_folder(serving_dir, one))]
    known += [f"{one} (withdrawn)" for one in withdrawn]
    return f"it holds {', '.join(known)}" if known else "it holds no models"


def _versions(folder: str) -> list[int]:
    """The names in a folder that are numbers, rising; `007` is no number."""
    return sorted(int(name) for name in _names(folder) if name.isdecimal() and str(int(name)) == name)


def _names(folder: str) -> list[str]:
    return [name.rstrip("/") for name in tf.io.gfile.listdir(folder)] if tf.io.gfile.isdir(folder) else []


def _folder(serving_dir: str, version: int) -> str:
    return os.path.join(serving_dir, str(version))


def _digest_of(serving_dir: str, version: int) -> str:
    pointer = _read_pointer(serving_dir)
    return pointer.digest if pointer and pointer.version == version else digest(_folder(serving_dir, version))


def _pointer_path(serving_dir: str) -> str:
    return os.path.join(serving_dir, _POINTER)


def _read_pointer(serving_dir: str) -> _Pointer | None:
    path = _pointer_path(serving_dir)
    if not tf.io.gfile.exists(path):
        return None
    try:
        stored = json.loads(read_bytes(path))
        origin = (str(stored.get(name, "")) for name in ("candidate", "rival"))
        return _Pointer(int(stored["version"]), str(stored["digest"]), *origin)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"'{path}' is damaged: write it anew with `lungseg promote --to VERSION`"
        raise ValueError(msg) from error


def _write_pointer(serving_dir: str, pointer: _Pointer) -> None:
    path = _pointer_path(serving_dir)
    temporary = os.path.join(serving_dir, f".{_POINTER}-{uuid.uuid4().hex}")
    with tf.io.gfile.GFile(temporary, "w") as file:
        file.write(json.dumps(pointer._asdict()))
    tf.io.gfile.rename(temporary, path, overwrite=True)
