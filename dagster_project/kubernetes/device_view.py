"""What a pod on a Jetson has to see of its device, so that a probe in it finds what a probe beside it finds.

A container shows neither the device tree, which runtimes mask with all of ``/sys/firmware``, nor the release of Jetson
Linux. Both are mounted elsewhere, read-only. The publisher in k8s/nodes/platform-publisher.yaml has the same lines:
what it tells of a node is what a build on that node compares itself with.
"""

from __future__ import annotations

from typing import Any

from robot_assets.platforms.probe import PROC_VARIABLE

_PROC = "/device/proc"
_FILES = (
    ("device-tree", "/sys/firmware/devicetree/base", f"{_PROC}/device-tree", "Directory"),
    ("device-cpuinfo", "/proc/cpuinfo", f"{_PROC}/cpuinfo", "File"),
    ("device-l4t", "/etc/nv_tegra_release", "/etc/nv_tegra_release", "File"),
)


def device_view() -> dict[str, Any]:
    """Kubernetes configuration for dagster-k8s, to be merged DEEP: what it adds to volumes, mounts and environment."""
    return {
        "container_config": {
            "env": [{"name": PROC_VARIABLE, "value": _PROC}],
            "volume_mounts": [{"name": name, "mountPath": inside, "readOnly": True} for name, _, inside, _ in _FILES],
        },
        "pod_spec_config": {
            "volumes": [{"name": name, "hostPath": {"path": path, "type": kind}} for name, path, _, kind in _FILES],
        },
    }
