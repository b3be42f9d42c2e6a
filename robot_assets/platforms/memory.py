"""Memory of this process and its device, and how much a block of code adds."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

PROC = Path("/proc")
MIB = 2**20


@dataclass(frozen=True)
class Memory:
    """Memory at one moment, in MiB.

    Attributes:
        resident: Physical memory of this process.
        resident_peak: Its maximum so far.
        available: Memory that the machine can still allocate. A Jetson's GPU shares it, and CUDA allocations there are
            not part of any process's resident memory.
    """

    resident: float
    resident_peak: float
    available: float


def read_memory(proc: Path = PROC) -> Memory:
    """Read VmRSS, VmHWM and MemAvailable, see proc(5)."""
    found = _read(proc)
    return Memory(found["VmRSS"], found["VmHWM"], found["MemAvailable"])


@dataclass(frozen=True)
class Growth:
    """Memory that a block of code added, in MiB; None where the kernel does not report it.

    Attributes:
        process_mib: Increase of the resident memory of the process.
        process_peak_mib: Its maximum during the block.
        device_mib: Decrease of the available memory of the device, which CPU and GPU share on a Jetson.
    """

    process_mib: float | None = None
    process_peak_mib: float | None = None
    device_mib: float | None = None


class MemoryMeter:
    """Measures the memory that a block of code adds: ``with MemoryMeter() as memory: ...; memory.growth``.

    Memory that was freed before is returned to the system first; otherwise the block could reuse it unnoticed.

    Args:
        proc: Mount point of the procfs.
    """

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._before: dict[str, float] = {}
        self.growth = Growth()

    def __enter__(self) -> MemoryMeter:
        _trim()
        try:
            # Resets the peak to the current size: proc_pid_clear_refs(5).
            (self._proc / "self/clear_refs").write_text("5")
        except OSError:
            self._before = {name: value for name, value in _read(self._proc).items() if name != "VmHWM"}
        else:
            self._before = _read(self._proc)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        now, before = _read(self._proc), self._before

        def added(name: str, since: str, sign: int = 1) -> float | None:
            return max(0.0, sign * (now[name] - before[since])) if name in now and since in before else None

        self.growth = Growth(
            process_mib=added("VmRSS", "VmRSS"),
            process_peak_mib=added("VmHWM", "VmRSS") if "VmHWM" in before else None,
            device_mib=added("MemAvailable", "MemAvailable", -1),
        )


def _read(proc: Path) -> dict[str, float]:
    """MiB by the kernel's name, of those that it reports."""
    lines = [*_lines(proc / "self/status"), *_lines(proc / "meminfo")]
    fields = [line.split() for line in lines if line.startswith(("VmRSS:", "VmHWM:", "MemAvailable:"))]
    return {field[0].rstrip(":"): int(field[1]) / 1024 for field in fields}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _trim() -> None:
    """Return freed memory to the system, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
