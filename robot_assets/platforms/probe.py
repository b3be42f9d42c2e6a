"""What this device is, as far as an engine built by ONNX Runtime cares. Needs neither torch nor a GPU."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robot_assets.errors import PlatformError

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

_CPU_INFO = Path("/proc/cpuinfo")
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Platform:
    """A device as an engine sees it.

    Attributes:
        architecture: ``x86_64`` or ``aarch64``.
        cpu_features: Those of :data:`INT8_FEATURES` that the CPU has, sorted.
        onnxruntime: Version.
        providers: Execution providers that ONNX Runtime offers, in its order of preference.
    """

    architecture: str
    cpu_features: tuple[str, ...]
    onnxruntime: str
    providers: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data for an artifact."""
        return asdict(self) | {"cpu_features": list(self.cpu_features), "providers": list(self.providers)}

    @property
    def fingerprint(self) -> str:
        """Md5 over all of it: the same on every boot and on every device of the same make."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def probe() -> Platform:
    """Look at the device that this process runs on.

    Raises:
        PlatformError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise PlatformError(
            f"ONNX Runtime does not import: {error}",
            needed="the onnxruntime package",
            fix="pip install onnxruntime, in the version that pyproject.toml pins",
        ) from None
    machine = platform.machine().lower()
    cpu_info = _CPU_INFO.read_text(errors="replace") if _CPU_INFO.exists() else ""
    return Platform(
        architecture=_ARCHITECTURES.get(machine, machine),
        cpu_features=int8_features(cpu_info),
        onnxruntime=str(onnxruntime.__version__),
        providers=tuple(onnxruntime.get_available_providers()),
    )


def int8_features(cpu_info: str) -> tuple[str, ...]:
    """Features of :data:`INT8_FEATURES` that every core in the text of ``/proc/cpuinfo`` has, sorted."""
    cores = [
        set(line.partition(":")[2].split())
        for line in cpu_info.splitlines()
        if line.partition(":")[0].strip() in ("flags", "Features")
    ]
    return tuple(sorted(INT8_FEATURES.intersection(*cores))) if cores else ()
