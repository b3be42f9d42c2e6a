"""The device that the stand-in pretends to be. Its memory is the host's, with the checks that a GPU does not make."""

import ctypes
import itertools
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

Thunk = Callable[[], None]


class Misuse(RuntimeError):
    """Something that on a device ends the process, corrupts memory, or gives wrong results without a word."""


@dataclass
class Hardware:
    """What is there.

    Attributes:
        name: Of the GPU.
        compute_capability: Of the GPU.
        dla_cores: Deep learning accelerators.
        memory_bytes: In all.
        devices: GPUs; 0 for none.
        dla_lacks: ONNX operators that this DLA cannot run, beside those that none can.
        fault: None, ``out_of_memory``, ``workspace``, ``no_kernel`` or ``execution``: what goes wrong.
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
    """What the driver remembers."""

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
    """The real thing ends the process with a segmentation fault."""
    if not state.is_initialized or state.context is None:
        raise Misuse(f"{what} before CUDA was initialized: the real one ends the process")
    require_current(what)


def require_current(what: str) -> None:
    """CUDA's context belongs to threads."""
    if getattr(state.current, "context", None) is None:
        raise Misuse(f"{what} in a thread without a current context: CUDA_ERROR_INVALID_CONTEXT")


def device_bytes(address: int, nbytes: int, what: str) -> ctypes.Array:
    """Live device memory at ``address``, or Misuse."""
    found = state.device.get(address)
    if found is None:
        raise Misuse(f"{what}: {address:#x} is no device memory that is allocated")
    if len(found) < nbytes:
        raise Misuse(f"{what}: {nbytes} bytes at {address:#x}, which has {len(found)}")
    return found


def enqueue(stream: int, thunk: Thunk, what: str) -> None:
    """Queue work. It is done when the stream is synchronized."""
    require_current(what)
    if stream not in state.streams:
        raise Misuse(f"{what}: {stream:#x} is no live stream")
    state.streams[stream].append(thunk)
