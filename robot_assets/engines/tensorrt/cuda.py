"""The part of CUDA that an engine needs: a device, a stream, and device buffers with a page-locked copy on the host.

Uses the driver API of NVIDIA's bindings (``cuda-bindings``, extra ``jetson``): its library comes with the driver, so
that one build of the bindings serves every CUDA from 12 on. TensorRT uses the same primary context.

A process that has initialized CUDA must not fork, since the context of the child is broken. ``find_device`` therefore
looks for a device in a process of its own, and a forked child that uses CUDA gets an error.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.errors import EngineError

_opened_in: int | None = None
"""The process that has initialized CUDA."""

_ON_THE_DEVICE = (
    "run it on the device; in a container, with access to the GPU: runtime class nvidia (pools.*.runtime_class of "
    "params.yaml), or docker run --runtime nvidia"
)


@dataclass(frozen=True)
class Device:
    """A GPU whose primary context this process holds.

    Attributes:
        name: As the driver reports it, such as ``Orin``.
        compute_capability: Such as ``8.7``.
        memory_bytes: All of its memory; on a Jetson the CPU uses the same.
    """

    name: str
    compute_capability: str
    memory_bytes: int
    _context: Any

    def make_current(self) -> None:
        """Let the calling thread use this device."""
        _refuse_forked()
        _call("cuCtxSetCurrent", self._context)


class Stream:
    """A queue of work on a device.

    Attributes:
        handle: For TensorRT.
    """

    def __init__(self, device: Device) -> None:
        device.make_current()
        self._stream = _call("cuStreamCreate", 1)  # CU_STREAM_NON_BLOCKING: the default stream would serialize engines
        self.handle = int(self._stream)

    def synchronize(self) -> None:
        """Wait until all queued work is done.

        Raises:
            EngineError: Some of it failed.
        """
        _call("cuStreamSynchronize", self._stream)

    def close(self) -> None:
        """Destroy the stream."""
        if self.handle:
            _call("cuStreamDestroy", self._stream)
            self.handle = 0


class Buffer:
    """Values of one type on the device, and a page-locked copy on the host.

    Attributes:
        host: (n,), the copy on the host.
        address: Address on the device.
    """

    def __init__(self, device: Device, values: int, dtype: str = "float32") -> None:
        device.make_current()
        self._item = np.dtype(dtype).itemsize
        self.nbytes = self._item * values
        self._pointer = _call("cuMemAlloc", self.nbytes)
        self.address = int(self._pointer)
        try:
            self._host = int(_call("cuMemAllocHost", self.nbytes))
        except EngineError:
            _call("cuMemFree", self._pointer)
            raise
        locked = (ctypes.c_uint8 * self.nbytes).from_address(self._host)
        self.host: NDArray[Any] = np.ctypeslib.as_array(locked).view(dtype)

    def send(self, stream: Stream, values: int) -> None:
        """Queue a copy of the first ``values`` values to the device."""
        _call("cuMemcpyHtoDAsync", self._pointer, self._host, self._item * values, stream._stream)

    def fetch(self, stream: Stream, values: int) -> None:
        """Queue a copy of the first ``values`` values from the device."""
        _call("cuMemcpyDtoHAsync", self._host, self._pointer, self._item * values, stream._stream)

    def close(self) -> None:
        """Free both. The former array ``host`` must not be read any more."""
        if self.address:
            _call("cuMemFree", self._pointer)
            _call("cuMemFreeHost", self._host)
            self.address = 0
            self.host = np.empty(0, np.float32)


def open_device() -> Device:
    """Initialize CUDA in this process and open its first device.

    Raises:
        EngineError: There is no driver or no device, or this process was forked from one that had initialized CUDA.
    """
    global _opened_in
    _refuse_forked()
    _call("cuInit", 0)
    if not _call("cuDeviceGetCount"):
        raise _no_device("the driver finds no device")
    device = _call("cuDeviceGet", 0)
    context = _call("cuDevicePrimaryCtxRetain", device)
    _call("cuCtxSetCurrent", context)
    _opened_in = os.getpid()
    attributes = _driver().CUdevice_attribute
    major, minor = (
        _call("cuDeviceGetAttribute", getattr(attributes, f"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_{part}"), device)
        for part in ("MAJOR", "MINOR")
    )
    _, total = _call("cuMemGetInfo")
    name = bytes(_call("cuDeviceGetName", 128, device)).partition(b"\0")[0].decode(errors="replace")
    return Device(name, f"{major}.{minor}", int(total), context)


def find_device() -> dict[str, str] | None:
    """Name and compute capability of the GPU, read in another process; None without a usable one."""
    done = subprocess.run([sys.executable, "-m", __name__], capture_output=True, text=True, check=False)
    found: dict[str, str] | None = json.loads(done.stdout) if done.returncode == 0 else None
    return found


def _driver() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise EngineError(
            f"NVIDIA's Python bindings of CUDA do not import: {error}",
            needed="the package cuda-bindings",
            fix="pip install 'robot-assets[jetson]'",
        ) from None
    return driver


def _call(function: str, *arguments: Any) -> Any:
    """Call a function of the driver; return its values without the status: an empty tuple, a value, or a tuple."""
    driver = _driver()
    try:
        status, *values = getattr(driver, function)(*arguments)
    except RuntimeError as error:  # raised by the bindings without libcuda
        raise _no_device(str(error)) from None
    if status != driver.CUresult.CUDA_SUCCESS:
        raise _failure(function, status.name)
    return values[0] if len(values) == 1 else tuple(values)


def _failure(function: str, status: str) -> EngineError:
    if status in ("CUDA_ERROR_NO_DEVICE", "CUDA_ERROR_STUB_LIBRARY", "CUDA_ERROR_SYSTEM_NOT_READY"):
        return _no_device(status)
    if status == "CUDA_ERROR_OUT_OF_MEMORY":
        return EngineError(
            f"the device is out of memory ({function})",
            needed="memory for the engine; on a Jetson the CPU and the GPU share it",
            fix="end other programs on the device, or reduce batch.max, network.width or the input size in params.yaml",
        )
    return EngineError(
        f"{function} of CUDA failed: {status}",
        needed="a device that works",
        fix="dmesg   # on the device; after an illegal address or a hardware error, start a new process",
    )


def _no_device(why: str) -> EngineError:
    return EngineError(f"no CUDA device: {why}", needed="the GPU of a Jetson, visible here", fix=_ON_THE_DEVICE)


def _refuse_forked() -> None:
    if _opened_in not in (None, os.getpid()):
        raise EngineError(
            f"this process was forked from {_opened_in}, which had initialized CUDA",
            needed="a new process: CUDA does not work after a fork",
            fix="start the process with subprocess, or with multiprocessing's method spawn",
        )


def _main() -> int:
    try:
        device = open_device()
    except EngineError as error:
        print(error.found, file=sys.stderr)
        return 1
    print(json.dumps({"name": device.name, "compute_capability": device.compute_capability}))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
