"""Builds small Q/DQ graphs of many operators, quantized as TensorRT needs them: symmetric int8."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from robot_assets.core.digests import md5_of

CHANNELS = 16
SHAPE = (1, CHANNELS, 12, 12)


class Graph:
    """Nodes and constants of a graph that reads ``images``."""

    def __init__(self, shape: tuple[int, ...] = SHAPE) -> None:
        self.shape = shape
        self.rng = np.random.default_rng(7)
        self.nodes: list[onnx.NodeProto] = []
        self.constants = [numpy_helper.from_array(np.zeros((), np.int8), "zero")]
        self._count = 0

    def name(self, operator: str) -> str:
        self._count += 1
        return f"{operator.lower()}_{self._count}"

    def constant(self, values: np.ndarray | float) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values), name := self.name("constant")))
        return name

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        """Add a node; its (first) output."""
        name = self.name(operator)
        names = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, inputs, names, name, **attributes))
        return name

    def quantized(self, source: str, maximum: float = 4.0) -> str:
        """``source`` through a Q/DQ pair that represents up to ``maximum``."""
        scale = self.constant(np.float32(maximum / 127))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", source, scale, "zero"), scale, "zero")

    def weights(self, shape: tuple[int, ...], axis: int = 0, *, in_graph: bool = False) -> str:
        """Weights with a scale per channel of ``axis``; ``in_graph``: quantized by the graph itself."""
        scales = self.rng.uniform(0.5, 1.5, shape[axis]).astype(np.float32) / 127 / np.sqrt(np.prod(shape[1:]))
        steps = self.rng.integers(-127, 128, shape).astype(np.int8)
        zeros, scale = self.constant(np.zeros(shape[axis], np.int8)), self.constant(scales.astype(np.float32))
        values = self.constant(steps)
        if in_graph:
            along = scales.reshape([-1 if one == axis else 1 for one in range(len(shape))])
            floats = self.constant((steps * along).astype(np.float32))
            values = self.node("QuantizeLinear", floats, scale, zeros, axis=axis)
        return self.node("DequantizeLinear", values, scale, zeros, axis=axis)

    def convolution(
        self, source: str, inputs: int = CHANNELS, outputs: int = CHANNELS, *, group: int = 1, in_graph: bool = False
    ) -> str:
        weights = self.weights((outputs, inputs // group, 3, 3), in_graph=in_graph)
        bias = self.constant(self.rng.normal(0, 0.2, outputs).astype(np.float32))
        return self.node("Conv", source, weights, bias, pads=[1] * 4, group=group)

    def model(self, *outputs: str) -> onnx.ModelProto:
        images = helper.make_tensor_value_info("images", TensorProto.FLOAT, self.shape)
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "small", [images], ends, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        shapes = {value.name: value for value in (*inferred.graph.output, *inferred.graph.value_info)}
        for value in model.graph.output:
            value.CopyFrom(shapes[value.name])
        return model


def write_artifact(folder: Path, model: onnx.ModelProto) -> None:
    """Write what an engine is built from: ``model.onnx`` and ``model.json``, of an image and one map of values."""
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    shapes = [
        [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (model.graph.input[0], model.graph.output[0])
    ]
    interface = {
        "task": "segmentation",
        "classes": ["ground", "other"],
        "input": {"height": shapes[0][2], "width": shapes[0][3]},
        "heads": [{"name": model.graph.output[0].name, "shape": shapes[1], "parts": [{"meaning": "values"}]}],
        "decoder": "map",
    }
    card = {"interface": interface, "md5": md5_of(folder / "model.onnx")}
    (folder / "model.json").write_text(json.dumps(card))


def run(model: onnx.ModelProto, images: np.ndarray, *, is_optimized: bool = False) -> list[np.ndarray]:
    """The outputs of a graph in ONNX Runtime, as written or with all optimizations."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if not is_optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})
