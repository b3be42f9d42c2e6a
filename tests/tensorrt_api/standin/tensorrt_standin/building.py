"""Builder, network, parser, configuration and timing cache."""

import json
import random
import weakref
from typing import Any

import onnx
from onnx import ModelProto

from tensorrt_standin.hardware import Misuse, here, require_cuda
from tensorrt_standin.plan import Plan, fused, strip, tactic_key, tactics
from tensorrt_standin.strict import Strict

REFUSED_OPERATORS = {
    "QLinearConv",
    "ConvInteger",
    "MatMulInteger",
    "DynamicQuantizeLinear",
    "Unique",
    "Det",
    "BitShift",
}
"""Some of the operators that onnx-tensorrt lists as not supported, from 8.6 to 11."""
DLA_OPERATORS = {"Conv", "Relu", "Add", "MaxPool", "Concat", "Sigmoid", "Resize"}


class Dims(tuple):
    MAX_DIMS = 8


class IHostMemory(bytes):
    """Supports the buffer protocol, as the real class."""

    @property
    def nbytes(self) -> int:
        return len(self)


class ILogger(Strict):
    def __init__(self) -> None:
        self._is_initialized = True

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError

    def _emit(self, severity: str, message: str) -> None:
        self.log(getattr(self.Severity, severity), message)


class Logger(Strict):
    def __init__(self, min_severity: Any = None) -> None:
        self._is_initialized = True

    def log(self, severity: Any, msg: str) -> None:
        print(f"[TRT] {msg}")


_registered: dict[str, Any] = {}
"""TensorRT keeps the first logger of a process and ignores all others."""


def checked_logger(logger: Any, trt: Any) -> Any:
    if not isinstance(logger, trt.ILogger) or not getattr(logger, "_is_initialized", False):
        raise TypeError("incompatible function arguments: needed a tensorrt.ILogger whose __init__ was called")
    return _registered.setdefault("logger", logger)


class Builder(Strict):
    def __init__(self, logger: Any) -> None:
        self._logger = checked_logger(logger, self._trt)
        require_cuda("Builder")

    @property
    def logger(self) -> Any:
        return self._logger

    @property
    def num_DLA_cores(self) -> int:
        return here().dla_cores

    @property
    def platform_has_fast_int8(self) -> bool:
        return True

    @property
    def platform_has_fast_fp16(self) -> bool:
        return True

    def create_network(self, flags: int = 0) -> Any:
        names = [member.name for member in self._trt.NetworkDefinitionCreationFlag if flags & (1 << int(member))]
        if flags >> len(self._trt.NetworkDefinitionCreationFlag):
            raise Misuse(f"create_network({flags}): bits without a flag in this version")
        return self._trt.INetworkDefinition(names)

    def create_builder_config(self) -> Any:
        return self._trt.IBuilderConfig(self._logger)

    def create_optimization_profile(self) -> Any:
        return self._trt.IOptimizationProfile()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        wrong = _error_for(network, config, self._trt)
        if wrong:
            self._logger._emit("ERROR", wrong)
            return None
        return self._trt.IHostMemory(_plan(network, config, self._trt, self._logger).serialize())


class INetworkDefinition(Strict):
    def __init__(self, flags: list[str]) -> None:
        self._flags = flags
        self._model = ModelProto()
        self._parser: Any = lambda: None
        self._tensors: dict[str, Any] = {}
        self._layers: list[Any] = []

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    @property
    def num_inputs(self) -> int:
        return len(self._model.graph.input)

    @property
    def num_outputs(self) -> int:
        return len(self._model.graph.output)

    def get_layer(self, index: int) -> Any:
        return self._layers[index]

    def get_input(self, index: int) -> Any:
        return self._tensors[self._model.graph.input[index].name]

    def get_output(self, index: int) -> Any:
        return self._tensors[self._model.graph.output[index].name]

    def _fill(self, model: ModelProto, parser: Any) -> None:
        self._model, self._parser = model, weakref.ref(parser)
        shapes = {value.name: _shape(value) for value in (*model.graph.input, *model.graph.output)}
        names = [
            *(value.name for value in model.graph.input),
            *(name for node in model.graph.node for name in node.output),
        ]
        self._tensors = {name: self._trt.ITensor(name, shapes.get(name, ())) for name in names}
        self._layers = [
            self._trt.ILayer(node, [self._tensors[name] for name in node.output]) for node in model.graph.node
        ]

    @property
    def _is_strong(self) -> bool:
        return "STRONGLY_TYPED" in self._flags or not hasattr(self._trt.BuilderFlag, "INT8")

    @property
    def _ranges(self) -> dict[str, float]:
        return {name: tensor._range for name, tensor in self._tensors.items() if tensor._range is not None}


