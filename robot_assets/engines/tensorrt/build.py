"""Builds a TensorRT engine from the Q/DQ graph, on the device that it is for. Needs onnx, not torch.

Files of the artifact differ between two builds only where the engines differ: they have no times, no dates and no free
memory. TensorRT chooses tactics by measuring, so two builds may differ in bytes; a build with the timing cache of an
earlier build of the same graph takes the same tactics (``timing_cache.py``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.digests import md5_of
from robot_assets.core.errors import EngineError
from robot_assets.core.publishing import publishing_directory
from robot_assets.core.text import listed
from robot_assets.engines.kind import BuildSummary
from robot_assets.engines.onnx_artifact import MODEL, manifest_fields, read_export
from robot_assets.engines.tensorrt.api import Features, Log, create, features_of, import_tensorrt, open_log
from robot_assets.engines.tensorrt.cuda import Device, open_device
from robot_assets.engines.tensorrt.explain import failure
from robot_assets.engines.tensorrt.graph import Prepared, input_scales, prepare
from robot_assets.engines.tensorrt.layers import Inspected, read_layers
from robot_assets.engines.tensorrt.manifest import PLAN, WEIGHTS, Binding, CudaDevice, TensorRTManifest
from robot_assets.engines.tensorrt.network import (
    Parsing,
    Typing,
    add_batch_profile,
    build_plan,
    configure,
    parse,
    place_on_dla,
    typing_of,
)
from robot_assets.engines.tensorrt.timing_cache import CacheKey, TimingCaches, cache_key, md5_of_bytes
from robot_assets.platforms.probe import Platform, probe
from robot_assets.runtime.manifest import save_manifest

if TYPE_CHECKING:
    from onnx import ModelProto

    from robot_assets.engines.tensorrt.spec import TensorRTTarget

LOG = "build.log"
LAYERS = "layers.json"

_DECISIVE = {
    "kind",
    "precision",
    "typing",
    "workspace_mib",
    "optimization_level",
    "batch",
    "dla",
    "weight_stripped",
}
"""Keys of a target that decide what is built; ``timing_cache`` decides only how long that takes."""

_CHANGING = re.compile(r"\d[\d.,]*(?:e[+-]?\d+)?\s*(?:[num]?s|sec|seconds|[KMG]i?B|bytes)\b|0x[0-9a-f]{8,}")
"""Times, sizes of memory and addresses in TensorRT's log."""


@dataclass(frozen=True)
class _Session:
    """The objects of one build.

    Attributes:
        trt: TensorRT's module.
        logger: Its logger, which has to outlive every object that was created with it.
        log: Messages of the logger.
        builder: Its builder.
        features: Capabilities of this version.
        device: The GPU.
        platform: The device.
        target: The target.
    """

    trt: Any
    logger: Any
    log: Log
    builder: Any
    features: Features
    device: Device
    platform: Platform
    target: TensorRTTarget


@dataclass(frozen=True)
class _Built:
    plan: bytes
    typing: Typing
    prepared: Prepared
    timing_cache_md5: str | None
    lasting_log: str
    notes: tuple[str, ...]


def build_engine(
    onnx: Path, target: TensorRTTarget, out: Path, caches: TimingCaches | None = None
) -> BuildSummary[TensorRTManifest]:
    """Build an engine for this device.

    Args:
        onnx: A directory that ``export_onnx`` wrote.
        target: Settings of the build.
        out: Directory to publish: ``engine.plan``, ``manifest.json``, ``layers.json``, ``build.log``, and for a plan
            without weights ``weights.onnx``.
        caches: Where timing caches are kept; None: everything is measured afresh.

    Raises:
        EngineError: The graph does not load, this TensorRT or this device cannot build it, or there is no device.
    """
    card, model = read_export(onnx)
    session = _open_session(target)
    built = _build(session, onnx / MODEL, model, caches if target.timing_cache else None)
    with publishing_directory(out) as staging:
        manifest = _write(staging, session, built, onnx, card, model)
    return BuildSummary(manifest, built.notes, session.log.text())


def _write(
    staging: Path, session: _Session, built: _Built, onnx: Path, card: dict[str, Any], model: ModelProto
) -> TensorRTManifest:
    """Write the files of the artifact into ``staging``."""
    (staging / PLAN).write_bytes(built.plan)
    if session.target.weight_stripped:
        (staging / WEIGHTS).write_bytes(built.prepared.content)
    inspected, of_engine = _inspect(session, built.plan, model)
    (staging / LAYERS).write_text(json.dumps(inspected.document, indent=1, sort_keys=True) + "\n")
    (staging / LOG).write_text(built.lasting_log)
    manifest = TensorRTManifest(
        kind="tensorrt",
        **manifest_fields(onnx, card, staging / PLAN),
        tensorrt=session.features.version,
        gpu=CudaDevice(name=session.device.name, compute_capability=session.device.compute_capability),
        typing=built.typing,
        settings=_settings(session.target),
        batch_max=session.target.batch.max,
        kernels=inspected.counts(),
        layers=inspected.layers,
        build_log_md5=md5_of(staging / LOG),
        layers_md5=md5_of(staging / LAYERS),
        timing_cache_md5=built.timing_cache_md5,
        weights_md5=md5_of(staging / WEIGHTS) if session.target.weight_stripped else None,
        **of_engine,
    )
    _check_interface(manifest)
    save_manifest(staging, manifest)
    return manifest


def _open_session(target: TensorRTTarget) -> _Session:
    trt = import_tensorrt()
    device = open_device()  # first: without CUDA the objects of TensorRT end the process when they are used
    log, logger = open_log(trt)
    builder = create("Builder", trt, logger, log)
    return _Session(trt, logger, log, builder, features_of(trt), device, probe(), target)


