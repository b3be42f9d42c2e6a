"""The functions of CUDA's driver API in ``cuda.bindings.driver`` that are called, on host memory."""

import ctypes
import enum
from typing import Any

from tensorrt_standin.hardware import Misuse, device_bytes, enqueue, here, require_current, state

CUresult = enum.Enum(
    "CUresult",
    {
        "CUDA_SUCCESS": 0,
        "CUDA_ERROR_INVALID_VALUE": 1,
        "CUDA_ERROR_OUT_OF_MEMORY": 2,
        "CUDA_ERROR_NO_DEVICE": 100,
        "CUDA_ERROR_LAUNCH_FAILED": 719,
    },
)
CUdevice_attribute = enum.Enum(
    "CUdevice_attribute",
    {"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR": 75, "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR": 76},
)
_OK = CUresult.CUDA_SUCCESS
Status = tuple[Any, ...]


class _Handle:
    """A handle that int() converts."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __int__(self) -> int:
        return self._value


class CUdeviceptr(_Handle): ...


class CUstream(_Handle): ...


class CUcontext(_Handle): ...


class CUdevice(_Handle): ...


def cuInit(Flags: int) -> Status:
    if not here().devices:
        return (CUresult.CUDA_ERROR_NO_DEVICE,)
    state.is_initialized = True
    return (_OK,)


def cuDeviceGetCount() -> Status:
    return _OK, here().devices


def cuDeviceGet(ordinal: int) -> Status:
    return _OK, CUdevice(ordinal)


def cuDeviceGetName(length: int, dev: CUdevice) -> Status:
    return _OK, here().name.encode().ljust(length, b"\0")


def cuDeviceGetAttribute(attrib: Any, dev: CUdevice) -> Status:
    major, minor = here().compute_capability.split(".")
    return _OK, int(major if attrib is CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR else minor)


def cuDevicePrimaryCtxRetain(dev: CUdevice) -> Status:
    if not state.is_initialized:
        raise Misuse("cuDevicePrimaryCtxRetain before cuInit: CUDA_ERROR_NOT_INITIALIZED")
    state.context = 0xC0
    return _OK, CUcontext(state.context)


def cuCtxSetCurrent(ctx: CUcontext) -> Status:
    state.current.context = int(ctx)
    return (_OK,)


def cuMemGetInfo() -> Status:
    require_current("cuMemGetInfo")
    return _OK, here().memory_bytes // 2, here().memory_bytes


def cuStreamCreate(Flags: int) -> Status:
    require_current("cuStreamCreate")
    handle = next(state.handles)
    state.streams[handle] = []
    return _OK, CUstream(handle)


def cuStreamSynchronize(hStream: CUstream) -> Status:
    work = state.streams[int(hStream)]
    while work:
        work.pop(0)()
    return (CUresult.CUDA_ERROR_LAUNCH_FAILED if here().fault == "execution" else _OK,)


def cuStreamDestroy(hStream: CUstream) -> Status:
    if state.streams.pop(int(hStream), None) is None:
        raise Misuse("cuStreamDestroy of a stream that does not exist")
    return (_OK,)


def cuMemAlloc(bytesize: int) -> Status:
    require_current("cuMemAlloc")
    if sum(map(len, state.device.values())) + bytesize > here().memory_bytes:
        return CUresult.CUDA_ERROR_OUT_OF_MEMORY, CUdeviceptr(0)
    return _OK, CUdeviceptr(_allocate(state.device, bytesize))


def cuMemFree(dptr: CUdeviceptr) -> Status:
    if state.device.pop(int(dptr), None) is None:
        raise Misuse("cuMemFree of memory that is not allocated")
    return (_OK,)


def cuMemAllocHost(bytesize: int) -> Status:
    require_current("cuMemAllocHost")
    return _OK, _allocate(state.locked, bytesize)


def cuMemFreeHost(p: int) -> Status:
    if state.locked.pop(p, None) is None:
        raise Misuse("cuMemFreeHost of memory that is not allocated")
    return (_OK,)


def cuMemcpyHtoDAsync(dstDevice: CUdeviceptr, srcHost: int, ByteCount: int, hStream: CUstream) -> Status:
    target = device_bytes(int(dstDevice), ByteCount, "cuMemcpyHtoDAsync")
    _check_locked(srcHost, ByteCount)
    enqueue(int(hStream), lambda: _copy(ctypes.addressof(target), srcHost, ByteCount), "cuMemcpyHtoDAsync")
    return (_OK,)


def cuMemcpyDtoHAsync(dstHost: int, srcDevice: CUdeviceptr, ByteCount: int, hStream: CUstream) -> Status:
    source = device_bytes(int(srcDevice), ByteCount, "cuMemcpyDtoHAsync")
    _check_locked(dstHost, ByteCount)
    enqueue(int(hStream), lambda: _copy(dstHost, ctypes.addressof(source), ByteCount), "cuMemcpyDtoHAsync")
    return (_OK,)


def _allocate(where: dict[int, ctypes.Array], nbytes: int) -> int:
    memory = (ctypes.c_ubyte * nbytes)(*([0xA5] * min(nbytes, 64)))  # not zero, so that no code relies on it
    where[ctypes.addressof(memory)] = memory
    return ctypes.addressof(memory)


def _check_locked(address: int, nbytes: int) -> None:
    if len(state.locked.get(address, ())) < nbytes:
        raise Misuse(f"{nbytes} bytes at {address:#x} of the host are not allocated as page-locked memory")


def _copy(target: int, source: int, nbytes: int) -> None:
    ctypes.memmove(target, source, nbytes)
