"""Parameters of placement: where steps run, and what each pool of nodes is and has.

No stage imports this module and no stage gets these parameters: a move to another node rebuilds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from robot_assets.cluster.quantity import in_bytes
from robot_assets.core.spec import Spec
from robot_assets.platforms.spec import TargetEntry

Architecture = Literal["amd64", "arm64"]

TRAINING = "training"
"""The pool of GPU nodes: checkpoints, PTQ, QAT."""

GENERAL = "general"
"""The pool of everything that is made neither on a GPU node nor on an edge device."""

TARGET_LABEL = "robot-assets/target"
"""The label of the nodes of a target that say themselves what they are."""

ARCHITECTURE_LABEL = "kubernetes.io/arch"
"""The label that every kubelet gives its node."""

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

    The image that carries ``params.yaml`` cannot name its own digest; a deployment hands it over as a variable.
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
    """A taint that pods of a pool tolerate: any value of it when ``value`` is not given."""

    key: Annotated[str, AfterValidator(_label_key)]
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class CacheSpec(Spec):
    """Artifacts that a node keeps for the steps after this one, in a folder of its own that all of them share."""

    path: Annotated[str, AfterValidator(_folder_of_a_node)] = Field(
        default="/var/lib/robot-assets/cache",
        description="folder of the node, for user 10001 to write to; k8s/nodes/k3s/cache.conf makes it",
    )
    size: Amount = Field(
        default="20Gi", description="what is used least recently, and is on the remote, leaves beyond this"
    )


class PoolSpec(Spec):
    """One entry of ``pools``: a set of nodes, and what one step on them gets."""

    node_labels: dict[Annotated[str, AfterValidator(_label_key)], tuple[str, ...]] = Field(
        default={}, description="labels that a node must have, all of them; a list means any of its values"
    )
    architecture: Architecture = "amd64"
    image: ImageSpec | None = Field(default=None, description="default: execution.images of the architecture")
    runtime_class: ObjectName | None = Field(
        default=None, description="nvidia on K3s; none where the nodes' default runtime is NVIDIA's"
    )
    tolerations: tuple[TolerationSpec, ...] = ()
    jetson: bool = Field(
        default=False, description="steps see the device tree and the release of Jetson Linux, as the publisher does"
    )
    gpus: int = Field(default=0, ge=0, le=64, description="whole GPUs of one step, requested and limited alike")
    cpu: float = Field(
        default=1,
        ge=0.1,
        le=1024,
        description="cores that one step is sure of; it may use idle ones, since a CPU limit throttles and would "
        "falsify the latency gate",
    )
    memory: Amount = Field(default="4Gi", description="memory of one step, requested and limited alike")
    memory_max: Amount | None = Field(
        default=None, description="a step that ran out of memory is tried again with more, up to this; none: it fails"
    )
    ephemeral_storage: Amount | None = Field(
        default=None, description="local disk of one step, requested and limited alike; none: what the node has"
    )
    cache: CacheSpec | None = Field(default=None, description="default: execution.cache")
    active_deadline_s: int = Field(default=86_400, ge=60, description="a step that runs longer is ended")
    grace_s: int = Field(default=30, ge=1, le=3600, description="time to save its work for a step that is ended")
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
    def _by_what_a_node_is(cls, labels: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for key, values in labels.items():
            if key.rpartition("/")[2] == "hostname":
                raise ValueError(
                    f"{key} names one machine; needed a label that says what a node is, so that another machine can "
                    "take its place: kubectl label node NODE robot-assets/role=train"
                )
            if key == ARCHITECTURE_LABEL:
                raise ValueError(f"{key} is what architecture says; needed it there alone")
            for value in values:
                if value and not _LABEL_NAME.fullmatch(value):
                    raise ValueError(f"{key}: {value!r} is not a label value")
            if len(set(values)) < max(len(values), 1):
                raise ValueError(f"{key}: needed at least one value, and each of them once")
        return labels

    @model_validator(mode="after")
    def _a_jetson_is_arm(self) -> PoolSpec:
        if self.jetson and self.architecture != "arm64":
            raise ValueError(f"jetson is true and architecture {self.architecture}; needed architecture arm64")
        return self

    @model_validator(mode="after")
    def _ceiling_above_floor(self) -> PoolSpec:
        if self.memory_max is not None and in_bytes(self.memory_max) <= in_bytes(self.memory):
            raise ValueError(f"memory_max is {self.memory_max} and memory {self.memory}; needed a memory_max above it")
        return self


class ExecutionSpec(Spec):
    """The ``execution`` section of params.yaml. What is not given is as the run launcher has it."""

    kind: Literal["local", "kubernetes"] = "local"
    images: dict[Architecture, ImageSpec] = Field(default={}, description="the image of the steps, by architecture")
    namespace: ObjectName | None = None
    service_account: ObjectName | None = None
    signing_key: ObjectName | None = Field(
        default=None, description="the Secret with signing.pem, the key that signs engines; for the steps of targets"
    )
    cache: CacheSpec | None = Field(
        default=None, description="the cache of a node, kept from step to step; none: each pod fetches all it needs"
    )
    image_pull_secrets: tuple[ObjectName, ...] = ()
    env_secrets: tuple[ObjectName, ...] = Field(default=(), description="Secrets that become environment variables")
    env_config_maps: tuple[ObjectName, ...] = ()
    refused_max_s: int = Field(
        default=600,
        ge=10,
        description="a pod that no node takes, or whose image or volume cannot be had, fails after this",
    )
    pending_max_s: int = Field(
        default=21_600,
        ge=10,
        description="a pod that waits for room on a busy node, or for its image, fails after this",
    )
    lost_retries: int = Field(
        default=2, ge=0, le=20, description="further attempts of a step whose node or pod was taken away"
    )
    memory_factor: float = Field(
        default=1.5, gt=1, le=8, description="how much more memory the attempt after one that ran out of it gets"
    )


def image_of(execution: ExecutionSpec, pool: PoolSpec) -> ImageSpec | None:
    """The image of the steps of a pool."""
    return pool.image or execution.images.get(pool.architecture)


def cache_of(execution: ExecutionSpec, pool: PoolSpec) -> CacheSpec | None:
    """The cache on the nodes of a pool."""
    return pool.cache or execution.cache


def pool_of(pools: Mapping[str, PoolSpec], name: str) -> PoolSpec:
    """A pool by its name. The general one need not be described."""
    return pools[name] if name in pools else PoolSpec()


def check_cache(execution: ExecutionSpec, pools: Mapping[str, PoolSpec], has_remote: bool) -> None:
    """Refuse a cache of what lies on no remote.

    Raises:
        ValueError: With the field to change.
    """
    named = {"execution.cache": execution.cache, **{f"pools.{name}.cache": pool.cache for name, pool in pools.items()}}
    for field, cache in named.items():
        if cache is not None and not has_remote:
            raise ValueError(
                f"{field}: store.url is a folder of the project, which needs no cache and would not be found on a "
                "node; needed a store.url that every node reaches, such as s3://bucket/prefix"
            )


def concurrency_limit(pools: Mapping[str, PoolSpec], name: str) -> int | None:
    """How many steps may run in a pool at the same time; None for any number."""
    given = pool_of(pools, name).max_concurrent
    return given if given is not None or name == GENERAL else 1


def check_placement(
    execution: ExecutionSpec, pools: Mapping[str, PoolSpec], targets: Mapping[str, TargetEntry]
) -> None:
    """Refuse pools that contradict the targets, or one another.

    Raises:
        ValueError: The first contradiction, with the field to change.
    """
    for name in (TRAINING, GENERAL):
        if name in targets:
            raise ValueError(f"targets.{name}: {name} is a pool of its own; needed another name for the target")
    known = [TRAINING, GENERAL, *targets]
    for name in pools:
        if name not in known:
            raise ValueError(f"pools.{name}: no such pool; needed one of {', '.join(known)}")
    if execution.kind == "kubernetes":
        _check_cluster(execution, pools, targets)


def _check_cluster(execution: ExecutionSpec, pools: Mapping[str, PoolSpec], targets: Mapping[str, TargetEntry]) -> None:
    for name in (TRAINING, *targets):
        if name not in pools:
            raise ValueError(f"pools.{name}: missing; execution.kind kubernetes needs to know its nodes")
    for name in {GENERAL: None, **pools}:
        pool = pool_of(pools, name)
        if image_of(execution, pool) is None:
            needed = f"pools.{name}.image or execution.images.{pool.architecture}"
            raise ValueError(f"pools.{name} has no image; needed {needed}")
    for name, target in targets.items():
        _check_target(name, target, pools[name])


def _check_target(name: str, target: TargetEntry, pool: PoolSpec) -> None:
    if target.platform == "here":
        raise ValueError(
            f"targets.{name}.platform is {target.platform}: the machine of the code location, on which no step runs "
            "with execution.kind kubernetes; needed node or reported"
        )
    if not pool.node_labels:
        raise ValueError(
            f"pools.{name}.node_labels is empty, and an engine is built on its device alone; needed the label of the "
            f"nodes of {name}: kubectl label node NODE {TARGET_LABEL}={name}"
        )
    if target.platform == "node" and pool.node_labels.get(TARGET_LABEL) != (name,):
        raise ValueError(
            f"pools.{name}.node_labels has no {TARGET_LABEL}: {name}, and targets.{name}.platform is node: the nodes "
            "with that label say what the device is; needed it among the labels, or platform reported"
        )
    if (pool.max_concurrent or 1) > 1 and not pool.gpus:
        raise ValueError(
            f"pools.{name}.max_concurrent is {pool.max_concurrent} and gpus 0: two steps could share a device and "
            "falsify the latency gate; needed max_concurrent 1, or a GPU for each step"
        )
