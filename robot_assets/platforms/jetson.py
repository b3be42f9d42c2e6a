"""Reads what identifies a Jetson from the files that JetPack installs. Loads no library and uses no GPU.

TensorRT's ``Runtime`` is not used: without CUDA it is a null object that crashes the process. Nor is CUDA: initialized
here, it would be broken in every process that a long-lived code location forks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

COMPUTE_CAPABILITIES = {
    "tegra210": "5.3",  # Jetson Nano, TX1
    "tegra186": "6.2",  # TX2
    "tegra194": "7.2",  # Xavier
    "tegra234": "8.7",  # Orin
    "tegra264": "11.0",  # Thor, in the numbering of CUDA 13
}
"""SoC -> compute capability of its GPU (CUDA C++ Programming Guide)."""

_RELEASE = re.compile(r"R(\d+) \(release\), REVISION: ([\d.]+)")
_SOC = re.compile(r"nvidia,(tegra\d+)")
_CUDART = re.compile(r"cuda-cudart-\d+-\d+")
_LIBNVINFER = re.compile(r"libnvinfer\d+")
_DLA_NODES = ("nvdla*@*", "host1x@*/nvdla*@*", "bus@0/host1x@*/nvdla*@*")


def jetson_facts(root: Path, proc: Path) -> dict[str, Any]:
    """Return the fields of a ``Platform`` that only a Jetson has; empty on any other device.

    Args:
        root: Root of the file system with JetPack.
        proc: Procfs of the device, for the device tree.
    """
    tree = next((path for path in (proc / "device-tree", root / "sys/firmware/devicetree/base") if path.is_dir()), None)
    soc = _SOC.search(_text(tree / "compatible")) if tree else None
    release = _text(root / "etc/nv_tegra_release")
    if not soc and not release:
        return {}
    packages = _packages(_text(root / "var/lib/dpkg/status"))
    found = {
        "board": _text(tree / "model") if tree else "",
        "soc": soc[1] if soc else "",
        "l4t": _l4t(release) or packages.get("nvidia-l4t-core", "").partition("-")[0],
        "jetpack": packages.get("nvidia-jetpack", ""),
        "cuda": _cuda(_text(root / "usr/local/cuda/version.json"), packages),
        "compute_capability": COMPUTE_CAPABILITIES.get(soc[1], "") if soc else "",
        "tensorrt": _python_tensorrt(),
        "libnvinfer": _newest(packages, _LIBNVINFER),
    }
    return {name: value for name, value in found.items() if value} | {"dla_cores": _dla_cores(tree, root / "dev")}


def _l4t(release: str) -> str:
    """``# R36 (release), REVISION: 4.3, ...`` -> 36.4.3."""
    found = _RELEASE.search(release)
    return f"{found[1]}.{found[2]}" if found else ""


def _cuda(version_json: str, packages: Mapping[str, str]) -> str:
    """Version of the CUDA runtime: of the toolkit in /usr/local/cuda, else of the newest package."""
    try:
        return str(json.loads(version_json)["cuda_cudart"]["version"])
    except (ValueError, KeyError, TypeError):
        return _newest(packages, _CUDART).partition("-")[0]


def _python_tensorrt() -> str:
    """Version of the Python package that builds engines; it may differ from JetPack's."""
    try:
        return version("tensorrt")
    except PackageNotFoundError:
        return ""


def _newest(packages: Mapping[str, str], name: re.Pattern[str]) -> str:
    versions = [version for package, version in packages.items() if name.fullmatch(package)]
    return max(versions, key=lambda text: [int(digits) for digits in re.findall(r"\d+", text)], default="")


def _dla_cores(tree: Path | None, devices: Path) -> tuple[str, ...]:
    """DLA cores that are enabled; from the device files where a container hides the device tree."""
    if tree is None:
        return tuple(sorted(path.name.removeprefix("nvhost-ctrl-") for path in devices.glob("nvhost-ctrl-nvdla*")))
    nodes: Iterable[Path] = (path for pattern in _DLA_NODES for path in tree.glob(pattern))
    return tuple(
        sorted({path.name.partition("@")[0] for path in nodes if _text(path / "status") in ("", "okay", "ok")})
    )


def _packages(status: str) -> dict[str, str]:
    """Installed Debian packages -> version."""
    found = {}
    for stanza in status.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in stanza.splitlines() if re.match(r"(Package|Status|Version): ", line)
        )
        if fields.get("Status", "").endswith(" installed") and "Version" in fields:
            found[fields["Package"]] = fields["Version"]
    return found


def _text(path: Path) -> str:
    """Text of a small file without the NULs that end device tree strings; empty when it cannot be read."""
    try:
        return path.read_text("utf-8", errors="replace").replace("\0", " ").strip()
    except OSError:
        return ""
