"""Runtime, engine, execution context, inspector and refitter."""

import ctypes
import json
import math
import weakref
from typing import Any

import numpy as np
from onnx import ModelProto, load_from_string

from tensorrt_standin.building import checked_logger
from tensorrt_standin.hardware import Misuse, device_bytes, enqueue, here, require_cuda
from tensorrt_standin.plan import Plan, read_plan, refill, with_ranges
from tensorrt_standin.strict import Strict


class Runtime(Strict):
    DLA_core: int = -1

    def __init__(self, logger: Any) -> None:
        self._logger = checked_logger(logger, self._trt)
        require_cuda("Runtime")
        self.DLA_core = -1

    @property
    def num_DLA_cores(self) -> int:
        return here().dla_cores

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        plan = read_plan(bytes(serialized_engine))
        wrong = self._error_for(plan)
        if plan is None or wrong:
            self._logger._emit("ERROR", wrong)
            self._logger._emit("ERROR", "Error Code 4: Internal Error (Engine deserialization failed.)")
            return None
        return self._trt.ICudaEngine(plan, self)

    def _error_for(self, plan: Plan | None) -> str:
        if plan is None:
            return "Error Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed.)"
        mine, its = self._trt.__version__, plan.version
        if mine != its:
            return (
                "Error Code 6: The engine plan file is not compatible with this version of TensorRT, expecting library "
                f"version {mine} got {its}, please rebuild."
            )
        if plan.compute_capability != here().compute_capability:
            return (
                "Error Code 6: The engine plan file is generated on an incompatible device, expecting compute "
                f"{here().compute_capability} got compute {plan.compute_capability}, please rebuild."
            )
        if plan.dla_core is not None and not 0 <= self.DLA_core < here().dla_cores:
            return "Error Code 3: the engine runs on DLA, and the runtime has no DLA core."
        return ""


class ICudaEngine(Strict):
    def __init__(self, plan: Plan, runtime: Any) -> None:
        self._plan, self._runtime = plan, weakref.ref(runtime)
        self._logger = runtime._logger
        self._missing = list(plan.stripped)

    @property
    def num_io_tensors(self) -> int:
        return len(self._values)

    @property
    def num_layers(self) -> int:
        return len(self._plan.layers)

    @property
    def num_optimization_profiles(self) -> int:
        return 1

    @property
    def refittable(self) -> bool:
        return bool(self._plan.stripped)

    @property
    def device_memory_size(self) -> int:
        return self._plan.workspace // 64

    @property
    def device_memory_size_v2(self) -> int:
        return self._plan.workspace // 64

    def get_tensor_name(self, index: int) -> str:
        return list(self._values)[index]

    def get_tensor_mode(self, name: str) -> Any:
        inputs = {value.name for value in self._plan.model.graph.input}
        return getattr(self._trt.TensorIOMode, "INPUT" if name in inputs else "OUTPUT")

    def get_tensor_shape(self, name: str) -> Any:
        dims = self._values[name].type.tensor_type.shape.dim
        return self._trt.Dims(-1 if dim.dim_param else dim.dim_value for dim in dims)

    def get_tensor_dtype(self, name: str) -> Any:
        return {1: self._trt.DataType.FLOAT, 10: self._trt.DataType.HALF}[self._values[name].type.tensor_type.elem_type]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        shapes = self._plan.profile or [list(self.get_tensor_shape(name))] * 3
        return [self._trt.Dims(shape) for shape in shapes]

    def create_engine_inspector(self) -> Any:
        return self._trt.EngineInspector(self)

    def create_execution_context(self, *_: Any) -> Any:
        self._alive()
        if self._missing:
            self._logger._emit("ERROR", f"Error Code 3: {len(self._missing)} weights were stripped and not refitted.")
            return None
        return self._trt.IExecutionContext(self)

    @property
    def _values(self) -> dict[str, Any]:
        return {value.name: value for value in (*self._plan.model.graph.input, *self._plan.model.graph.output)}

    def _alive(self) -> None:
        if self._runtime() is None:
            raise Misuse("the runtime was freed, and the engine with it")


