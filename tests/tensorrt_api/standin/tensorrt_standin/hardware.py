"""The simulated device. Its memory is host memory, with checks that a GPU does not make."""

import ctypes
import itertools
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

Thunk = Callable[[], None]


class Misuse(RuntimeError):
    """A call that crashes the process, corrupts memory, or silently gives wrong results on a device."""


@dataclass
class Hardware:
    """Properties of the device.

    Attributes:
        name: Of the GPU.
        compute_capability: Of the GPU.
        dla_cores: Deep learning accelerators.
        memory_bytes: Total.
        devices: Number of GPUs.
        dla_lacks: ONNX operators that this DLA cannot run, besides those that no DLA can.
        fault: None, ``out_of_memory``, ``workspace``, ``no_kernel`` or ``execution``.
    """

    name: str = "Orin (stand-in)"
    compute_capability: str = "8.7"
    dla_cores: int = 2
    memory_bytes: int = 32 << 30
    devices: int = 1
    dla_lacks: tuple[str, ...] = ()
    fault: str | None = None


@dataclass
class State:
    """State of the driver."""

    is_initialized: bool = False
    context: int | None = None
    current: threading.local = field(default_factory=threading.local)
    device: dict[int, ctypes.Array] = field(default_factory=dict)
    locked: dict[int, ctypes.Array] = field(default_factory=dict)
    streams: dict[int, list[Thunk]] = field(default_factory=dict)
    handles: itertools.count = field(default_factory=lambda: itertools.count(0x5000))


_here = Hardware(**json.loads(os.environ.get("TENSORRT_STANDIN", "{}")))
state = State()


def here() -> Hardware:
    """The device."""
    return _here


def require_cuda(what: str) -> None:
    """The real package crashes with a segmentation fault."""
    if not state.is_initialized or state.context is None:
        raise Misuse(f"{what} before CUDA was initialized: the real package crashes")
    require_current(what)


def require_current(what: str) -> None:
    """CUDA's current context is per thread."""
    if getattr(state.current, "context", None) is None:
        raise Misuse(f"{what} in a thread without a current context: CUDA_ERROR_INVALID_CONTEXT")


def device_bytes(address: int, nbytes: int, what: str) -> ctypes.Array:
    """Allocated device memory at ``address``; raises Misuse."""
    found = state.device.get(address)
    if found is None:
        raise Misuse(f"{what}: {address:#x} is not allocated device memory")
    if len(found) < nbytes:
        raise Misuse(f"{what}: {nbytes} bytes at {address:#x}, which has {len(found)}")
    return found


def enqueue(stream: int, thunk: Thunk, what: str) -> None:
    """Queue work, which is done when the stream is synchronized."""
    require_current(what)
    if stream not in state.streams:
        raise Misuse(f"{what}: {stream:#x} is not a stream")
    state.streams[stream].append(thunk)
