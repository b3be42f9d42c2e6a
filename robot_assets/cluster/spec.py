"""Parameters of placement: where steps run, and the nodes and resources of each pool.

No stage imports this module or reads these parameters: a move to another node rebuilds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from robot_assets.cluster.quantity import in_bytes
from robot_assets.core.paths import has_shell_syntax
from robot_assets.core.spec import Spec

Architecture = Literal["amd64", "arm64"]

TRAINING = "training"
"""The pool of GPU nodes: checkpoints, PTQ, QAT."""

GENERAL = "general"
"""The pool of all steps that need neither a GPU node nor an edge device."""

TARGET_LABEL = "robot-assets/target"
"""The label of the nodes of a target that publish their own platform."""

ARCHITECTURE_LABEL = "kubernetes.io/arch"
"""The label that every kubelet sets on its node."""

_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")


def _amount(text: str) -> str:
    in_bytes(text)
    return text


def _object_name(name: str) -> str:
    if len(name) > 253 or not _OBJECT_NAME.fullmatch(name):
        raise ValueError("needed the name of a Kubernetes object: lower-case letters, digits, '-' and '.'")
    return name


def _folder_of_a_node(path: str) -> str:
    if has_shell_syntax(path):
        raise ValueError("~ and $VARIABLE are not expanded on a node; needed the path itself")
    if not path.startswith("/") or path == "/" or any(step in ("", ".", "..") for step in path[1:].split("/")):
        raise ValueError("needed an absolute path without '..', such as /var/lib/robot-assets/cache")
    return path


def _label_key(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if not _LABEL_NAME.fullmatch(name) or (slash and not _OBJECT_NAME.fullmatch(prefix)):
        raise ValueError(f"{key!r} is not a label key; needed one such as robot-assets/role")
    return key


Amount = Annotated[str, AfterValidator(_amount)]
ObjectName = Annotated[str, AfterValidator(_object_name)]


class ImageSpec(Spec):
    """A container image: its name, or the environment variable that holds it.

    An image with ``params.yaml`` inside cannot contain its own digest; a deployment sets it as a variable.
    """

    name: str | None = None
    env: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_two(self) -> ImageSpec:
        if (self.name is None) == (self.env is None):
            raise ValueError("needed an image such as registry/train:1.4, or {env: VARIABLE} that holds one")
        if self.name is not None and (not self.name or any(sign.isspace() for sign in self.name)):
            raise ValueError("needed an image such as registry/train:1.4")
        return self


class TolerationSpec(Spec):
    """A taint that the pods of a pool tolerate, with any value when ``value`` is not given."""

    key: Annotated[str, AfterValidator(_label_key)]
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class CacheSpec(Spec):
    """The artifact cache of a node: a folder that all its steps share and that outlives them."""

    path: Annotated[str, AfterValidator(_folder_of_a_node)] = Field(
        default="/var/lib/robot-assets/cache",
        description="folder of the node, writable for user 10001; k8s/nodes/k3s/cache.conf creates it",
    )
    size: Amount = Field(
        default="20Gi",
        description="beyond it, objects that the remote has are evicted, least recently used first",
    )


class PoolSpec(Spec):
    """One entry of ``pools``: a set of nodes, and the resources of one step on them."""

    node_labels: dict[Annotated[str, AfterValidator(_label_key)], tuple[str, ...]] = Field(
        default={}, description="labels that a node must have, all of them; a list allows any of its values"
    )
    architecture: Architecture = "amd64"
    image: ImageSpec | None = Field(default=None, description="default: execution.images of the architecture")
    runtime_class: ObjectName | None = Field(
        default=None, description="nvidia on K3s; none where the nodes' default runtime is NVIDIA's"
    )
    tolerations: tuple[TolerationSpec, ...] = ()
    jetson: bool = Field(
        default=False,
        description="mount the device tree and the release file of Jetson Linux into the steps",
    )
    gpus: int = Field(default=0, ge=0, le=64, description="whole GPUs of one step, as request and limit")
    cpu: float = Field(
        default=1,
        ge=0.1,
        le=1024,
        description="cores that one step requests; it may use idle cores beyond, since a CPU limit throttles and would "
        "distort the latency gate",
    )
    memory: Amount = Field(default="4Gi", description="memory of one step, as request and limit")
    memory_max: Amount | None = Field(
        default=None, description="a step that ran out of memory is retried with more, up to this; none: it fails"
    )
    ephemeral_storage: Amount | None = Field(
        default=None, description="local disk of one step, as request and limit; none: no limit"
    )
    cache: CacheSpec | None = Field(default=None, description="default: execution.cache")
    active_deadline_s: int = Field(default=86_400, ge=60, description="a step that runs longer is terminated")
    grace_s: int = Field(default=30, ge=1, le=3600, description="time for a terminated step to save its work")
    max_concurrent: int | None = Field(
        default=None, ge=1, description="steps at the same time; default: 1, and no limit for general"
    )

    @field_validator("node_labels", mode="before")
    @classmethod
    def _lists_of_values(cls, labels: Any) -> Any:
        if not isinstance(labels, dict):
            return labels
        return {key: value if isinstance(value, list | tuple) else (value,) for key, value in labels.items()}

    @field_validator("node_labels")
    @classmethod
    def _valid_labels(cls, labels: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for key, values in labels.items():
            if key.rpartition("/")[2] == "hostname":
                raise ValueError(
                    f"{key} names one machine; needed a label for the role of a node, so that another machine can "
                    "replace it: kubectl label node NODE robot-assets/role=train"
                )
            if key == ARCHITECTURE_LABEL:
                raise ValueError(f"{key} is set by architecture; needed no label for it")
            for value in values:
                if value and not _LABEL_NAME.fullmatch(value):
                    raise ValueError(f"{key}: {value!r} is not a label value")
            if len(set(values)) < max(len(values), 1):
                raise ValueError(f"{key}: needed at least one value, and each of them once")
        return labels

    @model_validator(mode="after")
    def _jetson_is_arm64(self) -> PoolSpec:
        if self.jetson and self.architecture != "arm64":
            raise ValueError(f"jetson is true and architecture is {self.architecture}; needed architecture arm64")
        return self

    @model_validator(mode="after")
    def _memory_max_above_memory(self) -> PoolSpec:
        if self.memory_max is not None and in_bytes(self.memory_max) <= in_bytes(self.memory):
            raise ValueError(f"memory_max is {self.memory_max} and memory is {self.memory}; needed a larger memory_max")
        return self


class FleetKeysSpec(Spec):
    """Secrets with the private keys of the distribution repository of the fleet; the keys of the root stay offline."""

    releases: ObjectName | None = Field(
        default=None, description="the Secret with releases.pem, which says what is authentic; for steps of release/*"
    )
    rollout: ObjectName | None = Field(
        default=None,
        description="the Secret with assignments.pem, snapshot.pem and timestamp.pem, which say who gets what now; for "
        "steps of rollout/*",
    )

    def secret_of(self, role: str) -> ObjectName | None:
        """The Secret with the key of a role."""
        return self.releases if role == "releases" else self.rollout


class ExecutionSpec(Spec):
    """The ``execution`` section of params.yaml. Keys that are not given default to the run launcher's settings."""

    kind: Literal["local", "kubernetes"] = "local"
    images: dict[Architecture, ImageSpec] = Field(default={}, description="the image of the steps, by architecture")
    namespace: ObjectName | None = None
    service_account: ObjectName | None = None
    signing_key: ObjectName | None = Field(
        default=None,
        description="the Secret with signing.pem, the key that signs engines; for the steps of targets",
    )
    fleet_keys: FleetKeysSpec | None = Field(
        default=None, description="Secrets with the private keys of the distribution repository of the fleet"
    )
    cache: CacheSpec | None = Field(
        default=None, description="the artifact cache of a node; none: each pod fetches all objects that it needs"
    )
    image_pull_secrets: tuple[ObjectName, ...] = ()
    env_secrets: tuple[ObjectName, ...] = Field(default=(), description="Secrets that become environment variables")
    env_config_maps: tuple[ObjectName, ...] = ()
    refused_max_s: int = Field(
        default=600,
        ge=10,
        description="a pod that cannot be scheduled, or whose image or volume is missing, fails after this",
    )
    pending_max_s: int = Field(
        default=21_600,
        ge=10,
        description="a pod that waits for free resources or for its image fails after this",
    )
    lost_retries: int = Field(
        default=2, ge=0, le=20, description="further attempts of a step whose node or pod was lost"
    )
    memory_factor: float = Field(
        default=1.5, gt=1, le=8, description="increase of memory for the attempt after one that ran out of memory"
    )


