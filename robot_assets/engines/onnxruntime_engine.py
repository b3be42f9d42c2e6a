"""Build an engine for ONNX Runtime from the Q/DQ graph, and load one. Needs no torch."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.engines.manifest import (
    ENGINE,
    Kernels,
    Manifest,
    Tensor,
    load_manifest,
    md5_of,
    save_manifest,
)
from robot_assets.engines.spec import TargetSpec
from robot_assets.errors import EngineError
from robot_assets.platforms.probe import Platform, probe
from robot_assets.publish import publishing_directory

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

    from robot_assets.engines.rewrite import Rewritten
    from robot_assets.models.decode import Detections

_DATA_MOVEMENT = frozenset(
    {
        "Cast",
        "Concat",
        "DequantizeLinear",
        "QuantizeLinear",
        "ReorderInput",
        "ReorderOutput",
        "Resize",
        "Transpose",
    }
)


@dataclass(frozen=True)
class EngineSummary:
    """What was built.

    Attributes:
        manifest: Everything that the engine's manifest says.
    """

    manifest: Manifest

    @property
    def engine_md5(self) -> str:
        """Of ``engine.onnx``."""
        return self.manifest.engine_md5


class Engine:
    """A verified engine, ready to run. One thread calls it at a time.

    Attributes:
        manifest: What it is made of.
    """

    def __init__(self, manifest: Manifest, session: InferenceSession) -> None:
        self.manifest = manifest
        self._session = session
        self._outputs = [output.name for output in manifest.outputs]

    def infer(self, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Images float32 (1, 3, H, W) RGB in [0, 1] -> raw heads in the order of ``output_names``.

        Raises:
            EngineError: The shape or type is another than the manifest's.
        """
        expected = self.manifest.input.shape
        if images.shape != expected or images.dtype != np.float32:
            raise EngineError(
                f"input {images.dtype} {images.shape}",
                needed=f"float32 {expected}",
                fix="letterbox the image with robot_assets.models.preprocess, one image a call",
            )
        heads: list[NDArray[np.float32]] = self._session.run(self._outputs, {self.manifest.input.name: images})
        return heads

    def detect(self, image: NDArray[np.uint8], score_min: float = 0.3) -> Detections:
        """Detections in pixels of ``image``, uint8 (H, W, 3) RGB of any size, that score at least ``score_min``."""
        from robot_assets.models.decode import decode
        from robot_assets.models.preprocess import letterbox, to_input

        network = self.manifest.network
        boxed = letterbox(image, network.input_height, network.input_width)
        heads = self.infer(to_input([boxed.image]))
        return decode(heads, network, score_min=score_min)[0].in_image(boxed)


def build_engine(onnx: Path, target: TargetSpec, out: Path) -> EngineSummary:
    """Build an engine for this device; the same graph on the same platform gives the same bytes.

    Args:
        onnx: A directory that ``export_onnx`` wrote.
        target: How many threads it runs on.
        out: Directory to publish: ``engine.onnx`` and ``manifest.json``.

    Raises:
        EngineError: The graph does not load, or ONNX Runtime runs none of its convolutions in int8.
    """
    from robot_assets.engines.rewrite import rewrite

    card, model = _read_export(onnx)
    rewritten = rewrite(model)
    with publishing_directory(out) as staging:
        path = staging / ENGINE
        path.write_bytes(model.SerializeToString(deterministic=True))
        kernels = count_kernels(path, target.threads)
        if not kernels.int8_convolutions:
            raise EngineError(
                f"none of the {kernels.float_convolutions} convolutions of {onnx} runs in int8",
                needed="a graph with Q/DQ nodes around its convolutions",
                fix="export a quantized model; this looks like a float one",
            )
        manifest = _manifest(card, onnx, path, target, probe(), kernels, rewritten)
        save_manifest(staging, manifest)
    return EngineSummary(manifest)


