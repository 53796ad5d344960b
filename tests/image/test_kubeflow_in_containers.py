"""The compiled pipeline, each step in a container of the image, with its own command, as Kubeflow would run them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from containers import RunInContainer
from kubeflow_cluster import Cluster

RULES = "[{metric: dice_mean, at_least: 0.5}, {metric: dice_mean, at_least: 0.5, slice: {is_augmented: 0}}]"


@pytest.fixture(scope="module")
def volume(run_in_container: RunInContainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the persistent volume holds: data, and the pipeline, which is compiled without a network as well."""
    folder = tmp_path_factory.mktemp("volume")
    for command in (
        "phantoms --output /lungseg/images --count 80 --size 128",
        "ingest --layout folder --input /lungseg/images --output /lungseg/data --size 128",
        "kubeflow compile --config demo --image lungseg:1 --output /lungseg/pipeline.yaml "
        "--set model.image_size=64 --set train.epochs=4 --set evaluate.min_patients=3",
    ):
        rules = ["--set", f"evaluate.rules={RULES}"] if "compile" in command else []
        done = run_in_container(["lungseg", *command.split(), *rules], {folder: "/lungseg"})
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.nightly
def test_the_whole_graph_ends_with_a_model_that_serves(
    run_in_container: RunInContainer, volume: Path, tmp_path: Path
) -> None:
    def launch(_: str, command: list[str]) -> "subprocess.CompletedProcess[str]":
        # The launcher's copies belong to the pod's user.
        subprocess.run(["chmod", "--recursive", "a+rwX", cluster.copies], check=True)
        return run_in_container(command, {cluster.copies: "/minio", volume: "/lungseg"})

    cluster = Cluster(tmp_path, launch, mount="/minio")
    documents: list[dict[str, Any]] = list(yaml.safe_load_all((volume / "pipeline.yaml").read_text()))
    done = cluster.run(documents, {})
    assert set(done) == set(documents[0]["root"]["dag"]["tasks"])
    assert done["Pusher"].outputs["pushed_model"]["metadata"]["pushed_version"] == "1"
    assert json.loads((volume / "serving/current.json").read_text())["version"] == 1
    assert (volume / "serving/1/saved_model.pb").stat().st_size > 0
    assert (cluster.path(done["Reporter"].outputs["report"]) / "index.html").stat().st_size > 0