def image_of(execution: ExecutionSpec, pool: PoolSpec) -> ImageSpec | None:
    """The image of the steps of a pool."""
    return pool.image or execution.images.get(pool.architecture)


def cache_of(execution: ExecutionSpec, pool: PoolSpec) -> CacheSpec | None:
    """The cache on the nodes of a pool."""
    return pool.cache or execution.cache


def pool_of(pools: Mapping[str, PoolSpec], name: str) -> PoolSpec:
    """A pool by its name; the pool ``general`` may be missing from params.yaml."""
    return pools[name] if name in pools else PoolSpec()


def check_cache(execution: ExecutionSpec, pools: Mapping[str, PoolSpec], has_remote: bool) -> None:
    """Check that a cache has a remote behind it.

    Raises:
        ValueError: It has none; with the field to change.
    """
    named = {"execution.cache": execution.cache, **{f"pools.{name}.cache": pool.cache for name, pool in pools.items()}}
    for field, cache in named.items():
        if cache is not None and not has_remote:
            raise ValueError(
                f"{field}: store.url is a folder of the project, which needs no cache and does not exist on a node; "
                "needed a store.url that every node reaches, such as s3://bucket/prefix"
            )


def concurrency_limit(pools: Mapping[str, PoolSpec], name: str) -> int | None:
    """How many steps may run in a pool at the same time; None: no limit."""
    given = pool_of(pools, name).max_concurrent
    return given if given is not None or name == GENERAL else 1