class ITensor(Strict):
    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self._name, self._shape, self._range = name, shape, None

    @property
    def name(self) -> str:
        return self._name

    @property
    def shape(self) -> Any:
        return self._trt.Dims(self._shape)

    def set_dynamic_range(self, min: float, max: float) -> bool:
        if not min < 0 < max or min != -max:
            raise Misuse(f"dynamic range ({min}, {max}): TensorRT's int8 is symmetric")
        self._range = max
        return True


class ILayer(Strict):
    def __init__(self, node: Any, outputs: list[Any]) -> None:
        self._node, self._outputs = node, outputs

    @property
    def name(self) -> str:
        return self._node.name

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    def get_output(self, index: int) -> Any:
        return self._outputs[index]


class IOptimizationProfile(Strict):
    def __init__(self) -> None:
        self._shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self._shapes[input] = [list(min), list(opt), list(max)]


class ITimingCache(Strict):
    def __init__(self, content: bytes, trt: Any) -> None:
        mine = {"version": trt.__version__, "device": here().name, "entries": {}}
        self._document = json.loads(content) if content else mine
        self._is_mine = {**self._document, "entries": {}} == mine

    def serialize(self) -> Any:
        return self._trt.IHostMemory(json.dumps(self._document, sort_keys=True).encode())


class IBuilderConfig(Strict):
    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._flags: set[Any] = set()
        self._pools: dict[Any, int] = {}
        self._profiles: list[Any] = []
        self._cache: Any = None
        self.builder_optimization_level = 3
        self.profiling_verbosity = self._trt.ProfilingVerbosity.LAYER_NAMES_ONLY
        self.default_device_type = self._trt.DeviceType.GPU
        self.DLA_core = -1

    builder_optimization_level: int = 3
    profiling_verbosity: Any = None
    default_device_type: Any = None
    DLA_core: int = -1

    def set_flag(self, flag: Any) -> None:
        self._flags.add(_checked(flag, self._trt.BuilderFlag))

    def get_flag(self, flag: Any) -> bool:
        return _checked(flag, self._trt.BuilderFlag) in self._flags

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[_checked(pool, self._trt.MemoryPoolType)] = pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        return self._pools[_checked(pool, self._trt.MemoryPoolType)]

    def add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    def create_timing_cache(self, serialized_timing_cache: Any) -> Any:
        return self._trt.ITimingCache(bytes(serialized_timing_cache), self._trt)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if not cache._is_mine and not ignore_mismatch:
            self._logger._emit("WARNING", "The timing cache is of another device or version and will not be used.")
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._cache

    def can_run_on_DLA(self, layer: Any) -> bool:
        node = layer._node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Cast"):
            return not hasattr(self._trt.BuilderFlag, "INT8")  # explicit quantization: from 11 on
        return node.op_type in DLA_OPERATORS and node.op_type not in here().dla_lacks

    def _has(self, name: str) -> bool:
        return any(flag.name == name for flag in self._flags)


class OnnxParser(Strict):
    def __init__(self, network: Any, logger: Any) -> None:
        self._network, self._logger = network, checked_logger(logger, self._trt)
        self._errors: list[Any] = []
        self._flags: set[Any] = set()
        self._config: Any = None
        self._has_parsed = False

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._errors[index]

    def set_flag(self, flag: Any) -> None:
        self._flags.add(_checked(flag, self._trt.OnnxParserFlag))

    def set_builder_config(self, config: Any) -> bool:
        self._config = config
        return True

    def parse(self, model: bytes, path: str | None = None) -> bool:
        if self._has_parsed:
            raise Misuse("a parser can parse only once")
        self._has_parsed = True
        if type(model) is not bytes:
            raise TypeError("parse(): incompatible function arguments: needed bytes")
        flags = self._trt.NetworkDefinitionCreationFlag
        needs_flag = hasattr(flags, "EXPLICIT_BATCH") and not hasattr(flags, "STRONGLY_TYPED")
        if needs_flag and "EXPLICIT_BATCH" not in self._network._flags:
            self._fail(
                "INVALID_GRAPH",
                -1,
                "",
                "This version of the ONNX parser only supports TensorRT "
                "INetworkDefinitions with an explicit batch dimension.",
            )
            return False
        loaded = onnx.load_from_string(model)
        for index, node in enumerate(loaded.graph.node):
            self._check(index, node, loaded)
        if not self._errors:
            self._network._fill(loaded, self)
        return not self._errors

    def _check(self, index: int, node: Any, model: ModelProto) -> None:
        if node.op_type in REFUSED_OPERATORS:
            self._fail("UNSUPPORTED_NODE", index, node.name, f"No importer registered for op: {node.op_type}.")
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        if node.op_type == "QuantizeLinear" and constants[node.input[2]].data_type != onnx.TensorProto.INT8:
            self._fail("UNSUPPORTED_NODE", index, node.name, "TensorRT only supports symmetric INT8 quantization")
        wants_dla = any(flag.name == "REPORT_CAPABILITY_DLA" for flag in self._flags)
        if wants_dla and self._config is None:
            raise Misuse("REPORT_CAPABILITY_DLA without set_builder_config")
        if wants_dla and node.op_type not in DLA_OPERATORS | {"QuantizeLinear", "DequantizeLinear", "Cast"}:
            self._fail("UNSUPPORTED_NODE", index, node.name, "the layer cannot run on DLA")

    def _fail(self, code: str, node: int, name: str, text: str) -> None:
        self._errors.append(self._trt.ParserError(code, node, name, text))


