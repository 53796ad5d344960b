"""Segmentation on a Flink cluster gives what it gives on this machine, also when a part of the cluster dies.

`LUNGSEG_FLINK_IMAGES=10000` takes more images.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import threshold_model
from flink_cluster import FlinkCluster
from predicting import inputs_of

from pipeline.commands.phantoms import write_phantoms
from pipeline.prediction.on_beam import on_beam
from pipeline.prediction.predict import OutputError, predict

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

IMAGES = int(os.environ.get("LUNGSEG_FLINK_IMAGES", "400"))
SIZE = 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return threshold_model.save(tmp_path_factory.mktemp("model") / "exported")


def files_in(folder: Path) -> dict[str, bytes]:
    """All files, receipts too, but for the report, which tells the time."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "predictions.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_dead_task_manager_costs_no_image(cluster: FlinkCluster, model: Path, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "phantoms", IMAGES, seed=0, size=SIZE)
    images = tmp_path / "phantoms" / "images"
    for name in sorted(os.listdir(images))[:: IMAGES // 4]:
        (images / name).write_bytes(b"")
    inputs = inputs_of(images)
    here = predict(model, tmp_path / "here", inputs)
    with ThreadPoolExecutor(1) as thread:
        where = partial(on_beam, beam_args=cluster.beam.arguments())
        predicting = thread.submit(predict, model, tmp_path / "there", inputs, where=where)
        while len(list(tmp_path.glob("there/.call-*/rows-*"))) < IMAGES / 8 / 4 and not predicting.done():
            time.sleep(0.05)
        cluster.kill_task_manager(0)
        there = predicting.result()
    assert max(subtask["attempt"] for subtask in cluster.newest_job()["subtasks"]) > 0
    cluster.restart_task_manager(0)
    assert len(there.measurements) == len(inputs) == IMAGES
    assert there.measurements == here.measurements
    assert files_in(tmp_path / "there") == files_in(tmp_path / "here")


def test_what_cannot_be_written_there(cluster: FlinkCluster, model: Path, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "phantoms", 20, seed=0, size=SIZE)
    inputs = inputs_of(tmp_path / "phantoms" / "images")
    (tmp_path / "out" / f"{inputs[12].name}_mask.png").mkdir(parents=True)
    with pytest.raises(OutputError) as caught:
        predict(model, tmp_path / "out", inputs, where=partial(on_beam, beam_args=cluster.beam.arguments()))
    assert str(caught.value) == f"'{tmp_path}/out/{inputs[12].name}_mask.png' cannot be written: Is a directory"
    assert inputs[12].label in caught.value.undone