class EngineInspector(Strict):
    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def get_engine_information(self, format: Any) -> str:
        if format is not self._trt.LayerInformationFormat.JSON:
            raise NotImplementedError("the stand-in reports layers in JSON only")
        plan = self._engine._plan
        layers = plan.layers if plan.verbosity == "DETAILED" else [layer["Name"] for layer in plan.layers]
        return json.dumps({"Layers": layers, "Bindings": list(self._engine._values)})


class IExecutionContext(Strict):
    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._session = _session(engine._plan)

    @property
    def engine(self) -> Any:
        return self._engine

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine._values:
            return False
        device_bytes(memory, 0, f"set_tensor_address({name!r})")
        self._addresses[name] = memory
        return True

    def set_input_shape(self, name: str, shape: Any) -> bool:
        shape = tuple(shape)
        wanted = tuple(self._engine.get_tensor_shape(name))
        least, _, greatest = self._engine.get_tensor_profile_shape(name, 0)
        fits = all(low <= size <= high for low, size, high in zip(least, shape, greatest, strict=True))
        if len(shape) != len(wanted) or not fits:
            self._emit(f"Error Code 3: set dimension of {name} is {shape}, outside of the profile")
            return False
        self._shapes[name] = shape
        return True

    def get_tensor_shape(self, name: str) -> Any:
        shape = tuple(self._engine.get_tensor_shape(name))
        [images] = [value.name for value in self._engine._plan.model.graph.input]
        batch = self._shapes.get(images, tuple(self._engine.get_tensor_shape(images)))[0]
        return self._trt.Dims((batch, *shape[1:]) if shape[0] == -1 else shape)

    def execute_async_v3(self, stream_handle: int) -> bool:
        self._engine._alive()
        unset = [name for name in self._engine._values if name not in self._addresses]
        if unset or any(-1 in self.get_tensor_shape(name) for name in self._engine._values):
            self._emit(f"Error Code 3: addresses of {unset} or input shapes are not set")
            return False
        enqueue(stream_handle, self._run, "execute_async_v3")
        return True

    def _run(self) -> None:
        [images] = [value.name for value in self._engine._plan.model.graph.input]
        names = [value.name for value in self._engine._plan.model.graph.output]
        results = self._session.run(names, {images: self._array(images).copy()})
        for name, result in zip(names, results, strict=True):
            self._array(name)[...] = result

    def _array(self, name: str) -> Any:
        shape = tuple(self.get_tensor_shape(name))
        memory = device_bytes(self._addresses[name], 4 * math.prod(shape), name)
        values = (ctypes.c_float * math.prod(shape)).from_address(ctypes.addressof(memory))
        return np.ctypeslib.as_array(values).reshape(shape)

    def _emit(self, text: str) -> None:
        self._engine._logger._emit("ERROR", text)


class Refitter(Strict):
    def __init__(self, engine: Any, logger: Any) -> None:
        self._engine, self._logger = engine, checked_logger(logger, self._trt)
        self._given: ModelProto | None = None

    def get_missing_weights(self) -> list[str]:
        return list(self._engine._missing)

    def refit_cuda_engine(self) -> bool:
        if self._given is None:
            return False
        self._engine._missing = refill(self._engine._plan.model, self._given, self._engine._missing)
        if self._engine._missing:
            self._logger._emit("ERROR", f"Error Code 4: missing weights {self._engine._missing[:3]}")
        return not self._engine._missing


class OnnxParserRefitter(Strict):
    def __init__(self, refitter: Any, logger: Any) -> None:
        self._refitter = refitter

    def refit_from_bytes(self, model: bytes, path: str | None = None) -> bool:
        self._refitter._given = load_from_string(model)
        return True


def _session(plan: Plan) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = ModelProto()
    model.CopyFrom(plan.model)
    content = with_ranges(model, plan.ranges).SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
