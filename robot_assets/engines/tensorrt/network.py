"""Parses the graph into TensorRT's network and configures its build, for the capabilities of the installed version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robot_assets.core.errors import EngineError
from robot_assets.core.text import listed
from robot_assets.engines.tensorrt.api import Features, Log
from robot_assets.engines.tensorrt.explain import failure, refused_by_parser

if TYPE_CHECKING:
    from onnx import ModelProto

    from robot_assets.engines.tensorrt.graph import Prepared
    from robot_assets.engines.tensorrt.spec import DlaSpec, TensorRTTarget

Typing = Literal["weak", "strong"]


def typing_of(target: TensorRTTarget, features: Features) -> Typing:
    """Whether TensorRT chooses types (weak) or the graph (strong).

    Raises:
        EngineError: This version does not have the typing of the target.
    """
    asked = target.typing
    if asked == "auto":
        return "strong" if features.is_always_strong else "weak"
    possible = {"weak": features.has_precision_flags, "strong": features.has_strong_typing}
    if not possible[asked]:
        raise EngineError(
            f"typing is {asked}, which TensorRT {features.version} does not have",
            needed="typing weak up to TensorRT 10, strong from 10 on, or auto",
            fix="set typing of the target to auto in params.yaml",
        )
    if asked == "strong" and target.dla is not None and not features.is_always_strong:
        raise EngineError(
            f"typing is strong with dla, and a DLA of TensorRT {features.version} does not accept Q/DQ",
            needed="typing weak: the quantization of the graph is set as ranges for the DLA",
            fix="set typing of the target to auto in params.yaml",
        )
    return asked


def parse(
    trt: Any, builder: Any, logger: Any, prepared: Prepared, features: Features, typing: Typing, settings: Parsing
) -> tuple[Any, Any]:
    """Parse a graph into a new network.

    Returns:
        The network, and the parser, which has to live as long as the network: it owns the weights.

    Raises:
        EngineError: The parser refuses the graph; names the nodes.
    """
    network = builder.create_network(_creation_flags(trt, features, typing))
    parser = trt.OnnxParser(network, logger)
    if settings.dla is not None and features.has_dla_parser:
        parser.set_builder_config(settings.config)
        parser.set_flag(trt.OnnxParserFlag.ADJUST_FOR_DLA)
        if not settings.dla.gpu_fallback:
            parser.set_flag(trt.OnnxParserFlag.REPORT_CAPABILITY_DLA)
    if not parser.parse(prepared.content):
        raise refused_by_parser(trt, parser, settings.model, str(settings.origin))
    _set_ranges(network, prepared.ranges)
    return network, parser


class Parsing:
    """Settings of the parser.

    Attributes:
        config: The builder's configuration.
        dla: The accelerator of the target, if any.
        model: The parsed graph, for the names of nodes in errors.
        origin: The file that errors name.
    """

    def __init__(self, config: Any, dla: DlaSpec | None, model: ModelProto, origin: Path) -> None:
        self.config, self.dla, self.model, self.origin = config, dla, model, origin


def configure(trt: Any, builder: Any, target: TensorRTTarget, features: Features, typing: Typing) -> Any:
    """The builder's configuration for a target, without the parts that depend on the network.

    Raises:
        EngineError: This version or this device lacks a feature of the target.
    """
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, target.workspace_mib << 20)
    config.builder_optimization_level = target.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if typing == "weak":
        config.set_flag(trt.BuilderFlag.INT8)
        if target.precision == "int8_fp16":
            config.set_flag(trt.BuilderFlag.FP16)
    if target.weight_stripped:
        if not features.has_stripped_plans:
            raise EngineError(
                f"weight_stripped is true, and TensorRT {features.version} cannot build a plan without weights",
                needed="TensorRT 10 or newer, or a plan with its weights",
                fix="set weight_stripped of the target to false in params.yaml",
            )
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
        config.set_flag(trt.BuilderFlag.REFIT_IDENTICAL)
    if target.dla is not None:
        _use_dla(trt, builder, config, target.dla)
    return config


def add_batch_profile(builder: Any, config: Any, network: Any, profile: tuple[int, int, int]) -> None:
    """Add the range of images per call, for a network with a dynamic batch."""
    batches = builder.create_optimization_profile()
    images = network.get_input(0)
    rest = tuple(images.shape)[1:]
    batches.set_shape(images.name, *((count, *rest) for count in profile))
    config.add_optimization_profile(batches)


def place_on_dla(network: Any, config: Any, dla: DlaSpec) -> tuple[str, ...]:
    """The names of the layers that the DLA cannot run.

    Raises:
        EngineError: There are some and the target has no GPU fallback, or the DLA can run none.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    left = tuple(str(layer.name) for layer in layers if not config.can_run_on_DLA(layer))
    if left and not dla.gpu_fallback:
        raise EngineError(
            f"{len(left)} of {len(layers)} layers cannot run on the DLA: {listed(left)}",
            needed="a network of layers that a DLA supports, or the GPU for the others",
            fix="set dla.gpu_fallback of the target to true, remove dla, or change the named layers",
        )
    if len(left) == len(layers):
        raise EngineError(
            f"none of the {len(layers)} layers can run on the DLA: {listed(left)}",
            needed="convolutions of fixed shapes in int8 or half",
            fix="remove dla of the target: all layers would run on the GPU",
        )
    return left


def build_plan(builder: Any, network: Any, config: Any, log: Log, target: TensorRTTarget, origin: Path) -> bytes:
    """Build the plan.

    Raises:
        EngineError: TensorRT could not.
    """
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        settings = {"workspace_mib": target.workspace_mib, "optimization_level": target.optimization_level}
        raise failure(f"building an engine from {origin}", log, **settings)
    return bytes(memoryview(plan))


def _creation_flags(trt: Any, features: Features, typing: Typing) -> int:
    flags = trt.NetworkDefinitionCreationFlag
    if features.needs_explicit_batch:
        return 1 << int(flags.EXPLICIT_BATCH)
    if typing == "strong" and not features.is_always_strong:
        return 1 << int(flags.STRONGLY_TYPED)
    return 0


def _use_dla(trt: Any, builder: Any, config: Any, dla: DlaSpec) -> None:
    if builder.num_DLA_cores <= dla.core:
        raise EngineError(
            f"dla.core is {dla.core}, and this device has {builder.num_DLA_cores} DLA cores for this TensorRT",
            needed="a device with that core: an Orin (Thor has none), with TensorRT up to 10.7 or from 11.4.1 on",
            fix="remove dla of the target in params.yaml, or name another core",
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = dla.core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)  # always: the GPU converts the float32 images for the DLA


def _set_ranges(network: Any, ranges: Mapping[str, float]) -> None:
    """Set the ranges of the former Q/DQ on the tensors of the network."""
    if not ranges:
        return
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        tensors += [layer.get_output(number) for number in range(layer.num_outputs)]
    for tensor in tensors:
        if tensor.name in ranges:
            tensor.set_dynamic_range(-ranges[tensor.name], ranges[tensor.name])
