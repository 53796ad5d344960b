"""Runs the probe and blesses what passes."""

import base64
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.example_artifacts import record_files
from components.outputs import all_or_nothing
from components.serving_probe.requests import write_requests
from components.serving_probe.training_graph import compare
from schema.record import decode

MODEL = "model"
EXAMPLES = "examples"
INFRA_BLESSING = "infra_blessing"
SPLIT = "split"

BLESSED = "blessed"
BLESSED_FILE = "INFRA_BLESSED"
NOT_BLESSED_FILE = "INFRA_NOT_BLESSED"
PROBE_FILE = "probe.json"

_SCRIPT: Final = Path(__file__).with_name("probe.py")
_IMAGES: Final = 8
_TIMEOUT_SECONDS: Final = 300

_LOG = logging.getLogger("lungseg.probe")

Answer = dict[str, Any]


class Executor(base_executor.BaseExecutor):
    """Sends the exported model a few originals, in every way that a client might."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Probes.

        Args:
            input_dict: `model` and `examples`, one artifact each.
            output_dict: `infra_blessing`: its custom property `blessed` is 1 or 0, and it holds an empty file
                `INFRA_BLESSED` or `INFRA_NOT_BLESSED`, and `probe.json`: `blessed`, `checks` (`check`, `passed` and
                `detail` each) and `latency_ms` (`median` and `p95` by the number of images a request).
            exec_properties: `split`, from which the originals are taken.

        Raises:
            RuntimeError: the split has no originals.
            RecordError: a record breaks the contract.
        """
        blessing = artifact_utils.get_single_instance(output_dict[INFRA_BLESSING])
        model = artifact_utils.get_single_instance(input_dict[MODEL])
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES])
        with all_or_nothing(blessing):
            records = _read_originals(examples, exec_properties[SPLIT])
            answer = probe(path_utils.serving_model_path(model.uri), records)
            _write(answer, blessing)


def probe(model_dir: str, records: Sequence[bytes]) -> Answer:
    """Tries a model out in a process of its own, and compares it with its training graph in this one.

    Args:
        model_dir: a SavedModel.
        records: serialized originals to send.

    Returns:
        `checks` and `latency_ms`. A process that crashes or hangs is a failed check.
    """
    with tempfile.TemporaryDirectory() as folder:
        requests = Path(folder, "requests")
        write_requests(records, requests)
        answer = _ask(model_dir, requests, Path(folder))
    if "masks" in answer:
        passed, detail = _compare(model_dir, answer)
        answer["checks"].append({"check": "training graph", "passed": passed, "detail": detail})
    return {"checks": answer["checks"], "latency_ms": answer["latency_ms"]}


def _ask(model_dir: str, requests: Path, folder: Path) -> Answer:
    empty, answer_file = folder / "empty", folder / "answer.json"
    empty.mkdir()
    # GPUs belong to the process that trains.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-I", str(_SCRIPT), _absolute(model_dir), str(requests), str(answer_file)]
    try:
        ended = subprocess.run(  # noqa: S603
            command, cwd=empty, env=environment, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False
        )
        if ended.returncode == 0 and answer_file.exists():
            return dict(json.loads(answer_file.read_text()))
        last = (ended.stderr.decode(errors="replace").strip().splitlines() or ["it wrote no error"])[-1]
        detail = f"ended with {ended.returncode} and without an answer: {last}"
    except subprocess.TimeoutExpired:
        detail = f"no answer within {_TIMEOUT_SECONDS} s"
    return {"checks": [{"check": "process", "passed": False, "detail": detail}], "latency_ms": {}}


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)


def _compare(model_dir: str, answer: Answer) -> tuple[bool, str]:
    images, masks = ([base64.b64decode(one) for one in answer[name]] for name in ("images", "masks"))
    try:
        return compare(model_dir, images, masks)
    except Exception as error:
        # Weights that cannot be read or do not fit are the model's fault, not this run's.
        return False, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _read_originals(examples: types.Artifact, split: str) -> list[bytes]:
    files = record_files(artifact_utils.get_split_uri([examples], split))
    originals = list(islice(_originals(files), _IMAGES))
    if not originals:
        msg = f"split '{split}' has no originals to send to the model: it needs patients, so add more of them"
        raise RuntimeError(msg)
    return originals


def _originals(files: Sequence[str]) -> Iterator[bytes]:
    for file in files:
        for record in tf.data.TFRecordDataset(file, "GZIP" if file.endswith(".gz") else "").as_numpy_iterator():
            if not decode(record).is_augmented:
                yield record


def _write(answer: Answer, blessing: types.Artifact) -> None:
    failed = [f"{one['check']}: {one['detail']}" for one in answer["checks"] if not one["passed"]]
    report = {BLESSED: not failed, **answer}
    io_utils.write_string_file(os.path.join(blessing.uri, PROBE_FILE), json.dumps(report, indent=1))
    io_utils.write_string_file(os.path.join(blessing.uri, NOT_BLESSED_FILE if failed else BLESSED_FILE), "")
    blessing.set_int_custom_property(BLESSED, int(not failed))
    if failed:
        _LOG.info("not blessed: %s", "; ".join(failed))
    else:
        _LOG.info("%d checks passed, one image in %.0f ms", len(answer["checks"]), answer["latency_ms"]["1"]["median"])
