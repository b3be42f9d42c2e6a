"""Graphs in other forms than ours: converted with the same answers, or refused with the name of the node."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from robot_assets.core.errors import ExportError
from robot_assets.export.preflight import graph_problems, quantization_problems
from robot_assets.foreign.conversion import convert
from tests.foreign.graphs import SHAPE, constant, conv, image, model, run, small, weights


def refused(graph: onnx.ModelProto, **size: int) -> str:
    with pytest.raises(ExportError) as caught:
        convert(graph, "net.onnx", **size)
    assert caught.value.needed
    assert caught.value.fix
    return caught.value.found


def converted(graph: onnx.ModelProto, **size: int) -> onnx.ModelProto:
    """The converted graph, after a check that it is in our form and gives the same answers."""
    found = convert(graph, "net.onnx", **size)
    assert list(graph_problems(found.model)) == []
    onnx.checker.check_model(found.model, full_check=True)
    images = image(shape=found.shape)
    given = images.transpose(0, 2, 3, 1) if found.is_nhwc else images
    for ours, theirs in zip(run(found.model, images), run(graph, given), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    return found.model


def operators(graph: onnx.ModelProto) -> Counter:
    return Counter(node.op_type for node in graph.graph.node)


def test_a_graph_in_our_form_keeps_its_nodes():
    assert operators(converted(small())) == {"Conv": 2, "Relu": 1}
    assert convert(small(), "net.onnx").changes == ()


def test_the_same_graph_gives_the_same_bytes():
    payloads = {convert(small(), "net.onnx").model.SerializeToString(deterministic=True) for _ in range(3)}
    assert len(payloads) == 1


def test_the_given_graph_stays_as_it_is():
    graph = small()
    convert(graph, "net.onnx")
    assert graph == small()


@pytest.mark.parametrize("opset", range(9, 18))
def test_older_operator_sets_are_converted(opset):
    nodes, constants = conv(0, "images", 3, 8)
    graph = model(
        [*nodes, helper.make_node("Relu", ["conv0"], ["out"])],
        constants,
        opset=opset,
        ir_version=4 if opset < 10 else 7,
    )
    found = converted(graph)
    assert [one.version for one in found.opset_import] == [17]
    assert found.ir_version == 8


def test_an_upsample_of_opset_9_becomes_a_resize():
    nodes, constants = conv(0, "images", 3, 8)
    scales = constant("scales", np.array([1, 1, 2, 2], np.float32))
    up = helper.make_node("Upsample", ["conv0", "scales"], ["out"], mode="nearest")
    assert operators(converted(model([*nodes, up], [*constants, scales], opset=9, ir_version=4)))["Resize"] == 1


@pytest.mark.parametrize("opset", [18, 20, 22])
def test_newer_operator_sets_are_converted(opset):
    nodes, constants = conv(0, "images", 3, 8)
    scales = constant("scales", np.array([1, 1, 2, 2], np.float32))
    axes = constant("axes", np.array([2, 3], np.int64))
    nodes += [
        helper.make_node("Resize", ["conv0", "", "scales"], ["up"], mode="nearest", antialias=0),
        helper.make_node("Split", ["up"], ["a", "b"], axis=1, num_outputs=2),
        helper.make_node("MaxPool", ["a"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ReduceMean", ["pooled", "axes"], ["mean"], keepdims=1),
        helper.make_node("HardSwish", ["mean"], ["out"]),
    ]
    converted(model(nodes, [*constants, scales, axes], opset=opset, ir_version=10, outputs={"out": None, "b": None}))


@pytest.mark.parametrize("operator", ["Gelu", "Mish"])
def test_an_operator_of_a_newer_set_that_others_define_is_replaced_by_them(operator):
    nodes, constants = conv(0, "images", 3, 8)
    found = converted(model([*nodes, helper.make_node(operator, ["conv0"], ["out"])], constants, opset=20))
    assert operators(found)[operator] == 0


def test_a_split_whose_last_part_is_smaller_is_converted():
    nodes, constants = conv(0, "images", 3, 8)
    split = helper.make_node("Split", ["conv0"], ["a", "b", "c"], axis=1, num_outputs=3)
    converted(model([*nodes, split], constants, opset=18, outputs={"a": None, "c": None}))


def test_what_opset_17_cannot_say_is_named():
    nodes, constants = conv(0, "images", 3, 8)
    sizes = constant("sizes", np.array([1, 8, 32, 32], np.int64))
    resize = helper.make_node("Resize", ["conv0", "", "", "sizes"], ["out"], name="up", antialias=1, mode="linear")
    found = refused(model([*nodes, resize], [*constants, sizes], opset=19))
    assert "node 'up': Resize of opset 19 has antialias, which opset 17 lacks" in found


@pytest.mark.parametrize("opset", [5, 8, 99])
def test_an_operator_set_that_nothing_reads_is_named(opset):
    graph = small()
    graph.opset_import[0].version = opset
    assert f"opset {opset}" in refused(graph)


def test_batch_norms_are_folded_and_nodes_without_effect_removed():
    nodes, constants = conv(0, "images", 3, 8)
    statistics = [constant(name, np.linspace(0.5, 1.5, 8, dtype=np.float32)) for name in ("s", "b", "m", "v")]
    nodes += [
        helper.make_node("BatchNormalization", ["conv0", "s", "b", "m", "v"], ["norm"]),
        helper.make_node("Identity", ["norm"], ["same"]),
        helper.make_node("Dropout", ["same"], ["kept"]),
        helper.make_node("Relu", ["kept"], ["out"]),
    ]
    found = converted(model(nodes, [*constants, *statistics]))
    assert operators(found) == {"Conv": 1, "Relu": 1}
    assert "1 batch norm folded into convolutions" in " ".join(
        convert(model(nodes, [*constants, *statistics]), "net.onnx").changes
    )


def test_computed_constants_are_folded():
    nodes, constants = conv(0, "images", 3, 8)
    nodes += [
        helper.make_node("Shape", ["conv0"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "two"], ["start"]),
        helper.make_node("Concat", ["start", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["conv0", "target"], ["out"]),
    ]
    constants += [constant("zero", [0]), constant("two", [2]), constant("rest", [-1])]
    assert operators(converted(model(nodes, constants))) == {"Conv": 1, "Reshape": 1}


def test_a_branch_of_a_constant_condition_is_folded_and_another_one_named():
    branch = helper.make_graph(
        [helper.make_node("Relu", ["conv0"], ["in_branch"])],
        "branch",
        [],
        [helper.make_tensor_value_info("in_branch", TensorProto.FLOAT, None)],
    )
    nodes, constants = conv(0, "images", 3, 8)
    choice = helper.make_node("If", ["condition"], ["out"], name="choice", then_branch=branch, else_branch=branch)
    found = converted(model([*nodes, choice], [*constants, constant("condition", np.array(True))]))
    assert operators(found) == {"Conv": 1, "Relu": 1}
    depends = [
        helper.make_node("ReduceMax", ["conv0"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["condition"], to=TensorProto.BOOL),
    ]
    assert "node 'choice': If decides at run time" in refused(model([*nodes, *depends, choice], constants))


def test_local_functions_are_inlined():
    body = [helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])]
    function = helper.make_function("acme", "Swish", ["x"], ["y"], body, [helper.make_opsetid("", 17)])
    nodes, constants = conv(0, "images", 3, 8)
    swish = helper.make_node("Swish", ["conv0"], ["out"], domain="acme")
    graph = model([*nodes, swish], constants, domains={"acme": 1}, functions=[function])
    assert operators(converted(graph)) == {"Conv": 1, "Sigmoid": 1, "Mul": 1}
    assert convert(graph, "net.onnx").changes[0] == "1 local function inlined: Swish"


def test_open_sizes_get_those_of_params():
    graph = small()
    del graph.graph.input[:]
    graph.graph.input.append(helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, "height", "width"]))
    found = convert(graph, "net.onnx", 24, 32)
    assert found.shape == (1, 3, 24, 32)
    assert found.changes[0] == "input 'images' (n, 3, height, width) fixed to (1, 3, 24, 32)"
    assert "leaves its size open" in refused(graph, height=24)


def test_a_size_that_contradicts_the_graph_is_refused():
    assert "input_height is 32, and input 'images' has the shape (1, 3, 16, 16)" in refused(small(), height=32)


def test_an_nhwc_input_gets_a_transpose():
    transpose = helper.make_node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2])
    nodes, constants = conv(0, "planes", 3, 8)
    graph = model([transpose, *nodes], constants, shape=(1, 16, 24, 3))
    assert convert(graph, "net.onnx").shape == (1, 3, 16, 24)
    assert operators(converted(graph)) == {"Conv": 1}  # the two of them cancel


def test_constants_among_the_inputs_are_no_inputs():
    graph = small()
    for tensor in graph.graph.initializer:
        graph.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
    graph.ir_version = 3
    converted(graph)


def test_nodes_in_another_order_are_sorted():
    graph = small()
    nodes = list(graph.graph.node)[::-1]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    assert "nodes put in the order of execution" in convert(graph, "net.onnx").changes


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (
            [("images", TensorProto.FLOAT, SHAPE), ("scale", TensorProto.FLOAT, (1,))],
            "2 inputs: images, scale; needed 1",
        ),
        ([("images", TensorProto.UINT8, SHAPE)], "input 'images' is uint8, needed float32"),
        ([("images", TensorProto.FLOAT16, SHAPE)], "input 'images' is float16, needed float32"),
        ([("images", TensorProto.FLOAT, (4, 3, 16, 16))], "a batch of 4, needed 1"),
        ([("images", TensorProto.FLOAT, (1, 1, 16, 16))], "has the shape (1, 1, 16, 16), needed (1, 3, height, width)"),
        ([("images", TensorProto.FLOAT, (3, 16, 16))], "has the shape (3, 16, 16)"),
    ],
)
def test_another_input_is_named(inputs, text):
    nodes, constants = conv(0, "images", 3, 8)
    values = [helper.make_tensor_value_info(*one) for one in inputs]
    assert text in refused(model(nodes, constants, inputs=values))


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (
            helper.make_node("EfficientNMS_TRT", ["conv0"], ["out"], name="nms", domain="TRT"),
            "node 'nms': operator EfficientNMS_TRT of the domain 'TRT', which is not ONNX",
        ),
        (
            helper.make_node("EfficientNMS_TRT", ["conv0"], ["out"], name="nms"),
            "node 'nms': EfficientNMS_TRT is no operator of ONNX, but a plug-in of TensorRT",
        ),
        (helper.make_node("Sigmoidal", ["conv0"], ["out"], name="act"), "node 'act': Sigmoidal is no operator of ONNX"),
        (
            helper.make_node("RandomNormalLike", ["conv0"], ["out"], name="noise"),
            "node 'noise': RandomNormalLike gives random numbers",
        ),
        (helper.make_node("Relu", ["nowhere"], ["out"], name="act"), "node 'act' reads 'nowhere', which nothing makes"),
        (helper.make_node("Relu", ["conv0"], ["conv0"], name="act"), "tensor 'conv0' is made 2 times"),
        (
            helper.make_node("Relu", ["conv0"], ["images"], name="act"),
            "made by a node and given as an input",
        ),
    ],
)
def test_a_node_that_cannot_be_imported_is_named(node, text):
    nodes, constants = conv(0, "images", 3, 8)
    assert text in refused(model([*nodes, node], constants, domains={"TRT": 1}))


def test_a_cycle_names_its_nodes():
    nodes = [
        helper.make_node("Add", ["images", "b"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="second"),
        helper.make_node("Relu", ["b"], ["out"], name="third"),
    ]
    assert "the graph has a cycle, among the nodes 'first', 'second'" in refused(model(nodes))


def test_duplicate_constants_are_named():
    nodes, constants = conv(0, "images", 3, 8)
    assert "tensor 'layer0.bias' is made 2 times" in refused(model(nodes, [*constants, constants[1]]))


def test_weights_that_are_not_finite_are_named():
    nodes, constants = conv(0, "images", 3, 8)
    broken = weights(8, 3, 3, 3)
    broken[0, 0, 0] = np.nan
    found = refused(model(nodes, [constant("layer0.weight", broken), constants[1]]))
    assert "tensor 'layer0.weight' (8, 3, 3, 3) has 3 NaN values" in found
    infinite = np.full(8, np.inf, np.float32)
    found = refused(model(nodes, [constants[0], constant("layer0.bias", infinite)]))
    assert "weights 'layer0.bias' (8,) have 8 infinite values" in found


def test_an_infinite_constant_that_is_no_weight_is_kept():
    nodes, constants = conv(0, "images", 3, 8)
    clip = helper.make_node("Clip", ["conv0", "low", "high"], ["out"])
    limits = [constant("low", np.float32(0)), constant("high", np.float32(np.inf))]
    converted(model([*nodes, clip], [*constants, *limits]))


def test_weights_of_half_precision_are_named():
    nodes, constants = conv(0, "images", 3, 8)
    half = constant("layer0.weight", weights(8, 3, 3, 3).astype(np.float16))
    assert "weights 'layer0.weight' are float16, needed float32" in refused(model(nodes, [half, constants[1]]))


def test_a_tensor_with_fewer_values_than_its_shape_is_named():
    nodes, constants = conv(0, "images", 3, 8)
    constants[0].raw_data = constants[0].raw_data[:-4]
    assert "tensor 'layer0.weight' does not have the values of its shape" in refused(model(nodes, constants))


def test_training_mode_is_named():
    nodes, constants = conv(0, "images", 3, 8)
    norm = helper.make_node(
        "BatchNormalization", ["conv0", "s", "b", "m", "v"], ["out", "rm", "rv"], name="norm", training_mode=1
    )
    statistics = [constant(name, np.ones(8, np.float32)) for name in ("s", "b", "m", "v")]
    assert "node 'norm': BatchNormalization is in training mode" in refused(
        model([*nodes, norm], constants + statistics)
    )


def test_shapes_that_do_not_fit_are_an_error_of_the_file():
    nodes, constants = conv(0, "images", 4, 8)
    with pytest.raises(ExportError, match=r"net.onnx"):
        convert(model(nodes, constants), "net.onnx")


def test_an_output_whose_size_depends_on_the_image_is_named():
    nodes, constants = conv(0, "images", 3, 8)
    nodes.append(helper.make_node("NonZero", ["conv0"], ["out"]))
    assert "output 'out' has the shape" in refused(model(nodes, constants, output_type=TensorProto.INT64))


def test_every_problem_is_listed_at_once():
    nodes, constants = conv(0, "images", 3, 8)
    bad = [helper.make_node("RandomNormalLike", ["conv0"], [f"out{number}"], name=f"n{number}") for number in range(20)]
    found = refused(model([*nodes, *bad], constants))
    assert "has 20 problems" in found
    assert "and 8 more" in found


def quantized_by_torch() -> onnx.ModelProto:
    """A convolution as pytorch-quantization exports it: weights in float, Q/DQ after them, constants as nodes."""
    scales = np.abs(weights(8, 3, 3, 3)).max(axis=(1, 2, 3)) / 127
    values = {
        "scale": np.float32(0.02),
        "zero": np.int8(0),
        "scales": scales.astype(np.float32),
        "zeros": np.zeros(8, np.int8),
    }
    nodes = [
        *(helper.make_node("Constant", [], [name], value=constant(name, value)) for name, value in values.items()),
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        helper.make_node("QuantizeLinear", ["w", "scales", "zeros"], ["wq"], axis=0),
        helper.make_node("DequantizeLinear", ["wq", "scales", "zeros"], ["wdq"], axis=0),
        helper.make_node("Conv", ["dq", "wdq", "bias"], ["out"], pads=[1, 1, 1, 1]),
    ]
    return model(nodes, [constant("w", weights(8, 3, 3, 3)), constant("bias", np.zeros(8, np.float32))], opset=13)


def test_quantization_from_elsewhere_is_taken_as_it_is():
    graph = quantized_by_torch()
    found = convert(graph, "net.onnx")
    assert found.is_quantized
    assert list(quantization_problems(found.model)) == []
    assert operators(found.model) == {"QuantizeLinear": 1, "DequantizeLinear": 2, "Conv": 1}
    assert "1 float weight stored in int8, as the QuantizeLinear after each gives it" in found.changes
    images = image()
    np.testing.assert_array_equal(run(found.model, images)[0], run(graph, images)[0])


def test_quantization_that_tensorrt_refuses_is_named_by_node():
    graph = quantized_by_torch()
    zero = next(node for node in graph.graph.node if node.output[0] == "zero")
    zero.attribute[0].t.CopyFrom(constant("zero", np.uint8(128)))
    problems = list(quantization_problems(convert(graph, "net.onnx").model))
    assert any("quantized type uint8, needed int8" in one for one in problems)