def check_placement(execution: ExecutionSpec, pools: Mapping[str, PoolSpec], targets: Mapping[str, str]) -> None:
    """Check pools against the targets and against one another.

    Args:
        execution: Where steps run.
        pools: By name.
        targets: Target -> how its device is observed: here, reported or node.

    Raises:
        ValueError: The first contradiction, with the field to change.
    """
    for name in (TRAINING, GENERAL):
        if name in targets:
            raise ValueError(f"targets.{name}: {name} is the name of a pool; needed another name for the target")
    known = [TRAINING, GENERAL, *targets]
    for name in pools:
        if name not in known:
            raise ValueError(f"pools.{name}: no such pool; needed one of {', '.join(known)}")
    if execution.kind == "kubernetes":
        _check_cluster(execution, pools, targets)


def _check_cluster(execution: ExecutionSpec, pools: Mapping[str, PoolSpec], targets: Mapping[str, str]) -> None:
    for name in (TRAINING, *targets):
        if name not in pools:
            raise ValueError(f"pools.{name}: missing; needed with execution.kind kubernetes")
    for name in {GENERAL: None, **pools}:
        pool = pool_of(pools, name)
        if image_of(execution, pool) is None:
            needed = f"pools.{name}.image or execution.images.{pool.architecture}"
            raise ValueError(f"pools.{name} has no image; needed {needed}")
    for name, platform in targets.items():
        _check_target(name, platform, pools[name])


def _check_target(name: str, platform: str, pool: PoolSpec) -> None:
    if platform == "here":
        raise ValueError(
            f"targets.{name}.platform is {platform}: the machine of the code location, which runs no step with "
            "execution.kind kubernetes; needed node or reported"
        )
    if not pool.node_labels:
        raise ValueError(
            f"pools.{name}.node_labels is empty, but engines are built on their device; needed the label of the nodes "
            f"of {name}: kubectl label node NODE {TARGET_LABEL}={name}"
        )
    if platform == "node" and pool.node_labels.get(TARGET_LABEL) != (name,):
        raise ValueError(
            f"pools.{name}.node_labels has no {TARGET_LABEL}: {name}, but targets.{name}.platform is node: the nodes "
            "with that label publish the platform; needed the label, or platform reported"
        )
    if (pool.max_concurrent or 1) > 1 and not pool.gpus:
        raise ValueError(
            f"pools.{name}.max_concurrent is {pool.max_concurrent} and gpus is 0: two steps could share a device and "
            "distort the latency gate; needed max_concurrent 1, or a GPU for each step"
        )
