"""What this device is, as far as an engine built on it cares. Needs neither torch nor a GPU."""

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
        # x86-64: which integer dot product MLAS, ONNX Runtime's kernel library, dispatches to
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
"""CPU features that decide which int8 kernel runs. Others do not change an engine."""

PROC_VARIABLE = "ROBOT_ASSETS_PROC"
"""Where the procfs of the device is mounted, when that is not /proc."""

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}

Fact = Annotated[str, Field(min_length=1, max_length=200)]


class Platform(Spec):
    """A device as an engine sees it. What only a Jetson has is None elsewhere.

    A discrete GPU is not in it: no target is built for one, and a node that has one must be the same platform for
    the CPU as a node that has none.

    Attributes:
        architecture: ``x86_64`` or ``aarch64``.
        cpu_features: Those of :data:`INT8_FEATURES` that the CPU has, sorted.
        onnxruntime: Version; None where it is not installed, which only a Jetson may do without.
        providers: Execution providers that ONNX Runtime offers, in its order of preference.
        board: Model, as the device tree says it.
        soc: Such as ``tegra234``.
        l4t: Release of Jetson Linux, such as 36.4.3.
        jetpack: Version of JetPack where its package is installed.
        cuda: Version of the CUDA runtime.
        compute_capability: Of the GPU, such as 8.7.
        tensorrt: Version of the Python package.
        libnvinfer: Version of TensorRT's library as JetPack installs it.
        dla_cores: Deep learning accelerators that are switched on.
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
        """Plain data for an artifact, without what this device does not have."""
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def fingerprint(self) -> str:
        """Md5 over all of it: the same on every boot and on every device of the same make."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def probe(root: Path = Path("/")) -> Platform:
    """Look at the device that this process runs on.

    Args:
        root: Where its file system is mounted.

    Raises:
        PlatformError: ONNX Runtime is not installed and this is no Jetson, or it was replaced under this process.
    """
    proc = Path(os.environ.get(PROC_VARIABLE, root / "proc"))
    jetson = jetson_facts(root, proc)
    machine = platform.machine().lower()
    return Platform(
        architecture=_ARCHITECTURES.get(machine, machine),
        cpu_features=int8_features(_cpu_info(proc / "cpuinfo")),
        **_onnxruntime(is_needed=not jetson),
        **jetson,
    )


def int8_features(cpu_info: str) -> tuple[str, ...]:
    """Features of :data:`INT8_FEATURES` that every core in the text of ``/proc/cpuinfo`` has, sorted."""
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
            f"ONNX Runtime does not import: {error}",
            needed="the onnxruntime package",
            fix="pip install onnxruntime, in the version that pyproject.toml pins",
        ) from None
    if _installed(onnxruntime.__file__) != _loaded(onnxruntime.__file__):
        raise PlatformError(
            f"ONNX Runtime was replaced after this process had loaded {onnxruntime.__version__}",
            needed="a process that runs what is installed",
            fix="reload the code location, or start the command again",
        )
    return {"onnxruntime": str(onnxruntime.__version__), "providers": tuple(onnxruntime.get_available_providers())}


def _installed(file: str) -> tuple[int, int] | None:
    """A mark of the installed file that another version would not have; None while there is none."""
    try:
        facts = os.stat(file)
    except FileNotFoundError:
        return None
    return facts.st_mtime_ns, facts.st_ino


@cache
def _loaded(file: str) -> tuple[int, int] | None:
    """The mark at the first look."""
    return _installed(file)
