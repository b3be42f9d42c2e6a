"""Loads graphs into ONNX Runtime and runs them. Needs neither torch nor onnx."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.errors import EngineError
from robot_assets.engines.onnxruntime.manifest import ENGINE, OnnxRuntimeManifest
from robot_assets.runtime.engine import Engine, refuse_other_input

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from robot_assets.engines.kind import Infer


class OnnxRuntimeEngine(Engine):
    """A verified engine in a session of ONNX Runtime.

    Attributes:
        manifest: Its manifest.
    """

    manifest: OnnxRuntimeManifest

    def __init__(self, manifest: OnnxRuntimeManifest, session: InferenceSession) -> None:
        self.manifest = manifest
        self._session = session
        self._outputs = list(manifest.interface.head_names)

    def infer(self, images: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Run one image, float32 (1, 3, H, W) -> the heads of the interface, in their order.

        Raises:
            EngineError: The shape or type is not that of the manifest.
        """
        refuse_other_input(images, self.manifest.input.shape)
        heads: list[NDArray[Any]] = self._session.run(self._outputs, {self.manifest.input.name: images})
        return heads


def load_verified(engine: Path, manifest: OnnxRuntimeManifest, threads: int | None = None) -> OnnxRuntimeEngine:
    """Load an engine whose bytes and platform have been compared with its manifest.

    Args:
        engine: A directory that ``build_engine`` wrote.
        manifest: Its manifest.
        threads: Intra-op threads; by default as many as the manifest says.

    Raises:
        EngineError: ONNX Runtime refuses it.
    """
    return OnnxRuntimeEngine(manifest, open_session(engine / ENGINE, threads or manifest.threads))


def load_float(onnx: Path, manifest: OnnxRuntimeManifest) -> Infer:
    """Load a float ONNX on the threads of an engine, to be timed beside it.

    Raises:
        EngineError: ONNX Runtime refuses it.
    """
    session = open_session(onnx, manifest.threads)
    images = session.get_inputs()[0].name
    outputs = list(manifest.interface.head_names)
    return lambda pixels: session.run(outputs, {images: pixels})


def open_session(path: Path, threads: int, optimized: Path | None = None) -> InferenceSession:
    """Open a CPU session with all optimizations on and a fixed number of threads.

    Args:
        path: An ONNX file.
        threads: Intra-op threads.
        optimized: Where to write the optimized graph, which shows what runs.

    Raises:
        EngineError: ONNX Runtime refuses the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        raise EngineError(
            f"ONNX Runtime refuses {path}: {error}",
            needed="a graph that it can load",
            fix="export the model again with `robot-assets build`",
        ) from None
