"""How much memory the engines take: of this process, and of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_KIB_IN_MIB = 1024


@dataclass(frozen=True)
class Memory:
    """Memory at one moment, in MiB.

    Attributes:
        resident: Physical memory of this process.
        resident_peak: The most that it ever held.
        available: What the machine could still give to others. A Jetson's GPU takes its memory from here, and what
            CUDA allocates there is in no process's resident memory.
    """

    resident: float
    resident_peak: float
    available: float


def read_memory(proc: Path = Path("/proc")) -> Memory:
    """Read what the kernel says: VmRSS, VmHWM and MemAvailable, see proc(5)."""
    own, machine = _fields(proc / "self/status"), _fields(proc / "meminfo")
    return Memory(_mib(own["VmRSS"]), _mib(own["VmHWM"]), _mib(machine["MemAvailable"]))


def _fields(path: Path) -> dict[str, str]:
    return dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)


def _mib(text: str) -> float:
    """``  1234 kB`` -> MiB."""
    return int(text.split()[0]) / _KIB_IN_MIB
