"""Runs the ServingProbe."""

import base64
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import tensorflow as tf
from pydantic import BaseModel
from tfx.utils import path_utils

from components import artifacts, base
from components.serving_probe.requests import write_requests
from components.serving_probe.settings import ProbeSettings
from components.serving_probe.training_graph import compare
from schema.record import decode
from schema.reports.probe import Latency, ProbeCheck, ProbeResult

BLESSED = "blessed"
BLESSED_FILE = "INFRA_BLESSED"
NOT_BLESSED_FILE = "INFRA_NOT_BLESSED"

_SCRIPT: Final = Path(__file__).with_name("probe.py")
_IMAGES: Final = 8
_TIMEOUT_SECONDS: Final = 300
_CRASHES: Final = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
"""Signals that a process raises by what it does itself; all others reach it from outside."""

_LOG = logging.getLogger("lungseg.probe")


class ProbeError(RuntimeError):
    """A model could not be tried out, which is no judgement of it; the message is one line."""


class _Answer(BaseModel):
    """What `probe.py`, which can import nothing of ours, writes."""

    checks: list[ProbeCheck]
    latency: list[Latency] = []
    masks: list[str] | None = None
    """The answers to the stored images, in base 64; None where the model has not come that far."""
    images: list[str] = []
    """What `transform_features` makes of the records, in base 64."""


class Executor(base.Executor[ProbeSettings]):
    """Sends the exported model a few originals, in every way that a client might."""

    SETTINGS = ProbeSettings

    def run(self, inputs: base.Artifacts, outputs: base.Artifacts, settings: ProbeSettings) -> None:
        """Probe.

        Args:
            inputs: `model` and `examples`.
            outputs: `infra_blessing`: its custom property `blessed` is 1 or 0, and it holds an empty file
                `INFRA_BLESSED` or `INFRA_NOT_BLESSED`, and a `ProbeResult`.
            settings: Which images to send.

        Raises:
            RuntimeError: The split has no originals.
            RecordError: A record breaks the contract.
            ProbeError: The model could not be tried out.
            OSError: The same, where a folder or a process could not be made.
        """
        records = _read_originals(artifacts.split_folder(inputs["examples"], settings.split), settings.split)
        result = probe(Path(path_utils.serving_model_path(inputs["model"].uri)), records)
        blessing = outputs["infra_blessing"]
        result.write(blessing.uri)
        Path(blessing.uri, BLESSED_FILE if result.blessed else NOT_BLESSED_FILE).touch()
        blessing.set_int_custom_property(BLESSED, int(result.blessed))
        if result.blessed:
            _LOG.info("%d checks passed, one image in %.0f ms", len(result.checks), result.latency[0].median_ms)
        else:
            failed = [f"{check.check}: {check.detail}" for check in result.checks if not check.passed]
            _LOG.info("not blessed: %s", "; ".join(failed))


def probe(model_dir: Path, records: Sequence[bytes]) -> ProbeResult:
    """Try a model out in a process of its own, and compare it with its training graph in this one.

    A judgement is kept and given again, so it has to follow from the model alone: wrong answers, and a process that
    crashes. What may lie in the machine is an error, after which the next run asks again: a process that was killed,
    as for lack of memory, or ended by itself, as on a full disk. So is one that gives no answer in time, since a
    machine under load cannot be told from a model that hangs. Such a model does not pass either: it fails each time.

    Args:
        model_dir: A SavedModel.
        records: Serialized originals to send.

    Raises:
        RecordError: A record breaks the contract.
        ProbeError: The process was killed, ended by itself or gave no answer in time, or memory did not suffice.
        OSError: A folder or the process could not be made.
    """
    with tempfile.TemporaryDirectory() as folder:
        requests = Path(folder, "requests")
        write_requests(records, requests)
        answer = _ask(model_dir, requests, Path(folder))
    checks = answer.checks
    if answer.masks is not None:
        passed, detail = _compare(model_dir, answer.images, answer.masks)
        checks = [*checks, ProbeCheck(check="training graph", passed=passed, detail=detail)]
    return ProbeResult(blessed=all(check.passed for check in checks), checks=checks, latency=answer.latency)


def _ask(model_dir: Path, requests: Path, folder: Path) -> _Answer:
    empty, answer_file = folder / "empty", folder / "answer.json"
    empty.mkdir()
    # GPUs belong to the process that trains.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-I", str(_SCRIPT), str(model_dir.absolute()), str(requests), str(answer_file)]
    try:
        ended = subprocess.run(  # noqa: S603
            command, cwd=empty, env=environment, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ProbeError(
            f"the model gave no answer within {_TIMEOUT_SECONDS} s: start again when the machine has less to do; where "
            "that does not help, look at the model, which may hang"
        ) from error
    code = ended.returncode
    if code == 0:
        return _Answer.model_validate_json(answer_file.read_bytes())
    last = (ended.stderr.decode(errors="replace").strip().splitlines() or ["it wrote no error"])[-1]
    if -code in _CRASHES:
        detail = f"crashed ({signal.Signals(-code).name}): {last}"
        return _Answer(checks=[ProbeCheck(check="process", passed=False, detail=detail)])
    if code < 0:
        raise ProbeError(
            f"the process that tries the model out was killed ({signal.Signals(-code).name}), perhaps for lack of "
            "memory: start again, with more memory where that does not help"
        )
    raise ProbeError(f"the process that tries the model out ended early; start again when this is mended: {last}")


def _compare(model_dir: Path, images: Sequence[str], masks: Sequence[str]) -> tuple[bool, str]:
    try:
        decoded = ([base64.b64decode(text) for text in texts] for texts in (images, masks))
        return compare(model_dir, *decoded)
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise ProbeError(
            "memory does not suffice to compare the model with its weights: make room and start again"
        ) from error
    except Exception as error:
        # Weights that cannot be read or do not fit are the model's fault, not this run's.
        return False, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _read_originals(folder: str, split: str) -> list[bytes]:
    originals = list(islice(_originals(artifacts.record_files(folder)), _IMAGES))
    if not originals:
        raise RuntimeError(
            f"split '{split}' has no originals to send to the model: it needs patients, so add more of them"
        )
    return originals


def _originals(files: Sequence[str]) -> Iterator[bytes]:
    for record in artifacts.read_records(files):
        if not decode(record).is_augmented:
            yield record
