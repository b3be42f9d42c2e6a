"""Loads a TensorRT engine and runs it. Needs no torch.

A plan contains code for the host and the GPU: TensorRT gets only a plan whose hash, platform, GPU and TensorRT match
its manifest.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.errors import EngineError
from robot_assets.engines.tensorrt.api import Log, create, import_tensorrt, open_log
from robot_assets.engines.tensorrt.cuda import Buffer, Device, Stream, open_device
from robot_assets.engines.tensorrt.explain import failure
from robot_assets.engines.tensorrt.manifest import PLAN, WEIGHTS, TensorRTManifest
from robot_assets.runtime.engine import Engine, refuse_other_bytes, refuse_other_input


class TensorRTEngine(Engine):
    """A verified engine on the GPU, with a stream and buffers of its own. Any thread may call it, one at a time.

    Attributes:
        manifest: Its manifest.
    """

    manifest: TensorRTManifest

    def __init__(self, manifest: TensorRTManifest, loaded: _Loaded) -> None:
        self.manifest = manifest
        self._loaded = loaded
        self._context: Any = loaded.engine.create_execution_context()
        if self._context is None:
            raise failure("creating an execution context", loaded.log)
        with ExitStack() as held:
            self._stream = held.enter_context(closing(Stream(loaded.device)))
            self._images = held.enter_context(closing(self._buffer(manifest.input.name, manifest.input.shape)))
            self._heads = [
                held.enter_context(closing(self._buffer(head.name, head.shape))) for head in manifest.outputs
            ]
            self._bind()
            self._held = held.pop_all()
        self._batch = 0

    def infer(self, images: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Run images float32 (N, 3, H, W) -> heads of the interface; N from 1 to the manifest's ``batch_max``.

        Raises:
            EngineError: The shape or type is not that of the manifest, the device failed, or the engine is closed.
        """
        manifest = self.manifest
        refuse_other_input(images, manifest.input.shape, manifest.batch_max)
        if self._context is None:
            raise EngineError("a closed engine", needed="one that is loaded", fix="load the engine again")
        self._loaded.device.make_current()
        self._set_batch(len(images))
        self._images.host[: images.size] = images.reshape(-1)
        self._images.send(self._stream, images.size)
        if not self._context.execute_async_v3(self._stream.handle):
            raise failure("running the engine", self._loaded.log)
        shapes = [(len(images), *head.shape[1:]) for head in manifest.outputs]
        sizes = [int(np.prod(shape)) for shape in shapes]
        for buffer, size in zip(self._heads, sizes, strict=True):
            buffer.fetch(self._stream, size)
        self._stream.synchronize()
        return [
            # a copy: the next inference overwrites the buffer
            buffer.host[:size].reshape(shape).astype(head.dtype)
            for head, buffer, size, shape in zip(manifest.outputs, self._heads, sizes, shapes, strict=True)
        ]

    def close(self) -> None:
        """Free the memory of the device. The engine cannot run after that."""
        if self._context is None:
            return
        self._loaded.device.make_current()
        self._context = None
        self._held.close()
        self._loaded.engine = None

    def _buffer(self, name: str, shape: tuple[int, ...]) -> Buffer:
        dtype = next(binding.dtype for binding in self.manifest.bindings if binding.name == name)
        return Buffer(self._loaded.device, self.manifest.batch_max * int(np.prod(shape)), dtype)

    def _bind(self) -> None:
        names = (self.manifest.input.name, *self.manifest.interface.head_names)
        for name, buffer in zip(names, (self._images, *self._heads), strict=True):
            if not self._context.set_tensor_address(name, buffer.address):
                raise failure(f"setting the buffer of {name}", self._loaded.log)

    def _set_batch(self, count: int) -> None:
        if count == self._batch:
            return
        shape = (count, *self.manifest.input.shape[1:])
        if not self._context.set_input_shape(self.manifest.input.name, shape):
            raise failure(f"setting a batch of {count} images", self._loaded.log)
        self._batch = count


class _Loaded:
    """The objects that an engine needs alive while it runs: TensorRT frees an engine with its runtime."""

    def __init__(self, device: Device, log: Log, logger: Any, runtime: Any, engine: Any) -> None:
        self.device, self.log, self.logger, self.runtime, self.engine = device, log, logger, runtime, engine


def refuse_threads(engine: Path, threads: int | None) -> None:
    """Refuse a number of CPU threads, which an engine on the GPU does not have.

    Raises:
        EngineError: One was given.
    """
    if threads is not None:
        raise EngineError(
            f"threads={threads} for {engine}, which runs on the GPU",
            needed="no number of threads: only engines that run on the CPU have one",
            fix="omit the threads",
        )


def load_verified(engine: Path, manifest: TensorRTManifest) -> TensorRTEngine:
    """Load an engine whose bytes and platform have been compared with its manifest.

    Args:
        engine: A directory that ``build_engine`` wrote.
        manifest: Its manifest.

    Raises:
        EngineError: The hash of its weights, the GPU or the version of TensorRT differs from the manifest, both values
            are named; there is no device; or TensorRT refuses the plan.
    """
    if manifest.weights_md5 is not None:
        refuse_other_bytes(engine / WEIGHTS, manifest.weights_md5)
    trt = import_tensorrt()
    _refuse_other(engine, "TensorRT", manifest.tensorrt, str(trt.__version__))
    device = open_device()  # before any TensorRT object: without CUDA its Runtime ends the process when it is used
    _refuse_other(engine, "compute capability", manifest.gpu.compute_capability, device.compute_capability)
    return TensorRTEngine(manifest, _deserialize(trt, engine, manifest, device))


def _deserialize(trt: Any, engine: Path, manifest: TensorRTManifest, device: Device) -> _Loaded:
    log, logger = open_log(trt)
    runtime = create("Runtime", trt, logger, log)
    if (dla := manifest.settings.get("dla")) is not None:
        runtime.DLA_core = int(dla["core"])
    loaded = runtime.deserialize_cuda_engine((engine / PLAN).read_bytes())
    if loaded is None:
        raise failure(f"loading {engine / PLAN}", log)
    if manifest.weights_md5 is not None:
        _refit(trt, loaded, logger, log, engine / WEIGHTS)
    return _Loaded(device, log, logger, runtime, loaded)


def _refit(trt: Any, loaded: Any, logger: Any, log: Log, weights: Path) -> None:
    """Refit a plan that was built without its weights."""
    refitter = trt.Refitter(loaded, logger)
    parser = trt.OnnxParserRefitter(refitter, logger)
    if not parser.refit_from_bytes(weights.read_bytes()) or not refitter.refit_cuda_engine():
        missing = refitter.get_missing_weights()
        raise failure(f"refitting the plan with {weights}" + (f" ({len(missing)} missing)" if missing else ""), log)


def _refuse_other(engine: Path, what: str, built: str, here: str) -> None:
    if built != here:
        raise EngineError(
            f"{engine} was built for {what} {built}, here is {here}",
            needed=f"{what} {built}",
            fix="build the engine on this device",
        )
