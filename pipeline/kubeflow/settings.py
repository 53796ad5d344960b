"""Where and with what the steps run on Kubeflow: the section `kubeflow` of a configuration."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from schema.settings import Settings

Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|[MGT]|[KMGT]i)?$")]
"""As Kubernetes writes it, such as `500m`, `4` or `16Gi`."""
MountPath = Annotated[str, Field(pattern=r"^/[^:]*$")]


def kind_of(component: str) -> str:
    """Return the kind of a component by its id: in a study, `Trainer-7-1f0c2a9b` is one `Trainer` of many."""
    return component.partition("-")[0]


class Resources(Settings):
    """What a step asks the cluster for; what is not named is left to the cluster."""

    cpu: Quantity | None = None
    """Cores, as request and limit, such as `500m` or `4`."""
    memory: Quantity | None = None
    """Memory, as request and limit, such as `16Gi`."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """Number of GPUs."""
    gpu_type: str = "nvidia.com/gpu"
    """What the cluster calls a GPU as a resource."""


class Toleration(Settings):
    """A taint that a step's node may have, as Kubernetes names it."""

    key: str | None = None
    """Of the taint; without one, `Exists` tolerates every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """`Equal`: the taint must have this value; `Exists`: it may have any."""
    value: str | None = None
    """Of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Of the taint; without one, all effects are tolerated."""

    @model_validator(mode="after")
    def _as_kubernetes_takes_it(self) -> "Toleration":
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("operator Exists takes no value: leave one of both out")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("operator Equal needs a key: name it, or write operator: Exists")
        return self


class Placement(Settings):
    """On which nodes a step may run."""

    node_selector: dict[str, str] = Field(default={})
    """Labels that the node must have, and their values."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that the node may have."""


class Secret(Settings):
    """A secret of the cluster, by name; its content never passes through here."""

    name: str
    """What the cluster calls it; without dots if it is mounted."""
    mount_path: MountPath | None = None
    """Where its keys appear as files."""
    env: dict[str, str] = Field(default={})
    """Environment variable by key of the secret."""

    @model_validator(mode="after")
    def _can_name_a_volume(self) -> "Secret":
        if self.mount_path is not None:
            _check_volume_name(self.name)
        return self


class KubeflowSettings(Settings):
    """Where and with what the steps run. Components are named as in the graph; in a study, `Trainer` is every one."""

    pipeline_root: Annotated[str, Field(pattern=r"^(minio|s3|gs)://.+")] | None = None
    """Where Kubeflow keeps what the steps hand on; by default where its installation says."""
    retries: Annotated[int, Field(ge=0)] = 2
    """How often a step that fails is started again in its pod, unless it would fail again for sure; also, how often the
    installation may start another pod, if it does (pipeline/kubeflow/README.md). A training goes on where it was."""
    volumes: dict[MountPath, str] = Field(default={"/lungseg": "lungseg"})
    """Persistent volume claims, named without dots, by the folder at which every step sees them."""
    resources: dict[str, Resources] = Field(default={})
    """What the step of a component asks the cluster for, by component."""
    placement: dict[str, Placement] = Field(default={})
    """On which nodes the step of a component may run, by component."""
    secrets: tuple[Secret, ...] = ()
    """What every step is given of the cluster's secrets."""
    shared_memory: Quantity | None = "8Gi"
    """Of `/dev/shm` for the training, through which several GPUs talk to each other (NCCL)."""

    @field_validator("volumes")
    @classmethod
    def _claims_can_name_volumes(cls, volumes: dict[str, str]) -> dict[str, str]:
        for claim in volumes.values():
            _check_volume_name(claim)
        return volumes


def _check_volume_name(name: str) -> None:
    """Refuse what Kubernetes takes as a claim's or a secret's name, but not as the name of the pod's volume."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
        raise ValueError(
            f"'{name}' cannot be mounted, since Kubeflow gives its name to a volume of the pod: name one of up to 63 "
            "small letters, digits and '-'"
        )