class ParserError(Strict):
    def __init__(self, code: str, node: int, name: str, text: str) -> None:
        self._facts = (code, node, name, text)

    def code(self) -> Any:
        return self._trt.ErrorCode[self._facts[0]]

    def node(self) -> int:
        return self._facts[1]

    def node_name(self) -> str:
        return self._facts[2]

    def func(self) -> str:
        return "parse"

    def desc(self) -> str:
        return self._facts[3]


def _checked(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"incompatible function arguments: {value!r} is not a {kind.__name__}")
    return value


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(dim.dim_value if not dim.dim_param else -1 for dim in value.type.tensor_type.shape.dim)


def _error_for(network: Any, config: Any, trt: Any) -> str:
    """The error message of TensorRT; empty when the build succeeds."""
    if network._parser() is None:
        raise Misuse("the parser was freed with its weights: the network reads freed memory")
    model = network._model
    has_qdq = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    images = network.get_input(0)
    if -1 in images.shape and not any(images.name in profile._shapes for profile in config._profiles):
        return "Error Code 4: Network has dynamic or shape inputs, but no optimization profile has been defined."
    if network._is_strong and (config._has("INT8") or config._has("FP16")):
        return "Error Code 4: precision flags are not allowed with a strongly typed network."
    if not network._is_strong and (has_qdq or network._ranges) and not config._has("INT8"):
        return "Error Code 4: Int8 precision has been set for a layer or layer output, but int8 is not configured."
    if config.default_device_type.name == "DLA" and (error := _dla_error(network, config)):
        return error
    faults = {
        "out_of_memory": "Error Code 2: OutOfMemory (Requested amount of GPU memory (1073741824 bytes) could not be "
        "allocated. There may not be enough free memory for allocation to succeed.)",
        "no_kernel": "Error Code 10: Internal Error (Could not find any implementation for node "
        "{ForeignNode[node_conv2d...node_relu]}.)",
        "workspace": "Error Code 10: no tactic left, try increasing the workspace size with "
        "IBuilderConfig::setMemoryPoolLimit() due to insufficient workspace",
    }
    return faults.get(here().fault or "", "")


def _dla_error(network: Any, config: Any) -> str:
    if not config._has("GPU_FALLBACK"):
        return "Error Code 4: DLA validation failed: reformatting the inputs needs the GPU, and GPU fallback is off."
    if not any(config.can_run_on_DLA(layer) for layer in network._layers):
        return "setDefaultDeviceType was called but no layer in the network can run on DLA."
    if not network._is_strong and not (config._has("FP16") or config._has("INT8")):
        return "Error Code 4: DLA validation failed: DLA only supports FP16 and Int8 precision type."
    return ""


def _plan(network: Any, config: Any, trt: Any, logger: Any) -> Plan:
    model = ModelProto()
    model.CopyFrom(network._model)
    half = config._has("FP16") or any(
        tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer
    )
    is_dla = config.default_device_type.name == "DLA"
    on_dla = {layer.name for layer in network._layers if is_dla and config.can_run_on_DLA(layer)}
    layers = fused(model, half, on_dla)
    for layer in layers:
        layer["TacticValue"] = _tactic(layer, model, config, logger)
    profile = config._profiles[0]._shapes[network.get_input(0).name] if config._profiles else None
    return Plan(
        version=trt.__version__,
        compute_capability=here().compute_capability,
        flags=sorted(flag.name for flag in config._flags),
        typing="strong" if network._is_strong else "weak",
        workspace=config._pools[trt.MemoryPoolType.WORKSPACE],
        optimization_level=config.builder_optimization_level,
        verbosity=config.profiling_verbosity.name,
        dla_core=config.DLA_core if is_dla else None,
        profile=profile,
        ranges=network._ranges,
        layers=layers,
        stripped=strip(model) if config._has("STRIP_PLAN") else [],
        model=model,
    )


def _tactic(layer: dict[str, Any], model: ModelProto, config: Any, logger: Any) -> str:
    """From the timing cache, else chosen at random, as the measurements of a device nearly are."""
    key = tactic_key(layer, model)
    known = config._cache._document["entries"] if config._cache is not None else {}
    if key not in known:
        logger._emit("INFO", f"{layer['Name']}: measured in {random.random():.3f} ms")
        logger._emit("WARNING", f"Skipping tactic {random.randrange(90)} due to insufficient memory on requested size")
        known[key] = random.choice(tactics())
    return known[key]
