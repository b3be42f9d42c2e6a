"""The rewrite keeps the arithmetic of a Q/DQ graph and moves it to ONNX Runtime's int8 kernels."""

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from robot_assets.engines.onnxruntime.rewrite import rewrite
from tests.detector_chain import whole


@pytest.fixture(scope="module")
def original() -> onnx.ModelProto:
    return onnx.load(whole().onnx / "model.onnx")


@pytest.fixture
def rewritten(original) -> onnx.ModelProto:
    model = copy.deepcopy(original)
    rewrite(model)
    return model


def run(model: onnx.ModelProto, images: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})


def test_the_rewritten_graph_is_valid(rewritten):
    onnx.checker.check_model(rewritten, full_check=True)


def test_activations_are_uint8_and_weights_int8(rewritten):
    tensors = {one.name: numpy_helper.to_array(one) for one in rewritten.graph.initializer}
    for node in rewritten.graph.node:
        if node.op_type == "QuantizeLinear":
            assert tensors[node.input[2]].dtype == np.uint8
        elif node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            assert tensors[node.input[0]].dtype == np.int8


def test_scales_are_unchanged(original, rewritten):
    def scales(model):
        tensors = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
        nodes = [one for one in model.graph.node if one.op_type == "QuantizeLinear"]
        return {node.output[0]: float(tensors[node.input[1]]) for node in nodes if node.input[0] != "images"}

    assert scales(rewritten) == scales(original)


def test_the_zero_point_is_0_after_relu_and_128_elsewhere(rewritten):
    tensors = {one.name: numpy_helper.to_array(one) for one in rewritten.graph.initializer}
    makers = {node.output[0]: node.op_type for node in rewritten.graph.node}
    points = {
        (makers[node.input[0]], int(tensors[node.input[2]]))
        for node in rewritten.graph.node
        if node.op_type == "QuantizeLinear"
    }
    assert points == {("Relu", 0), ("Conv", 128), ("Resize", 0)}


def test_heads_are_close_to_those_of_the_original(original, rewritten):
    images = np.random.default_rng(0).random((1, 3, 64, 96), dtype=np.float32)
    for ours, theirs in zip(run(rewritten, images), run(original, images), strict=True):
        assert np.abs(ours - theirs).mean() < 0.05 * max(1.0, np.abs(theirs).mean())


def test_rewriting_twice_from_the_same_graph_gives_the_same_bytes(original):
    one, other = copy.deepcopy(original), copy.deepcopy(original)
    rewrite(one)
    rewrite(other)
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def test_values_inside_the_grid_of_a_shifted_pair_are_unchanged():
    """A lone Q/DQ pair on a tensor that can be negative: int8 around 0 and uint8 around 128 are one grid."""
    shape = [1, 3, 4, 4]
    constants = [
        numpy_helper.from_array(np.array(0.25, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
        numpy_helper.from_array(np.array(-0.5, np.float32), "shift"),
    ]
    nodes = [
        helper.make_node("Add", ["images", "shift"], ["x"]),
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("images", "y")]
    graph = helper.make_graph(nodes, "pair", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    images = np.random.default_rng(0).uniform(-40, 40, shape).astype(np.float32)
    before = run(model, images)[0]
    found = rewrite(model)
    assert (found.from_zero, found.shifted) == (0, 1)
    assert np.array_equal(run(model, images)[0], before)
