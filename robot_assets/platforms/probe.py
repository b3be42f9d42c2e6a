"""Probes this device for what determines the engines built on it. Needs neither torch nor a GPU."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from robot_assets.core.errors import PlatformError
from robot_assets.core.spec import Spec
from robot_assets.platforms.jetson import jetson_facts

INT8_FEATURES = frozenset(
    {
        # x86-64: select the integer dot product of MLAS, ONNX Runtime's kernel library
        "avx2",
        "avx512bw",
        "avx512_vnni",
        "avx_vnni",
        "avx_vnni_int8",
        "amx_int8",
        # AArch64
        "asimd",
        "asimddp",
        "i8mm",
        "sve",
    }
)
"""CPU features that select the int8 kernel. Others do not change an engine."""

PROC_VARIABLE = "ROBOT_ASSETS_PROC"
"""Environment variable with the mount point of the device's procfs, where that is not /proc."""

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}

Fact = Annotated[str, Field(min_length=1, max_length=200)]


class Platform(Spec):
    """What determines the engines of a device. Fields that only a Jetson has are None elsewhere.

    A discrete GPU is not included: no target is built for one, and for CPU engines a node with a GPU must be the same
    platform as a node without.

    Attributes:
        architecture: ``x86_64`` or ``aarch64``.
        cpu_features: Those of :data:`INT8_FEATURES` that the CPU has, sorted.
        onnxruntime: Version; None where it is not installed, which is valid on a Jetson only.
        providers: Execution providers that ONNX Runtime offers, in its order of preference.
        board: Model name in the device tree.
        soc: Such as ``tegra234``.
        l4t: Release of Jetson Linux, such as 36.4.3.
        jetpack: Version of JetPack where its package is installed.
        cuda: Version of the CUDA runtime.
        compute_capability: Of the integrated GPU, such as 8.7.
        tensorrt: Version of the Python package.
        libnvinfer: Version of JetPack's TensorRT library.
        dla_cores: Deep learning accelerators that are enabled.
    """

    architecture: Fact
    cpu_features: tuple[Fact, ...]
    onnxruntime: Fact | None = None
    providers: tuple[Fact, ...] = ()
    board: Fact | None = None
    soc: Fact | None = None
    l4t: Fact | None = None
    jetpack: Fact | None = None
    cuda: Fact | None = None
    compute_capability: Fact | None = None
    tensorrt: Fact | None = None
    libnvinfer: Fact | None = None
    dla_cores: tuple[Fact, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON data for an artifact, without the fields that are None."""
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def fingerprint(self) -> str:
        """MD5 of all fields: the same after each boot and on all devices of the same hardware and software."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def probe(root: Path = Path("/"), *, require_runtime: bool = True) -> Platform:
    """Probe the device that this process runs on.

    Args:
        root: Mount point of its file system.
        require_runtime: Whether a missing ONNX Runtime is an error. False to compare the device with that of an
            engine, from which a device without a runtime merely differs.

    Raises:
        PlatformError: ONNX Runtime is missing and the device is not a Jetson, or was replaced after this process
            imported it.
    """
    proc = Path(os.environ.get(PROC_VARIABLE, root / "proc"))
    jetson = jetson_facts(root, proc)
    machine = platform.machine().lower()
    return Platform(
        architecture=_ARCHITECTURES.get(machine, machine),
        cpu_features=int8_features(_cpu_info(proc / "cpuinfo")),
        **_onnxruntime(is_needed=require_runtime and not jetson),
        **jetson,
    )


def int8_features(cpu_info: str) -> tuple[str, ...]:
    """Features of :data:`INT8_FEATURES` that every core in the text of ``/proc/cpuinfo`` lists, sorted."""
    cores = [
        set(line.partition(":")[2].split())
        for line in cpu_info.splitlines()
        if line.partition(":")[0].strip() in ("flags", "Features")
    ]
    return tuple(sorted(INT8_FEATURES.intersection(*cores))) if cores else ()


def _cpu_info(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _onnxruntime(*, is_needed: bool) -> dict[str, Any]:
    try:
        import onnxruntime
    except ImportError as error:
        if not is_needed:
            return {}
        raise PlatformError(
            f"ONNX Runtime cannot be imported: {error}",
            needed="the onnxruntime package",
            fix="pip install 'robot-assets[cpu]'",
        ) from None
    if _installed(onnxruntime.__file__) != _loaded(onnxruntime.__file__):
        raise PlatformError(
            f"ONNX Runtime was replaced after this process had imported {onnxruntime.__version__}",
            needed="a process that imports the installed version",
            fix="reload the code location, or run the command again",
        )
    return {"onnxruntime": str(onnxruntime.__version__), "providers": tuple(onnxruntime.get_available_providers())}


def _installed(file: str) -> tuple[int, int] | None:
    """Modification time and inode of a file, which a reinstallation changes; None when it is missing."""
    try:
        facts = os.stat(file)
    except FileNotFoundError:
        return None
    return facts.st_mtime_ns, facts.st_ino


@cache
def _loaded(file: str) -> tuple[int, int] | None:
    """The same at the first call."""
    return _installed(file)
