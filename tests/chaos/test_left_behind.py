"""Faults of what a run has left: a store that is damaged or locked, a model that is gone or damaged, times to come."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import lungseg
from watched import check_whole, finished

from modules.serving.serving_dir import current_version
from pipeline.root import METADATA_FILE, SERVING_DIR
from schema.reports.result import RunResult
from schema.reports.serving import ServingPointer

pytestmark = pytest.mark.chaos


def check_refused(data: Path, root: Path, expected: str, *arguments: object) -> None:
    """Fail unless a run ends with one line that begins in a way."""
    code, output = finished(data, root, *arguments)
    assert code == 2, output
    assert output.splitlines()[-1].startswith(f"lungseg: {expected}")
    assert "Traceback" not in output


def check_unchanged(data: Path, root: Path, undisturbed: RunResult) -> None:
    code, output = finished(data, root)
    assert code == 0, output
    assert RunResult.read(root).status == "unchanged"
    assert RunResult.read(root).slices == undisturbed.slices
    check_whole(root)


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Lock a store as another program would: locks are no obstacle to the process that holds them."""
    program = (
        "import sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('BEGIN EXCLUSIVE')\n"
        "print(flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, store], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        holder.stdout.readline()
        yield
        holder.kill()


def test_a_store_that_is_locked(data: Path, root: Path, undisturbed: RunResult) -> None:
    with locked(root / METADATA_FILE):
        line = (
            f"'{root / METADATA_FILE}' cannot be read: another program has locked it; start again when that has ended"
        )
        check_refused(data, root, line)
    check_unchanged(data, root, undisturbed)


def test_a_store_that_is_truncated(data: Path, root: Path, undisturbed: RunResult) -> None:
    store = root / METADATA_FILE
    whole = store.read_bytes()
    store.write_bytes(whole[: len(whole) // 2])
    check_refused(data, root, f"'{store}' cannot be read: database disk image is malformed; ")
    check_whole(root)
    store.write_bytes(whole)
    check_unchanged(data, root, undisturbed)


def test_a_store_of_an_older_version(data: Path, root: Path) -> None:
    with sqlite3.connect(root / METADATA_FILE) as database:
        database.execute("UPDATE MLMDEnv SET schema_version = schema_version - 1")
    database.close()
    before = (root / METADATA_FILE).read_bytes()
    check_refused(data, root, f"'{root / METADATA_FILE}' cannot be read: MLMD database version 9 is older than ")
    assert (root / METADATA_FILE).read_bytes() == before
    check_whole(root)


def test_a_store_that_is_gone(data: Path, root: Path, undisturbed: RunResult) -> None:
    """The serving folder knows what its model was made of."""
    (root / METADATA_FILE).unlink()
    check_unchanged(data, root, undisturbed)


def test_a_serving_folder_that_is_gone(data: Path, root: Path) -> None:
    saved = root / "saved"
    (root / SERVING_DIR).rename(saved)
    check_refused(data, root, "nothing has changed since this model was blessed and pushed as version 1, but ")
    assert not (root / SERVING_DIR).exists()
    saved.rename(root / SERVING_DIR)
    assert finished(data, root)[0] == 0
    check_whole(root)


def test_a_pointer_that_is_damaged(data: Path, root: Path, undisturbed: RunResult) -> None:
    pointer = root / SERVING_DIR / ServingPointer.FILE
    pointer.write_text(pointer.read_text()[:20])
    check_refused(data, root, f"'{pointer}' is damaged: write it anew with `lungseg promote --to VERSION`")
    assert lungseg("promote", "--root", root, "--to", 1).returncode == 0
    code, output = finished(data, root)
    assert code == 0, output
    assert dice_of(RunResult.read(root)) == dice_of(undisturbed), "it is now compared with itself as well"
    check_whole(root)


def dice_of(result: RunResult) -> dict[str, float | None]:
    return {each.slice: each.metrics["dice_mean"].value for each in result.slices}


def test_a_model_that_is_damaged(data: Path, root: Path) -> None:
    model = root / SERVING_DIR / "1" / "saved_model.pb"
    model.write_bytes(model.read_bytes()[:1000])
    check_refused(data, root, f"'{model.parent}' is no longer the model that was put there: ")
    with pytest.raises(ValueError, match="is no longer the model that was put there"):
        current_version(root / SERVING_DIR)


def test_a_clock_that_was_set_back(data: Path, root: Path, undisturbed: RunResult) -> None:
    """All that was done is of next week, as far as the next runs can tell; TFX's keys hold the times of artifacts."""
    week = 7 * 24 * 3600
    with sqlite3.connect(root / METADATA_FILE) as database:
        for table in ("Execution", "Context"):
            for column in ("create_time_since_epoch", "last_update_time_since_epoch"):
                database.execute(f"UPDATE {table} SET {column} = {column} + {week * 1000}")  # noqa: S608
    database.close()
    for path in root.rglob("*"):
        os.utime(path, (time.time() + week, time.time() + week))
    check_unchanged(data, root, undisturbed)
    code, output = finished(data, root, "--set", "train.seed=5")
    assert code == 0, output
    assert current_version(root / SERVING_DIR) == 2
    assert output.count("from the cache") >= 4, "what the new setting does not touch"
    assert lungseg("history", "--root", root).returncode == 0
