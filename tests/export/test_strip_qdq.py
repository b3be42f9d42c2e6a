"""The float graph that an int8 engine is timed against, made without torch."""

import numpy as np
import onnx

from robot_assets.data.packed import open_split
from robot_assets.export.parity import differing_share, plain_session, read_input
from robot_assets.export.strip_qdq import write_float_twin
from robot_assets.models.decode import output_names
from tests.detector_chain import NETWORK, whole


def test_the_twin_has_the_same_nodes_without_quantization(tmp_path):
    write_float_twin(whole().onnx / "model.onnx", tmp_path / "float.onnx")
    operators = [
        [node.op_type for node in onnx.load(path).graph.node]
        for path in (whole().onnx / "model.onnx", tmp_path / "float.onnx")
    ]
    assert {"QuantizeLinear", "DequantizeLinear"} & set(operators[0])
    assert operators[1] == [name for name in operators[0] if name not in ("QuantizeLinear", "DequantizeLinear")]
    assert all(
        tensor.data_type == onnx.TensorProto.FLOAT
        for tensor in onnx.load(tmp_path / "float.onnx").graph.initializer
        if len(tensor.dims) == 4
    )


def test_the_twin_sees_nearly_what_the_quantized_graph_sees(tmp_path):
    chain = whole()
    write_float_twin(chain.onnx / "model.onnx", tmp_path / "float.onnx")
    image = {"images": read_input(open_split(chain.dataset, "val"), 0, NETWORK)}
    quantized, twin = (
        plain_session(path).run(None, image) for path in (chain.onnx / "model.onnx", tmp_path / "float.onnx")
    )
    assert all(np.isfinite(head).all() for head in twin)
    assert differing_share(output_names(NETWORK), twin, quantized) < 0.25
    assert differing_share(output_names(NETWORK), [head + 1 for head in twin], quantized) > 0.25
