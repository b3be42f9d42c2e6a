"""Where each step runs on a cluster: params.yaml -> the ``dagster-k8s/config`` tag and the concurrency pool of an op.

What a pool says is all there is. The tag is merged SHALLOW: each key that it gives replaces what the run launcher,
the code location or the executor has under that key, where DEEP would append. Appended, two required affinities are
two ``nodeSelectorTerms``, which Kubernetes reads as OR: a step for a Jetson could run on any node that the other
layer names. A node selector of another layer, which would be read as AND, is replaced by an empty one.

Only on a cluster: with ``execution.kind: local`` no op has a tag or a pool.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
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
    """Op tags of a step that runs in a pool. None where steps run here."""
    if params.execution.kind == "local":
        return {}
    place = {TRAINING: train_affinity, GENERAL: anywhere}.get(pool)
    config = place(params) if place else edge_affinity(params, pool)
    return {CONFIG_TAG: config, POOL_TAG: pool}


def placed(params: Params, pool: str) -> dict[str, Any]:
    """Arguments for ``dg.asset`` and ``dg.asset_check``: op tags, and the concurrency pool where one is limited."""
    limited = params.execution.kind == "kubernetes" and concurrency_limit(params.pools, pool) is not None
    return {"op_tags": tags_of(params, pool), "pool": pool if limited else None}


def concurrency_limits(params: Params) -> dict[str, int]:
    """How many steps may run at the same time, by concurrency pool."""
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
    """An image by its name. None when only a process of the cluster knows it: a laptop may look at the graph too."""
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
            # A step reads and writes the instance and the store; only its run talks to the API server.
            "automountServiceAccountToken": False,
        },
        # Dagster decides on further attempts: a pod that Kubernetes started again would end without a word.
        "job_spec_config": {"backoffLimit": 0},
    }


def _affinity(pool: PoolSpec) -> dict[str, Any]:
    """One term with all labels: Kubernetes reads the expressions of one term as AND, several terms as OR."""
    labels: Mapping[str, tuple[str, ...]] = {ARCHITECTURE_LABEL: (pool.architecture,), **pool.node_labels}
    expressions = [{"key": key, "operator": "In", "values": list(values)} for key, values in labels.items()]
    terms = [{"matchExpressions": expressions}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def _resources(pool: PoolSpec) -> dict[str, dict[str, str]]:
    """Requested and limited alike, but for the CPU, which is not limited."""
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
