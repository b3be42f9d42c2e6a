"""The float graph that int8 engines are timed against, made without torch."""

import numpy as np
import onnx

from robot_assets.data.packed import open_split
from robot_assets.export.parity import parity_of, plain_session, read_input
from robot_assets.export.strip_qdq import write_float_graph
from tests.detector_chain import INTERFACE, whole


def test_the_float_graph_has_the_same_nodes_without_quantization(tmp_path):
    write_float_graph(whole().onnx / "model.onnx", tmp_path / "float.onnx")
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


def test_the_float_graph_gives_nearly_the_outputs_of_the_quantized_one(tmp_path):
    chain = whole()
    write_float_graph(chain.onnx / "model.onnx", tmp_path / "float.onnx")
    image = {"images": read_input(open_split(chain.dataset, "val"), 0, INTERFACE.input)}
    quantized, in_float = (
        plain_session(path).run(None, image) for path in (chain.onnx / "model.onnx", tmp_path / "float.onnx")
    )
    assert all(np.isfinite(head).all() for head in in_float)
    assert parity_of([(in_float, quantized)], INTERFACE.heads).differing_share < 0.25
    assert parity_of([([head + 1 for head in in_float], quantized)], INTERFACE.heads).differing_share > 0.25
