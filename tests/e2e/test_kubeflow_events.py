"""What a webhook hears of compiled runs, each step a process of its own: a last one tells, however the others end."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import compile_for
from kubeflow_cluster import Cluster, Json, Moments, StepError, processes
from webhook_server import WebhookServer

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.nightly]

SETTINGS = {
    "model.image_size": "64",
    "train.epochs": "1",
    "evaluate.min_patients": "3",
    "evaluate.rules": "[{metric: dice_mean, at_least: 0.0}]",
}


@pytest.fixture
def volume(tmp_path: Path, phantom_data: Path) -> Path:
    shutil.copytree(phantom_data, tmp_path / "volume" / "data")
    return tmp_path / "volume"


@pytest.fixture
def vanish() -> Moments:
    return {}


@pytest.fixture
def cluster(tmp_path: Path, vanish: Moments) -> Cluster:
    return Cluster(tmp_path / "cluster", processes(tmp_path / "cluster", vanish=vanish))


def compile_told(volume: Path, server: WebhookServer, *options: object) -> list[Json]:
    return compile_for(volume, {**SETTINGS, "notify.url": server.url}, *options)


def data(server: WebhookServer) -> list[Any]:
    """Of each event but the first, which tells that a run starts."""
    bodies = [json.loads(request.body) for request in server.requests if "started" not in request.headers["ce-type"]]
    assert all((body.pop("format_version"), body.pop("pipeline")) == (1, "lungseg") for body in bodies)
    return bodies


def test_a_run_that_pushes_and_one_that_finds_nothing_new(volume: Path, cluster: Cluster) -> None:
    with WebhookServer() as server:
        documents = compile_told(volume, server)
        done = cluster.run(documents, {})
        assert {"Reporter", "Notifier"} <= set(done)
        idle = cluster.run(documents, {})
        assert set(idle) == {"ChangeDetector", "Notifier"}
    assert server.types == ["started", "blessed", "started", "unchanged"]
    assert data(server) == [{"version": "1"}, {"version": "1"}]
    runs = [request.headers["ce-subject"] for request in server.requests]
    assert (runs[0], runs[2]) == (runs[1], runs[3])
    assert runs[0] != runs[2]


def test_a_run_that_the_gate_stops(volume: Path, cluster: Cluster) -> None:
    with WebhookServer() as server:
        shutil.copytree(volume / "data", volume / "north")
        documents = compile_told(volume, server, "--external", f"north={volume / 'north'}")
        with pytest.raises(StepError, match="DataGate is not started again"):
            cluster.run(documents, {})
    assert server.types == ["started", "data_refused"]
    (refused,) = data(server)
    assert set(refused) == {"case"}


def test_a_run_of_which_a_pod_is_lost(volume: Path, cluster: Cluster, vanish: Moments) -> None:
    vanish["ExampleGen"] = lambda: any(volume.glob("notes/*/ExampleGen/note.json"))
    with WebhookServer() as server:
        documents = compile_told(volume, server, "--set", "kubeflow.retries=0")
        with pytest.raises(StepError, match="its pod vanished"):
            cluster.run(documents, {})
    assert server.types == ["started", "failed"]
    cause = "it ended without a word, such as killed for want of memory or with its node"
    assert data(server) == [{"component": "ExampleGen", "cause": cause}]
