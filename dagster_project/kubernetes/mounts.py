"""Mounts and variables of step pods: image name, cache of the node, device files of a Jetson, signing keys.

All are merged DEEP, after placement: they add to the volumes, mounts and variables of the run launcher.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from robot_assets.cluster.spec import CacheSpec, FleetKeysSpec, cache_of, pool_of
from robot_assets.fleet.desired import KEYS_VARIABLE
from robot_assets.lineage.record import IMAGE_VARIABLE
from robot_assets.pipeline.params import Params
from robot_assets.pipeline.placement import image_name
from robot_assets.pipeline.project import CACHE_LIMIT_VARIABLE, CACHE_VARIABLE
from robot_assets.platforms.probe import PROC_VARIABLE
from robot_assets.provenance.keys import KEY_VARIABLE

_PROC = "/device/proc"
_FILES = (
    ("device-tree", "/sys/firmware/devicetree/base", f"{_PROC}/device-tree", "Directory"),
    ("device-cpuinfo", "/proc/cpuinfo", f"{_PROC}/cpuinfo", "File"),
    ("device-l4t", "/etc/nv_tegra_release", "/etc/nv_tegra_release", "File"),
)
_KEY_FOLDER = "/run/robot-assets"
_KEY_FILE = "signing.pem"
_FLEET_KEYS_FOLDER = "/run/robot-assets-fleet"
_GROUP = 10001
"""The group of the images' user. Without an ``fsGroup``, only root can read a mounted secret."""


def mounts_of(params: Params, pool: str, fleet_keys: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Yields further layers of Kubernetes configuration for a step.

    Args:
        params: The parameters of its project.
        pool: Its pool.
        fleet_keys: Roles of the distribution repository with whose keys it signs.

    Raises:
        ParamsError: Its image is in an environment variable that is not set.
    """
    # stored in the record of a build: by digest, when the deployment pins one
    yield {"container_config": {"env": [{"name": IMAGE_VARIABLE, "value": image_name(params, pool)}]}}
    cache = cache_of(params.execution, pool_of(params.pools, pool))
    if cache is not None:
        yield node_cache(cache)
    if pool_of(params.pools, pool).jetson:
        yield device_view()
    if pool in params.targets and params.execution.signing_key is not None:
        yield signing_key(params.execution.signing_key)
    if sources := _fleet_sources(params.execution.fleet_keys or FleetKeysSpec(), fleet_keys):
        yield fleet_keys_volume(sources)


def node_cache(cache: CacheSpec) -> dict[str, Any]:
    """The artifact cache of a node. Steps of all runs share it, and it outlives their pods.

    A hostPath and no claim: a claim is bound to one node, and so would be every step that uses it. The folder has to
    exist, and the pod fails with that reason otherwise: the kubelet would create it as root.
    """
    return {
        "container_config": {
            "env": [
                {"name": CACHE_VARIABLE, "value": cache.path},
                {"name": CACHE_LIMIT_VARIABLE, "value": cache.size},
            ],
            "volume_mounts": [{"name": "artifact-cache", "mountPath": cache.path}],
        },
        "pod_spec_config": {
            "volumes": [{"name": "artifact-cache", "hostPath": {"path": cache.path, "type": "Directory"}}],
        },
    }


def device_view() -> dict[str, Any]:
    """The device files that a probe reads in a pod on a Jetson, so that its result is that of a probe on the host.

    A container has neither the device tree, which runtimes mask with all of ``/sys/firmware``, nor the release of
    Jetson Linux. Both are mounted elsewhere, read-only. The publisher in k8s/nodes/platform-publisher.yaml has the same
    mounts: a build on a node compares its own probe with the published one.
    """
    return {
        "container_config": {
            "env": [{"name": PROC_VARIABLE, "value": _PROC}],
            "volume_mounts": [{"name": name, "mountPath": inside, "readOnly": True} for name, _, inside, _ in _FILES],
        },
        "pod_spec_config": {
            "volumes": [{"name": name, "hostPath": {"path": path, "type": kind}} for name, path, _, kind in _FILES],
        },
    }


def signing_key(secret: str) -> dict[str, Any]:
    """The private key, only for the steps that build and check engines."""
    return {
        "container_config": {
            "env": [{"name": KEY_VARIABLE, "value": f"{_KEY_FOLDER}/{_KEY_FILE}"}],
            "volume_mounts": [{"name": "signing-key", "mountPath": _KEY_FOLDER, "readOnly": True}],
        },
        "pod_spec_config": {
            "volumes": [{"name": "signing-key", "secret": {"secretName": secret, "defaultMode": 0o400}}],
            "securityContext": {"fsGroup": _GROUP},
        },
    }


def _fleet_sources(secrets: FleetKeysSpec, roles: Sequence[str]) -> list[dict[str, Any]]:
    """The keys of some roles and of no other, also when one Secret has them all."""
    named = [(role, secret) for role in roles if (secret := secrets.secret_of(role)) is not None]
    return [
        {"secret": {"name": secret, "items": [{"key": f"{role}.pem", "path": f"{role}.pem"}]}} for role, secret in named
    ]


def fleet_keys_volume(sources: list[dict[str, Any]]) -> dict[str, Any]:
    """Private keys of the distribution repository, only for the steps that sign with them."""
    return {
        "container_config": {
            "env": [{"name": KEYS_VARIABLE, "value": _FLEET_KEYS_FOLDER}],
            "volume_mounts": [{"name": "fleet-keys", "mountPath": _FLEET_KEYS_FOLDER, "readOnly": True}],
        },
        "pod_spec_config": {
            "volumes": [{"name": "fleet-keys", "projected": {"sources": sources, "defaultMode": 0o400}}],
            "securityContext": {"fsGroup": _GROUP},
        },
    }
