"""Placement of Q/DQ nodes in float graphs, and the graphs with them."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from robot_assets.core.errors import QuantizationError
from robot_assets.export.preflight import graph_problems, quantization_problems
from robot_assets.export.qdq_layers import float_weights as trained_weights
from robot_assets.export.qdq_layers import keep_quantized, layers_of
from robot_assets.foreign.conversion import convert
from robot_assets.foreign.placement import Placement, layer_name, place
from robot_assets.foreign.quantize import channel_scales, float_weights, merged, quantized
from robot_assets.quantization.histogram import BINS, MagnitudeHistogram
from tests.foreign.graphs import constant, conv, image, model, run, small, weights


def chain(*parts) -> onnx.ModelProto:
    """A graph of the nodes and constants of some parts; its output is that of the last node."""
    nodes = [node for made, _ in parts for node in made]
    constants = [one for _, made in parts for one in made]
    return convert(model(nodes, constants), "net.onnx").model


def op(operator: str, inputs: list[str], output: str, **attributes) -> tuple[list, list]:
    return [helper.make_node(operator, inputs, [output], name=f"/{output}/{operator}", **attributes)], []


def scales(placement: Placement, scale: float = 0.02) -> dict[str, float]:
    return dict.fromkeys(placement.tensors, scale)


def written(graph: onnx.ModelProto, *float_layers: str) -> onnx.ModelProto:
    """The Q/DQ graph, after a check that every TensorRT takes it and that it answers much as the float graph does."""
    placement = place(graph, float_layers)
    found = quantized(graph, placement, scales(placement))
    onnx.checker.check_model(found, full_check=True)
    assert [*graph_problems(found), *quantization_problems(found)] == []
    images = image()
    for ours, theirs in zip(run(found, images), run(graph, images), strict=True):
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9
    return found


def quantized_tensors(graph: onnx.ModelProto) -> set[str]:
    return {node.input[0] for node in graph.graph.node if node.op_type == "QuantizeLinear"}


def test_inputs_and_weights_of_convolutions_are_quantized_and_heads_are_not():
    found = written(convert(small(), "net.onnx").model)
    assert quantized_tensors(found) == {"images", "relu0"}
    assert Counter(node.op_type for node in found.graph.node) == {
        "QuantizeLinear": 2,
        "DequantizeLinear": 4,
        "Conv": 2,
        "Relu": 1,
    }
    assert [layer.name for layer in layers_of(found)] == ["layer0", "layer1"]


def test_without_its_quantization_the_graph_is_the_float_graph_again():
    graph = convert(small(), "net.onnx").model
    placement = place(graph)
    found = quantized(graph, placement, scales(placement))
    trained = trained_weights(found, float_weights(graph, placement))
    images = image()
    np.testing.assert_array_equal(run(keep_quantized(found, (), trained), images)[0], run(graph, images)[0])


def test_weights_are_int8_with_one_scale_for_each_output_channel():
    found = written(convert(small(), "net.onnx").model)
    constants = {one.name: numpy_helper.to_array(one) for one in found.graph.initializer}
    float_values = weights(8, 3, 3, 3)
    expected = np.abs(float_values).max(axis=(1, 2, 3)) / np.float32(127)
    np.testing.assert_array_equal(constants["layer0.weight_scale"], expected)
    values = constants["layer0.weight_int8"]
    assert values.dtype == np.int8
    assert np.abs(values).max(axis=(1, 2, 3)).tolist() == [127] * 8
    np.testing.assert_allclose(values * expected[:, None, None, None], float_values, atol=expected.max() / 1.99)


def test_both_inputs_of_a_residual_addition_are_quantized():
    found = written(
        chain(
            conv(0, "images", 3, 8),
            op("Relu", ["conv0"], "a"),
            conv(1, "a", 8, 8),
            op("Add", ["a", "conv1"], "sum"),
            op("Relu", ["sum"], "b"),
            conv(2, "b", 8, 4),
        )
    )
    assert quantized_tensors(found) == {"images", "a", "conv1", "b"}


def test_an_addition_after_the_last_layer_stays_in_float():
    found = written(
        chain(conv(0, "images", 3, 8), op("Relu", ["conv0"], "a"), conv(1, "a", 8, 8), op("Add", ["a", "conv1"], "sum"))
    )
    assert quantized_tensors(found) == {"images", "a"}


def test_nothing_is_quantized_between_a_convolution_and_its_activation():
    found = written(
        chain(
            conv(0, "images", 3, 8),
            op("Sigmoid", ["conv0"], "gate"),
            op("Mul", ["conv0", "gate"], "silu"),
            conv(1, "silu", 8, 4),
        )
    )
    assert quantized_tensors(found) == {"images", "silu"}


def test_pooling_resizing_and_concatenation_share_one_scale():
    graph = chain(
        conv(0, "images", 3, 8),
        op("Relu", ["conv0"], "a"),
        op("MaxPool", ["a"], "small", kernel_shape=[2, 2], strides=[2, 2]),
        op("Resize", ["small", "", "factors"], "large", mode="nearest"),
        ([], [constant("factors", np.array([1, 1, 2, 2], np.float32))]),
        op("Concat", ["a", "large"], "both", axis=1),
        conv(1, "both", 16, 4),
    )
    placement = place(graph)
    assert len({placement.groups[name] for name in ("a", "small", "large", "both")}) == 1
    assert quantized_tensors(written(graph)) == {"images", "a", "small", "large", "both"}


def test_a_concatenation_that_feeds_an_output_stays_in_float():
    found = written(
        chain(conv(0, "images", 3, 8), conv(1, "images", 3, 8), op("Concat", ["conv0", "conv1"], "both", axis=1))
    )
    assert quantized_tensors(found) == {"images"}


def test_the_expectation_over_a_softmax_stays_in_float_with_its_reason():
    bins = [constant("bins", np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1))]
    graph = chain(
        conv(0, "images", 3, 8),
        op("Softmax", ["conv0"], "shares", axis=1),
        op("Conv", ["shares", "bins"], "edge"),
        ([], bins),
    )
    placement = place(graph)
    assert placement.in_float == {"edge": "the expectation over a softmax"}
    assert quantized_tensors(written(graph)) == {"images"}


def test_fully_connected_layers_have_their_output_channels_first():
    parts = (conv(0, "images", 3, 8), op("GlobalAveragePool", ["conv0"], "mean"), op("Flatten", ["mean"], "flat"))
    for transposed, shape in ((1, (5, 8)), (0, (8, 5))):
        head = op("Gemm", ["flat", "w", "b"], "out", transB=transposed)
        constants = [constant("w", weights(*shape)), constant("b", np.zeros(5, np.float32))]
        found = written(chain(*parts, head, ([], constants)))
        values = {one.name: numpy_helper.to_array(one) for one in found.graph.initializer}
        assert values["out.weight_int8"].shape == (5, 8)
        assert values["out.weight_scale"].shape == (5,)


def test_depthwise_and_transposed_convolutions_are_quantized():
    depthwise = op("Conv", ["conv0", "w"], "depthwise", group=8, pads=[1, 1, 1, 1])
    transposed = op("ConvTranspose", ["depthwise", "v"], "large", strides=[2, 2])
    constants = [constant("w", weights(8, 1, 3, 3)), constant("v", weights(8, 4, 2, 2))]
    found = written(chain(conv(0, "images", 3, 8), depthwise, transposed, ([], constants)))
    values = {one.name: numpy_helper.to_array(one) for one in found.graph.initializer}
    assert values["depthwise.weight_scale"].shape == (8,)
    assert values["large.weight_scale"].shape == ()  # TensorRT has no scale for each channel of these


def test_matrix_products_stay_in_float_and_are_named():
    graph = chain(
        conv(0, "images", 3, 8),
        op("Reshape", ["conv0", "rows"], "rows8"),
        op("MatMul", ["rows8", "w"], "out"),
        ([], [constant("rows", [1, 8, 256]), constant("w", weights(256, 5))]),
    )
    assert place(graph).in_float == {"out": "a matrix product"}


def test_layers_named_in_params_stay_in_float():
    graph = convert(small(), "net.onnx").model
    assert quantized_tensors(written(graph, "layer1")) == {"images"}
    assert place(graph, ("*1",)).in_float == {"layer1": "named by quantization.float_layers"}


def test_a_pattern_that_matches_no_layer_has_near_misses():
    with pytest.raises(QuantizationError, match=r"'layer_1', which matches no layer.*\n.*such as layer1, layer0"):
        place(convert(small(), "net.onnx").model, ("layer_1",))


def test_a_graph_without_a_layer_to_quantize_is_refused():
    graph = convert(model([helper.make_node("Relu", ["images"], ["out"])]), "net.onnx").model
    with pytest.raises(QuantizationError, match="no layer of the graph can be quantized"):
        place(graph)


def test_weights_that_two_layers_share_are_right_in_both():
    first, constants = conv(0, "images", 3, 3)
    second = helper.make_node("Conv", ["conv0", "layer0.weight"], ["out"], name="/layer1/Conv", pads=[1, 1, 1, 1])
    found = written(convert(model([*first, second], constants), "net.onnx").model)
    assert sum(one.name.endswith("weight_int8") for one in found.graph.initializer) == 2


def test_tensors_that_have_the_names_of_ours_already_are_kept():
    taken = [constant("images_scale", np.full((1, 8, 1, 1), 0.5, np.float32))]
    written(chain(conv(0, "images", 3, 8), op("Mul", ["conv0", "images_scale"], "images_int8"), ([], taken)))


@pytest.mark.parametrize(
    ("name", "operator", "expected"),
    [
        ("/model.0/conv/Conv", "Conv", "model.0.conv"),
        ("/model.0/conv/Conv_1", "Conv", "model.0.conv"),
        ("Conv_12", "Conv", "Conv_12"),
        ("p2o.Conv.3", "Conv", "p2o.Conv.3"),
        ("backbone/stem/Conv2D", "Conv", "backbone.stem.Conv2D"),
        ("node_conv2d_4", "Conv", "node_conv2d_4"),
    ],
)
def test_layers_are_named_by_the_path_of_their_node(name, operator, expected):
    assert layer_name(helper.make_node(operator, ["x"], ["y"], name=name)) == expected


def test_layers_of_one_name_get_numbers():
    first, constants = conv(0, "images", 3, 8)
    second, more = conv(1, "conv0", 8, 4)
    second[0].name = "/layer0/Conv_1"
    placement = place(convert(model([*first, *second], [*constants, *more]), "net.onnx").model)
    assert sorted(placement.names.values()) == ["layer0", "layer0_2"]


def test_histograms_of_a_group_are_added_at_the_larger_range():
    one, other = MagnitudeHistogram(), MagnitudeHistogram()
    for histogram, values in ((one, [0.1, 0.2]), (other, [3.0])):
        histogram.grow(max(values))
        bins = (np.array(values) * BINS / histogram.limit).astype(int)
        histogram.add(np.bincount(bins, minlength=BINS))
    together = merged({"a": one, "b": other}, {"a": "a", "b": "a"})
    assert together["a"] is together["b"]
    assert together["a"].limit == 4.0
    assert together["a"].largest == 3.0
    assert together["a"].counts.sum() == 3
    assert one.counts.sum() == 2
    assert one.limit < 1


def test_channels_of_zeros_have_a_scale_of_one():
    values = weights(3, 2, 1, 1)
    values[1] = 0
    assert channel_scales(values)[1] == 1
    assert channel_scales(np.zeros((2, 2, 1, 1), np.float32), per_channel=False) == 1
