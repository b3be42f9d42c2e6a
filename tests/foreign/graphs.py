"""Small ONNX graphs, as exporters write them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SHAPE = (1, 3, 16, 16)
RNG = np.random.default_rng(0)


def constant(name: str, value: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 0.3, shape).astype(np.float32)


def conv(index: int, given: str, channels: int, outputs: int, **attributes: Any) -> tuple[list, list]:
    """A 3x3 convolution with a bias: its node, and its constants. Its output is called ``convINDEX``."""
    names = [f"layer{index}.weight", f"layer{index}.bias"]
    name = f"/layer{index}/Conv"
    node = helper.make_node("Conv", [given, *names], [f"conv{index}"], name=name, pads=[1, 1, 1, 1], **attributes)
    bias = np.linspace(-0.2, 0.2, outputs, dtype=np.float32)
    return [node], [constant(names[0], weights(outputs, channels, 3, 3)), constant(names[1], bias)]


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto] = (),
    *,
    outputs: dict[str, Sequence[Any] | None] | None = None,
    shape: Sequence[Any] = SHAPE,
    opset: int = 17,
    ir_version: int = 8,
    inputs: Sequence[onnx.ValueInfoProto] | None = None,
    output_type: int = TensorProto.FLOAT,
    **more: Any,
) -> onnx.ModelProto:
    """A model whose output is that of its last node, unless ``outputs`` has others."""
    outputs = {nodes[-1].output[0]: None} if outputs is None else outputs
    given = inputs or [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)]
    made = [helper.make_tensor_value_info(name, output_type, sizes) for name, sizes in outputs.items()]
    graph = helper.make_graph(list(nodes), "exported", given, made, list(constants))
    domains = more.pop("domains", {})
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*one) for one in domains.items())]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, **more)


def small() -> onnx.ModelProto:
    """Two convolutions with a ReLU between."""
    first, constants = conv(0, "images", 3, 8)
    second, more = conv(1, "relu0", 8, 4)
    relu = helper.make_node("Relu", ["conv0"], ["relu0"], name="/layer0/Relu")
    return model([*first, relu, *second], [*constants, *more])


def run(graph: onnx.ModelProto, images: np.ndarray | None = None) -> list[np.ndarray]:
    """The outputs of a graph, without graph optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    shape = [size if isinstance(size, int) else 16 for size in value.shape]
    shape[0] = 1
    images = RNG.normal(0, 1, shape).astype(np.float32) if images is None else images
    return session.run(None, {value.name: images})


def image(seed: int = 0, shape: Sequence[int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)
