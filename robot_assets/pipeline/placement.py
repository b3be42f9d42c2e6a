"""Where each step runs on a cluster: params.yaml -> the ``dagster-k8s/config`` tag and the concurrency pool of an op.

The pool alone decides. The tag is merged SHALLOW: each of its keys replaces that key of the run launcher, the code
location and the executor, where DEEP would append. Appended, two required affinities are two ``nodeSelectorTerms``,
which Kubernetes combines with OR: a step for a Jetson could run on any node that the other layer selects. A node
selector of another layer, which would be combined with AND, is replaced by an empty one.

Only on a cluster: with ``execution.kind: local`` no op has a tag or a pool.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from robot_assets.cluster.spec import (
    ARCHITECTURE_LABEL,
    GENERAL,
    TRAINING,
    ImageSpec,
    PoolSpec,
    TolerationSpec,
    concurrency_limit,
    image_of,
    pool_of,
)
from robot_assets.core.errors import ParamsError
from robot_assets.pipeline.params import Params

CONFIG_TAG = "dagster-k8s/config"
POOL_TAG = "robot_assets/pool"
KEYS_TAG = "robot_assets/fleet_keys"
"""Roles of the distribution repository whose private keys a step gets, separated by commas."""
GPU = "nvidia.com/gpu"


def train_affinity(params: Params) -> dict[str, Any]:
    """The Kubernetes configuration of a step that trains: on a node of the pool ``training``."""
    return _configuration(params, TRAINING)


def edge_affinity(params: Params, target: str) -> dict[str, Any]:
    """The Kubernetes configuration of a step that builds or checks an engine: on a device of ``target``."""
    return _configuration(params, target)


def anywhere(params: Params) -> dict[str, Any]:
    """The Kubernetes configuration of every other step: on any node that the pool ``general`` allows."""
    return _configuration(params, GENERAL)


def tags_of(params: Params, pool: str) -> dict[str, Any]:
    """Op tags of a step in a pool; empty with ``execution.kind: local``."""
    if params.execution.kind == "local":
        return {}
    place = {TRAINING: train_affinity, GENERAL: anywhere}.get(pool)
    config = place(params) if place else edge_affinity(params, pool)
    return {CONFIG_TAG: config, POOL_TAG: pool}


def placed(params: Params, pool: str, fleet_keys: Sequence[str] = ()) -> dict[str, Any]:
    """Arguments for ``dg.asset`` and ``dg.asset_check``: op tags, and the concurrency pool where one is limited."""
    is_cluster = params.execution.kind == "kubernetes"
    limited = is_cluster and concurrency_limit(params.pools, pool) is not None
    keys = {KEYS_TAG: ",".join(fleet_keys)} if is_cluster and fleet_keys else {}
    return {"op_tags": tags_of(params, pool) | keys, "pool": pool if limited else None}


def concurrency_limits(params: Params) -> dict[str, int]:
    """Limits of concurrent steps, by concurrency pool."""
    limits = {name: concurrency_limit(params.pools, name) for name in (TRAINING, GENERAL, *params.targets)}
    return {name: limit for name, limit in limits.items() if limit is not None}


def image_name(params: Params, pool: str) -> str:
    """The image of a step in a pool.

    Raises:
        ParamsError: It is in an environment variable that is not set.
    """
    image = image_of(params.execution, pool_of(params.pools, pool))
    name = _known_name(image)
    if name is None:
        variable = image.env if image else ""
        raise ParamsError(
            f"the image of the pool {pool} is in {variable}, which is not set here",
            needed=f"{variable} in the environment of the code location and of the run",
            fix=f"set {variable} in the ConfigMap of the deployment, or name the image in params.yaml",
        )
    return name


def _known_name(image: ImageSpec | None) -> str | None:
    """The name of an image; None when its environment variable is set in the cluster only, as on a laptop."""
    if image is None or image.env is None:
        return image.name if image else None
    return os.environ.get(image.env) or None


def _configuration(params: Params, name: str) -> dict[str, Any]:
    pool = pool_of(params.pools, name)
    image = _known_name(image_of(params.execution, pool))
    return {
        "merge_behavior": "SHALLOW",
        "container_config": {"resources": _resources(pool), **({"image": image} if image else {})},
        "pod_spec_config": {
            "affinity": _affinity(pool),
            "nodeSelector": {},
            "tolerations": [_toleration(each) for each in pool.tolerations],
            "runtimeClassName": pool.runtime_class,
            "activeDeadlineSeconds": pool.active_deadline_s,
            "terminationGracePeriodSeconds": pool.grace_s,
            "restartPolicy": "Never",
            # A step reads and writes the instance and the store; only its run uses the API server.
            "automountServiceAccountToken": False,
        },
        # Dagster decides on further attempts: a pod that Kubernetes restarts would fail without a diagnosis.
        "job_spec_config": {"backoffLimit": 0},
    }


def _affinity(pool: PoolSpec) -> dict[str, Any]:
    """One term with all labels: Kubernetes combines expressions of a term with AND, and terms with OR."""
    labels: Mapping[str, tuple[str, ...]] = {ARCHITECTURE_LABEL: (pool.architecture,), **pool.node_labels}
    expressions = [{"key": key, "operator": "In", "values": list(values)} for key, values in labels.items()]
    terms = [{"matchExpressions": expressions}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def _resources(pool: PoolSpec) -> dict[str, dict[str, str]]:
    """Equal requests and limits; the CPU has no limit."""
    both = {"memory": pool.memory}
    if pool.ephemeral_storage is not None:
        both["ephemeral-storage"] = pool.ephemeral_storage
    if pool.gpus:
        both[GPU] = str(pool.gpus)
    return {"requests": {"cpu": f"{round(pool.cpu * 1000)}m", **both}, "limits": both}


def _toleration(spec: TolerationSpec) -> dict[str, str]:
    toleration = {"key": spec.key, "operator": "Exists" if spec.value is None else "Equal"}
    if spec.value is not None:
        toleration["value"] = spec.value
    if spec.effect is not None:
        toleration["effect"] = spec.effect
    return toleration