def _build(session: _Session, onnx: Path, model: ModelProto, caches: TimingCaches | None) -> _Built:
    target, features = session.target, session.features
    typing = typing_of(target, features)
    prepared = prepare(
        onnx.read_bytes(),
        model_to_change := _copy(model),
        batch_is_dynamic=target.batch.is_dynamic,
        to_half=typing == "strong" and target.precision == "int8_fp16",
        without_quantization=target.dla is not None and features.has_dynamic_ranges,
    )
    config = configure(session.trt, session.builder, target, features, typing)
    parsing = Parsing(config, target.dla, model_to_change, onnx)
    network, parser = parse(session.trt, session.builder, session.logger, prepared, features, typing, parsing)
    notes = list(prepared.notes)
    if target.batch.is_dynamic:
        add_batch_profile(session.builder, config, network, target.batch.profile)
    if target.dla is not None and (left := place_on_dla(network, config, target.dla)):
        notes.append(f"{len(left)} layers run on the GPU, the DLA cannot: {listed(left)}")
    fingerprint, gpu = session.platform.fingerprint, session.device.name
    key = cache_key(fingerprint, gpu, features.version, md5_of(onnx), _settings(target))
    lasting = _lasting(session, typing, notes)
    given, remarks = _give_cache(config, caches, key)
    plan = build_plan(session.builder, network, config, session.log, target, onnx)
    del parser  # whose memory the network's weights are in: it had to live until here
    kept = _keep_cache(config, caches, key, given)
    return _Built(plan, typing, prepared, kept, lasting, (*notes, *remarks))


def _give_cache(config: Any, caches: TimingCaches | None, key: CacheKey) -> tuple[bytes | None, tuple[str, ...]]:
    """Give the builder a timing cache of earlier builds.

    Returns:
        The cache that this same engine was built with before, when it is used again; and notes about it.
    """
    if caches is None:
        return None, ()
    own = caches.find(key.device, key.engine)
    found = own or caches.find(key.device, None)
    if found and config.set_timing_cache(config.create_timing_cache(found), False):
        whose = "of this graph" if own else "of other graphs"
        return own, (f"timing cache {md5_of_bytes(found)[:8]} {whose} reused",)
    config.set_timing_cache(config.create_timing_cache(b""), False)
    return None, ("TensorRT refused the timing cache; everything was measured afresh",) if found else ()


def _keep_cache(config: Any, caches: TimingCaches | None, key: CacheKey, given: bytes | None) -> str | None:
    """Keep the measurements; return the hash of the cache that a build of the same bytes needs."""
    if caches is None:
        return None
    content = bytes(memoryview(config.get_timing_cache().serialize()))
    if given is not None and len(content) <= len(given):  # it was complete
        return md5_of_bytes(given)
    caches.keep(key.device, key.engine, content)
    return md5_of_bytes(content)


def _inspect(session: _Session, plan: bytes, model: ModelProto) -> tuple[Inspected, dict[str, Any]]:
    """Load the plan once to read its layers, its inputs and outputs, and its scratch memory."""
    runtime = create("Runtime", session.trt, session.logger, session.log)
    if session.target.dla is not None:
        runtime.DLA_core = session.target.dla.core
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise failure("loading the engine that was just built", session.log)
    inspector = engine.create_engine_inspector()
    inspected = read_layers(inspector.get_engine_information(session.trt.LayerInformationFormat.JSON))
    scales = input_scales(model)
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    bindings = tuple(
        Binding(
            name=name,
            shape=tuple(engine.get_tensor_shape(name)),
            dtype=str(session.trt.nptype(engine.get_tensor_dtype(name)).__name__),
            scale=scales.get(name),
        )
        for name in names
    )
    memory = engine.device_memory_size_v2 if hasattr(engine, "device_memory_size_v2") else engine.device_memory_size
    return inspected, {"bindings": bindings, "device_memory_bytes": int(memory)}


_BINDING_TYPES = {"float32": ("float32",), "int32": ("int32", "int64"), "int64": ("int64", "int32")}
"""Types of a binding by that of the head: TensorRT before 10 has no int64, and gives int32 instead."""


def _check_interface(manifest: TensorRTManifest) -> None:
    wanted = {manifest.input.name: "float32", **{head.name: head.dtype for head in manifest.outputs}}
    found = {binding.name: binding.dtype for binding in manifest.bindings}
    if wanted.keys() != found.keys() or any(found[name] not in _BINDING_TYPES[dtype] for name, dtype in wanted.items()):
        raise EngineError(
            f"the engine has inputs and outputs {found}",
            needed=f"those of the interface: {wanted}",
            fix="export the model again: its model.json describes another graph",
        )


def _settings(target: TensorRTTarget) -> dict[str, Any]:
    """The parameters that decide what is built."""
    return target.model_dump(mode="json", include=_DECISIVE)


def _lasting(session: _Session, typing: Typing, notes: Sequence[str]) -> str:
    """The log until tactics are chosen, without figures that change: the same build gives the same text.

    Later messages depend on what had to be measured; they go to the log of the run.
    """
    lines = [f"TensorRT {session.features.version}, {typing} typing, {session.target.precision}", *notes]
    messages = [f"[{severity}] {message}" for severity, message in session.log.lines if severity != "INFO"]
    lines += dict.fromkeys(_CHANGING.sub("...", line) for line in messages)
    return "".join(f"{line}\n" for line in lines)


def _copy(model: ModelProto) -> ModelProto:
    copy = type(model)()
    copy.CopyFrom(model)
    return copy