def load_engine(engine: Path, threads: int | None = None) -> Engine:
    """Load an engine after checking that it is what its manifest says and was built for this platform.

    Args:
        engine: A directory that ``build_engine`` wrote.
        threads: Intra-op threads; by default as many as the manifest says.

    Raises:
        EngineError: The manifest, the engine's hash or the platform does not match; both values are named.
    """
    manifest = load_manifest(engine)
    path = engine / ENGINE
    found = md5_of(path) if path.is_file() else "nothing"
    if found != manifest.engine_md5:
        raise EngineError(
            f"{path} has md5 {found}, its manifest says {manifest.engine_md5}",
            needed="the engine that the manifest describes",
            fix=f"build the engine again, or restore the whole of {engine} from the store",
        )
    _refuse_other_platform(engine, manifest, probe())
    return Engine(manifest, open_session(path, threads or manifest.threads))


def open_session(path: Path, threads: int, optimized: Path | None = None) -> InferenceSession:
    """A CPU session with all optimizations on and a fixed number of threads.

    Args:
        path: An ONNX file.
        threads: Intra-op threads.
        optimized: Where to write the optimized graph, to see what runs.

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


def count_kernels(path: Path, threads: int = 1) -> Kernels:
    """Operators by arithmetic after ONNX Runtime's optimizations on this machine."""
    import onnx

    with tempfile.TemporaryDirectory() as scratch:
        optimized = Path(scratch, "optimized.onnx")
        open_session(path, threads, optimized)
        counts = Counter(node.op_type for node in onnx.load(optimized).graph.node)
    groups: dict[str, dict[str, int]] = {"int8": {}, "float32": {}, "data_movement": {}}
    for operator in sorted(counts):
        if operator in _DATA_MOVEMENT:
            group = "data_movement"
        else:
            group = "int8" if operator.startswith("QLinear") or operator.endswith("Integer") else "float32"
        groups[group][operator] = counts[operator]
    return Kernels(**groups)


def _manifest(
    card: dict[str, Any],
    onnx: Path,
    engine: Path,
    target: TargetSpec,
    platform: Platform,
    kernels: Kernels,
    rewritten: Rewritten,
) -> Manifest:
    [(name, shape)] = card["inputs"].items()
    return Manifest(
        kind=target.kind,
        onnx_md5=md5_of(onnx / "model.onnx"),
        engine_md5=md5_of(engine),
        engine_size_bytes=engine.stat().st_size,
        platform=platform.as_json(),
        platform_fingerprint=platform.fingerprint,
        threads=target.threads,
        input=Tensor(name=name, shape=tuple(shape)),
        outputs=tuple(Tensor(name=name, shape=tuple(card["outputs"][name])) for name in _output_order(card)),
        preprocessing=card["preprocessing"],
        classes=tuple(card["classes"]),
        network=card["network"],
        kernels=kernels,
        activations_from_zero=rewritten.from_zero,
        activations_shifted=rewritten.shifted,
    )


def _output_order(card: dict[str, Any]) -> tuple[str, ...]:
    from robot_assets.models.decode import output_names
    from robot_assets.models.spec import NetworkSpec

    return output_names(NetworkSpec.model_validate(card["network"]))


def _read_export(onnx: Path) -> tuple[dict[str, Any], ModelProto]:
    import onnx as onnx_library

    try:
        card = json.loads((onnx / "model.json").read_bytes())
        model = onnx_library.load(onnx / "model.onnx", load_external_data=False)
        found, said = md5_of(onnx / "model.onnx"), card["md5"]
    except Exception as error:  # protobuf and json errors share no base
        raise EngineError(
            f"{onnx} is not a whole ONNX artifact ({type(error).__name__}: {error})",
            needed="model.onnx and model.json",
            fix="export again, or restore the whole directory from the store",
        ) from None
    if found != said:
        raise EngineError(
            f"{onnx / 'model.onnx'} has md5 {found}, its model.json says {said}",
            needed="the graph that model.json describes",
            fix="export again, or restore the whole directory from the store",
        )
    return card, model


def _refuse_other_platform(engine: Path, manifest: Manifest, here: Platform) -> None:
    if here.fingerprint == manifest.platform_fingerprint:
        return
    there, now = manifest.platform, here.as_json()
    differing = [f"{key}: built for {there.get(key)}, here {now[key]}" for key in now if there.get(key) != now[key]]
    raise EngineError(
        f"{engine} was built for platform {manifest.platform_fingerprint}, this is {here.fingerprint} "
        f"({'; '.join(differing)})",
        needed="an engine built on a device like this one",
        fix="build the engine on this device",
    )
