"""What an operator applies to a cluster is what Kubernetes takes, and fits what the pipeline does."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import pipeline.kubeflow
from pipeline.kubeflow.settings import KubeflowSettings

MANIFESTS = Path(pipeline.kubeflow.__file__).with_name("manifests")
VERSIONS = ("1.27", "1.31")
PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
DOCUMENTED = {"job_endpoint": "lungseg-job-server:8099", "worker_pool": "localhost:50000"}
"""Of the section `beam`, as the README has it."""


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


def known_to_kubernetes(document: dict[str, Any]) -> dict[str, Any]:
    """A document, or of one of an operator's own kind, the pod in it."""
    if document["kind"] != "FlinkDeployment":
        return document
    template = document["spec"]["taskManager"]["podTemplate"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": document["metadata"], **template}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(path.name for path in MANIFESTS.iterdir()))
def test_kubernetes_takes_it(name: str, version: str) -> None:
    parsed = documents(name)
    assert parsed
    for document in parsed:
        kubernetes_validate.validate(known_to_kubernetes(document), version, strict=True)


def test_the_validation_can_fail() -> None:
    (volume,) = documents("volume.yaml")
    volume["spec"]["acessModes"] = volume["spec"].pop("accessModes")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(volume, VERSIONS[0], strict=True)


def test_names_fit_what_is_compiled() -> None:
    ((mount, claim),) = KubeflowSettings().volumes.items()
    (volume,) = documents("volume.yaml")
    deployment, service = documents("serving.yaml")
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert volume["metadata"]["name"] == claim == pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert container["volumeMounts"][0]["mountPath"] == mount
    assert f"--model_base_path={mount}/serving" in container["args"]
    assert service["spec"]["selector"] == pod["metadata"]["labels"]


def test_the_clean_up_sees_the_volume() -> None:
    ((mount, claim),) = KubeflowSettings().volumes.items()
    (cleanup,) = documents("cleanup.yaml")
    pod = cleanup["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim
    assert container["volumeMounts"][0]["mountPath"] == mount
    assert f"--root={mount}" in container["command"]


def test_a_flink_cluster_finds_its_parts() -> None:
    flink, job_server, service = documents("flink.yaml")
    name, port = DOCUMENTED["job_endpoint"].split(":")
    assert (service["metadata"]["name"], service["spec"]["ports"][0]["port"]) == (name, int(port))
    assert service["spec"]["selector"] == job_server["spec"]["template"]["metadata"]["labels"]
    (container,) = job_server["spec"]["template"]["spec"]["containers"]
    assert f"--flink-master={flink['metadata']['name']}-rest:8081" in container["args"]
    assert f"--job-host={name}" in container["args"]
    _, pool = flink["spec"]["taskManager"]["podTemplate"]["spec"]["containers"]
    assert f"--service_port={DOCUMENTED['worker_pool'].split(':')[1]}" in pool["args"]
    (worker,) = (
        argument.removeprefix("--container_executable=") for argument in pool["args"] if "executable" in argument
    )
    assert f'\n{worker.rpartition("/")[2]} = "pipeline.' in PYPROJECT.read_text()
    ((mount, claim),) = KubeflowSettings().volumes.items()
    for spec in (flink["spec"]["taskManager"]["podTemplate"]["spec"], job_server["spec"]["template"]["spec"]):
        assert spec["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim
    for container_ in (pool, container):
        assert container_["volumeMounts"][0]["mountPath"] == mount
