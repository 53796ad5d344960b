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


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(path.name for path in MANIFESTS.iterdir()))
def test_kubernetes_takes_it(name: str, version: str) -> None:
    found = documents(name)
    assert found
    for document in found:
        kubernetes_validate.validate(document, version, strict=True)


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
