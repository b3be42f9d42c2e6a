"""The rewrite keeps the arithmetic of a Q/DQ graph and moves it to ONNX Runtime's int8 kernels."""

import copy
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from robot_assets.engines.onnxruntime.build import build_engine
from robot_assets.engines.onnxruntime.kind import KIND
from robot_assets.engines.onnxruntime.layers import optimized_layers, unfused_weights
from robot_assets.engines.onnxruntime.rewrite import rewrite
from robot_assets.tasks.interface import Preprocessing
from tests.detector_chain import TARGET, whole
from tests.engines.qdq_graphs import CHANNELS, SHAPE, Graph, run, write_artifact

PLAIN = Preprocessing()


@pytest.fixture(scope="module")
def original() -> onnx.ModelProto:
    return onnx.load(whole().onnx / "model.onnx")


@pytest.fixture
def rewritten(original) -> onnx.ModelProto:
    model = copy.deepcopy(original)
    rewrite(model, PLAIN)
    return model


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
    rewrite(one, PLAIN)
    rewrite(other, PLAIN)
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
    found = rewrite(model, PLAIN)
    assert (found.from_zero, found.shifted) == (0, 1)
    assert np.array_equal(run(model, images)[0], before)


def silu(graph: Graph, source: str) -> str:
    return graph.node("Mul", source, graph.node("Sigmoid", source))


def depthwise(graph: Graph, x: str) -> str:
    return graph.quantized(graph.node("Relu", graph.convolution(x, group=CHANNELS)))


def with_silu(graph: Graph, x: str) -> str:
    return graph.quantized(graph.convolution(graph.quantized(silu(graph, graph.convolution(x)))))


def with_relu6(graph: Graph, x: str) -> str:
    bounds = graph.constant(np.float32(0)), graph.constant(np.float32(1.5))
    return graph.quantized(graph.node("Clip", graph.convolution(x), *bounds), 1.6)


def with_one_bound(graph: Graph, x: str) -> str:
    return graph.quantized(graph.node("Clip", graph.convolution(x), "", graph.constant(np.float32(0.5))))


def averaged(graph: Graph, x: str) -> str:
    pooled = graph.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    return graph.quantized(graph.convolution(graph.quantized(pooled, 3.0)))


def gated(graph: Graph, x: str) -> str:
    """Squeeze and excitation."""
    pooled = graph.quantized(graph.node("GlobalAveragePool", x), 1.0)
    gate = graph.quantized(graph.node("Sigmoid", pooled), 1.0)
    return graph.quantized(graph.convolution(graph.quantized(graph.node("Mul", x, gate))))


def concatenated(graph: Graph, x: str) -> str:
    """One part that can be negative, one that cannot, at scales of their own."""
    parts = graph.quantized(graph.convolution(x), 3.0), graph.quantized(graph.node("Relu", graph.convolution(x)), 5.0)
    return graph.quantized(graph.convolution(graph.quantized(graph.node("Concat", *parts, axis=1)), 2 * CHANNELS))


def transposed(graph: Graph, x: str) -> str:
    return graph.quantized(graph.node("ConvTranspose", x, graph.weights((CHANNELS, 8, 2, 2), axis=1), strides=[2, 2]))


def multiplied(graph: Graph, x: str) -> str:
    flat = graph.quantized(graph.node("Flatten", graph.node("GlobalAveragePool", x)), 1.0)
    return graph.node("MatMul", flat, graph.weights((CHANNELS, 10), axis=1))


def with_linear_layer(graph: Graph, x: str) -> str:
    flat = graph.quantized(graph.node("Flatten", graph.node("GlobalAveragePool", x)), 1.0)
    return graph.node("Gemm", flat, graph.weights((10, CHANNELS)), graph.constant(np.ones(10, np.float32)), transB=1)


