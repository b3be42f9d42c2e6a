"""A graph that TensorRT would reject is rejected before, with the name of the node."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from robot_assets.core.errors import ExportError
from robot_assets.export.preflight import preflight
from tests.detector_chain import whole


@pytest.fixture
def model() -> onnx.ModelProto:
    return onnx.load(whole().onnx / "model.onnx")


def tensor(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(one for one in model.graph.initializer if one.name == name)


def node(model: onnx.ModelProto, operator: str) -> onnx.NodeProto:
    return next(one for one in model.graph.node if one.op_type == operator)


def replace_input(model: onnx.ModelProto, target: onnx.NodeProto, position: int, value: np.ndarray) -> None:
    model.graph.initializer.append(numpy_helper.from_array(value, "replaced"))
    target.input[position] = "replaced"


def rejection(model: onnx.ModelProto, tmp_path) -> str:
    with pytest.raises(ExportError) as caught:
        preflight(model, tmp_path / "model.onnx")
    return str(caught.value)


def test_the_exported_graph_passes(model, tmp_path):
    preflight(model, tmp_path / "model.onnx")
    assert model.ir_version == 8
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]


def test_a_uint8_activation_is_rejected(model, tmp_path):
    target = node(model, "QuantizeLinear")
    replace_input(model, target, 2, np.array(0, np.uint8))
    message = rejection(model, tmp_path)
    assert target.name in message
    assert "uint8, needed int8" in message


def test_a_zero_point_that_is_not_zero_is_rejected(model, tmp_path):
    target = node(model, "DequantizeLinear")
    replace_input(model, target, 2, np.array(3, np.int8))
    message = rejection(model, tmp_path)
    assert target.name in message
    assert "zero point [3]" in message


def test_a_quantized_bias_is_rejected(model, tmp_path):
    convolution = node(model, "Conv")
    channels = numpy_helper.to_array(tensor(model, convolution.input[2])).size
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.zeros(channels, np.int32), "bias"),
            numpy_helper.from_array(np.full(channels, 0.1, np.float32), "bias_scale"),
            numpy_helper.from_array(np.zeros(channels, np.int32), "bias_zero"),
        ]
    )
    dequantize = helper.make_node(
        "DequantizeLinear", ["bias", "bias_scale", "bias_zero"], ["b"], name="bias_dq", axis=0
    )
    model.graph.node.insert(0, dequantize)
    convolution.input[2] = "b"
    message = rejection(model, tmp_path)
    assert "'bias_dq'" in message
    assert "keep biases float" in message


@pytest.mark.parametrize("scale", [0.0, -0.5, float("inf"), float("nan")])
def test_a_scale_that_is_not_above_zero_is_rejected(model, tmp_path, scale):
    target = node(model, "QuantizeLinear")
    replace_input(model, target, 1, np.array(scale, np.float32))
    message = rejection(model, tmp_path)
    assert target.name in message
    assert "needed above 0" in message


def test_one_scale_per_channel_of_an_activation_is_rejected(model, tmp_path):
    target = node(model, "QuantizeLinear")
    replace_input(model, target, 1, np.full(3, 0.1, np.float32))
    assert "3 scales on an activation" in rejection(model, tmp_path)


def test_an_operator_that_old_tensorrt_versions_lack_is_rejected(model, tmp_path):
    target = node(model, "Relu")
    target.op_type = "BitShift"
    message = rejection(model, tmp_path)
    assert target.name in message
    assert "BitShift" in message


def test_data_in_another_file_is_rejected(model, tmp_path):
    moved = max(model.graph.initializer, key=lambda one: one.ByteSize())
    moved.data_location = TensorProto.EXTERNAL
    message = rejection(model, tmp_path)
    reader = next(one for one in model.graph.node if moved.name in one.input)
    assert f"node {reader.name!r}: tensor {moved.name!r} has its data in another file" in message
    assert "has 1 problem for TensorRT" in message


def test_a_batch_of_any_size_is_rejected(model, tmp_path):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    assert "'images' has a shape that is not fixed" in rejection(model, tmp_path)


def test_a_newer_operator_set_is_rejected(model, tmp_path):
    model.opset_import[0].version = 18
    assert "needed ai.onnx 17" in rejection(model, tmp_path)


def test_all_problems_are_listed_at_once(model, tmp_path):
    model.ir_version = 10
    node(model, "Relu").op_type = "IsInf"
    message = rejection(model, tmp_path)
    assert "has 2 problems for TensorRT" in message