def pooled(graph: Graph, x: str) -> str:
    first = graph.quantized(graph.convolution(x))
    return graph.quantized(graph.convolution(graph.node("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2])))


def integers_moved(graph: Graph, x: str) -> str:
    """A node between QuantizeLinear and DequantizeLinear sees the integers."""
    scale = graph.constant(np.float32(0.05))
    steps = graph.node("QuantizeLinear", graph.convolution(x), scale, "zero")
    return graph.node("DequantizeLinear", graph.node("Transpose", steps, perm=[0, 1, 3, 2]), scale, "zero")


def two_scales(graph: Graph, x: str) -> str:
    convolved = graph.convolution(x)
    return graph.node("Add", graph.quantized(convolved, 2.0), graph.quantized(convolved, 3.0))


def quantized_in_the_graph(graph: Graph, x: str) -> str:
    return graph.quantized(graph.node("Relu", graph.convolution(x, in_graph=True)))


def overshooting(graph: Graph, x: str) -> str:
    """Cubic interpolation of what cannot be negative can be."""
    scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
    return graph.quantized(graph.node("Resize", graph.node("Relu", x), "", scales, mode="cubic"))


CASES = {
    depthwise: {"QLinearConv": 1},
    with_silu: {"QLinearConv": 1, "Conv": 1},
    with_relu6: {"QLinearConv": 1},
    with_one_bound: {"QLinearConv": 1},
    averaged: {"QLinearConv": 1, "QLinearAveragePool": 1},
    gated: {"QLinearConv": 1, "QLinearMul": 1, "QLinearGlobalAveragePool": 1},
    concatenated: {"QLinearConv": 3, "QLinearConcat": 1},
    transposed: {"ConvTranspose": 1},
    multiplied: {"MatMulIntegerToFloat": 1},
    with_linear_layer: {"Gemm": 1},
    pooled: {"QLinearConv": 2},
    integers_moved: {},
    two_scales: {"QLinearAdd": 0},
    quantized_in_the_graph: {"QLinearConv": 1},
    overshooting: {},
}


@pytest.mark.parametrize("build", CASES, ids=lambda build: build.__name__)
def test_any_operator_gives_the_answers_of_the_graph_as_written(build, tmp_path):
    graph = Graph()
    model = graph.model(build(graph, graph.quantized(graph.node("Neg", "images"))))
    images = np.random.default_rng(1).normal(0, 1.3, SHAPE).astype(np.float32)
    [before] = run(model, images)
    rewrite(model, Preprocessing(mean=(0.5, 0.5, 0.5)))
    [after] = run(model, images, is_optimized=True)
    step = np.ptp(before) / 255
    assert np.abs(after - before).mean() <= 0.5 * step
    assert np.abs(after - before).max() <= 4 * step
    (tmp_path / "engine.onnx").write_bytes(model.SerializeToString())
    kernels = Counter(layer.kind for layer in optimized_layers(tmp_path / "engine.onnx"))
    assert {kind: kernels[kind] for kind in CASES[build]} == CASES[build]


def quantizers_of(model: onnx.ModelProto, source: str) -> list[int]:
    """Zero points of the QuantizeLinear nodes that read ``source``."""
    tensors = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == source]
    return [int(tensors[node.input[2]]) for node in nodes]


def test_every_convolution_of_the_images_reads_them_as_they_are():
    graph = Graph((1, 3, 12, 12))
    images = graph.quantized("images", 1.0)
    first, second = (graph.convolution(images, 3) for _ in range(2))
    model = graph.model(graph.quantized(first), graph.quantized(second))
    found = rewrite(model, PLAIN)
    assert found.float_convolutions == 2
    assert quantizers_of(model, "images") == []
    assert [node.input[0] for node in model.graph.node if node.op_type == "Conv"] == ["images", "images"]


@pytest.mark.parametrize(
    ("mean", "zero_point"), [((0.0, 0.0, 0.0), 0), ((-0.5, 0.0, 0.0), 0), ((0.485, 0.456, 0.406), 128)]
)
def test_images_that_no_convolution_reads_stay_quantized_by_their_sign(mean, zero_point):
    graph = Graph((1, 3, 12, 12))
    images = graph.quantized("images", 3.0)
    model = graph.model(graph.quantized(graph.node("MaxPool", images, kernel_shape=[2, 2], strides=[2, 2]), 3.0))
    pixels = np.random.default_rng(0).random((1, 3, 12, 12), np.float32)
    images = (pixels - np.float32(mean).reshape(1, 3, 1, 1)).astype(np.float32)
    [before] = run(model, images)
    rewrite(model, Preprocessing(mean=mean))
    assert quantizers_of(model, "images") == [zero_point]
    assert np.array_equal(run(model, images, is_optimized=True)[0], before)


def test_bounds_of_a_clipping_are_those_of_its_quantization():
    graph = Graph()
    x = graph.quantized(graph.node("Neg", "images"))
    bounds = graph.constant(np.float32(0)), graph.constant(np.float32(1.5))
    model = graph.model(graph.quantized(graph.node("Clip", graph.convolution(x), *bounds), 1.6))
    rewrite(model, PLAIN)
    onnx.checker.check_model(model, full_check=True)
    tensors = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    clip = next(node for node in model.graph.node if node.op_type == "Clip")
    lower, upper = (tensors[name] for name in clip.input[1:])
    assert lower.dtype == upper.dtype == np.uint8
    assert (int(lower), int(upper)) == (128, 128 + round(1.5 * 127 / 1.6))


def test_an_engine_whose_convolutions_run_in_float_says_so_on_its_page(tmp_path):
    graph = Graph((1, 3, 12, 12))
    x = silu(graph, graph.convolution(graph.quantized("images", 1.0), 3))
    for _ in range(2):
        x = silu(graph, graph.convolution(graph.quantized(x)))
    write_artifact(tmp_path / "onnx", graph.model(x))
    summary = build_engine(tmp_path / "onnx", TARGET, tmp_path / "engine")
    assert summary.manifest.kernels.int8_convolutions == 0
    [note] = summary.notes
    assert note.startswith("3 of 3 convolutions run in float: ")
    page = KIND.page(summary, tmp_path / "engine", tmp_path / "onnx", tmp_path)
    assert "3 of 3 convolutions run in float" in page.blocks[-1].markdown


def test_no_weight_is_dequantized_at_every_inference(tmp_path):
    """ONNX Runtime merges this product and its bias to a Gemm, which has no int8 kernel."""
    graph = Graph((1, 3, 12, 12))
    flat = graph.node("Flatten", graph.node("GlobalAveragePool", graph.convolution(graph.quantized("images"), 3)))
    product = graph.node("MatMul", graph.quantized(flat, 1.0), graph.weights((CHANNELS, 10), axis=1))
    write_artifact(tmp_path / "onnx", graph.model(graph.node("Add", product, graph.constant(np.ones(10, np.float32)))))
    build_engine(tmp_path / "onnx", TARGET, tmp_path / "engine")
    assert unfused_weights(tmp_path / "engine" / "engine.onnx") == set()
