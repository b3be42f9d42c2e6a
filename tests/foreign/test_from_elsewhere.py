"""Q/DQ graphs in the style of pytorch-quantization and ModelOpt, class indices as outputs, and bad files by command."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from robot_assets.core.errors import ExportError
from robot_assets.engines.budgets import GateSpec
from robot_assets.engines.gate import GATES, check_engine
from robot_assets.engines.onnxruntime.build import build_engine
from robot_assets.export.onnx_export import export_float
from robot_assets.export.parity import check_parity
from robot_assets.foreign.conversion import convert
from robot_assets.foreign.gate import check_original
from robot_assets.foreign.onnx_stage import import_onnx, refuse_unbuildable
from robot_assets.foreign.spec import ForeignSpec
from tests.cli.commands import command
from tests.detector_chain import TARGET
from tests.foreign.graphs import constant, conv, image, model, run, weights
from tests.segmenter_chain import INPUT, whole

SCALES = (np.abs(weights(8, 3, 3, 3)).max(axis=(1, 2, 3)) / 127).astype(np.float32)


GATE = GateSpec(accuracy_drop_points_max=5, latency_ms_p95_max=10_000, parity_differing_share_max=0.2)


def pair(given: str, scale: str, zero: str, name: str, **axis: int) -> list[onnx.NodeProto]:
    """QuantizeLinear and DequantizeLinear; without a zero point where ``zero`` is empty."""
    more = [scale, zero] if zero else [scale]
    return [
        helper.make_node("QuantizeLinear", [given, *more], [f"{name}_q"], name=f"/{name}/QuantizeLinear", **axis),
        helper.make_node("DequantizeLinear", [f"{name}_q", *more], [name], name=f"/{name}/DequantizeLinear", **axis),
    ]


def quantized(
    zero: object = np.int8(0), *, is_stored: bool = False, is_named: bool = True, bias_type: type = np.float32
) -> onnx.ModelProto:
    """A convolution with Q/DQ nodes.

    Args:
        zero: Zero point of the input.
        is_stored: Whether the weights are int8, as ModelOpt compresses them, instead of float with a QuantizeLinear.
        is_named: Whether the nodes have zero points.
        bias_type: int32 for a bias with a DequantizeLinear, as ONNX Runtime writes it.
    """
    w = weights(8, 3, 3, 3)
    stored = np.clip(np.rint(w / SCALES[:, None, None, None]), -127, 127).astype(np.int8)
    constants = [
        constant("scale", np.float32(0.02)),
        constant("zero", zero),
        constant("scales", SCALES),
        constant("zeros", np.zeros(8, np.int8)),
        constant("w", stored if is_stored else w),
        constant("b", np.zeros(8, bias_type)),
        constant("bias_zeros", np.zeros(8, np.int32)),
    ]
    zeros = "zeros" if is_named else ""
    nodes = pair("images", "scale", "zero" if is_named else "", "input")
    nodes += pair("w", "scales", zeros, "weight", axis=0)[1 if is_stored else 0 :]
    if is_stored:
        nodes[-1].input[0] = "w"
    bias = "b"
    if bias_type is np.int32:
        bias = "bias"
        inputs = ["b", "scales", "bias_zeros"]
        nodes.append(helper.make_node("DequantizeLinear", inputs, ["bias"], name="/bias/DequantizeLinear", axis=0))
    nodes.append(helper.make_node("Conv", ["input", "weight", bias], ["out"], name="/Conv", pads=[1, 1, 1, 1]))
    used = {name for node in nodes for name in node.input}
    return model(nodes, [one for one in constants if one.name in used], opset=13)


@pytest.mark.parametrize("is_stored", [False, True])
def test_weights_in_float_or_in_int8_are_taken_as_they_are(is_stored):
    given = quantized(is_stored=is_stored)
    found = convert(given, "net.onnx")
    refuse_unbuildable(found.model, "net.onnx")
    constants = {one.name: numpy_helper.to_array(one) for one in found.model.graph.initializer}
    stored = [one for one in constants.values() if one.dtype == np.int8 and one.ndim == 4]
    assert [one.shape for one in stored] == [(8, 3, 3, 3)]
    np.testing.assert_array_equal(run(found.model, image())[0], run(given, image())[0])


@pytest.mark.parametrize(
    ("graph", "node", "problem"),
    [
        (quantized(np.uint8(128)), "/input/QuantizeLinear", "quantized type uint8, needed int8"),
        (quantized(np.uint8(0)), "/input/DequantizeLinear", "quantized type uint8, needed int8"),
        (quantized(np.int8(3)), "/input/QuantizeLinear", "zero point [3], needed 0"),
        (quantized(bias_type=np.int32), "/bias/DequantizeLinear", "a quantized bias: keep biases float"),
        (quantized(is_named=False), "/input/QuantizeLinear", "no constant zero point"),
    ],
    ids=["uint8", "uint8 at 0", "zero point", "bias", "omitted"],
)
def test_what_tensorrt_refuses_is_named_by_node(graph, node, problem):
    with pytest.raises(ExportError) as caught:
        refuse_unbuildable(convert(graph, "data/onnx/net.onnx").model, "data/onnx/net.onnx")
    assert any(node in one and problem in one for one in caught.value.details["problems"])
    assert caught.value.fix.endswith("dvc add data/onnx/net.onnx")


def test_class_indices_of_a_segmentation_become_an_engine_that_passes_its_gates(tmp_path):
    chain = whole()
    export_float(chain.checkpoint, tmp_path / "net.onnx")
    graph = onnx.load(tmp_path / "net.onnx")
    (logits,) = graph.graph.output
    graph.graph.node.append(helper.make_node("ArgMax", [logits.name], ["labels"], name="/ArgMax", axis=1, keepdims=0))
    sizes = [one.dim_value for one in logits.type.tensor_type.shape.dim]
    del graph.graph.output[:]
    graph.graph.output.append(helper.make_tensor_value_info("labels", onnx.TensorProto.INT64, [sizes[0], *sizes[2:]]))
    onnx.save(graph, tmp_path / "net.onnx")
    source = {"kind": "onnx", "pointer": "data/onnx/net.dvc", "decoder": "labels"}
    summary = import_onnx(
        tmp_path / "net.onnx",
        chain.dataset,
        ForeignSpec(task="segmentation", source=source, input=INPUT),
        tmp_path / "onnx",
    )
    assert abs(summary.drop_points) < 3
    assert check_parity(tmp_path / "onnx", chain.dataset).passed
    assert check_original(tmp_path / "onnx", chain.dataset).passed
    build_engine(tmp_path / "onnx", TARGET, tmp_path / "engine")
    found = check_engine(
        tmp_path / "engine",
        GATE,
        GATES,
        dataset=chain.dataset,
        baseline=tmp_path / "onnx",
        onnx=tmp_path / "onnx",
    )
    assert {name: verdict.passed for name, verdict in found.items()} == dict.fromkeys(GATES, True)
    assert found["accuracy"].facts["miou"] > 0.5


def cycle() -> onnx.ModelProto:
    nodes, constants = conv(0, "relu", 3, 3)
    return model([*nodes, helper.make_node("Relu", ["conv0"], ["relu"], name="/relu")], constants)


def in_a_domain() -> onnx.ModelProto:
    nodes, constants = conv(0, "images", 3, 8)
    nodes.append(helper.make_node("Deform", ["conv0"], ["out"], name="/deform", domain="acme"))
    return model(nodes, constants, domains={"acme": 1})


def with_nan() -> onnx.ModelProto:
    nodes, constants = conv(0, "images", 3, 8)
    values = weights(8, 3, 3, 3)
    values[0, 0, 0, 0] = np.nan
    return model(nodes, [constant("layer0.weight", values), constants[1]])


def plain(**more: object) -> onnx.ModelProto:
    nodes, constants = conv(0, "images", 3, 8)
    return model(nodes, constants, **more)


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        (cycle(), "the graph has a cycle, among the nodes '/layer0/Conv', '/relu'"),
        (in_a_domain(), "node '/deform': operator Deform of the domain 'acme'"),
        (with_nan(), "tensor 'layer0.weight' (8, 3, 3, 3) has 1 NaN value"),
        (plain(shape=("n", 3, "h", "w")), "input 'images' has the shape (n, 3, h, w), which leaves its size open"),
        (plain(opset=8), "opset 8, needed 9 to"),
        (plain(opset=99), "opset 99, needed 9 to"),
    ],
    ids=["cycle", "domain", "NaN", "open sizes", "opset 8", "opset 99"],
)
def test_the_command_names_the_file_and_the_node(tmp_path, graph, found):
    (tmp_path / "net.onnx").write_bytes(graph.SerializeToString())
    error = command("model", "inspect", "net.onnx", code=1, cwd=tmp_path).error
    assert error["found"].startswith("net.onnx")
    assert found in error["found"]
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize("opset", [9, 22])
def test_the_command_reads_the_oldest_and_new_operator_sets(tmp_path, opset):
    onnx.save(plain(opset=opset, ir_version=8), tmp_path / "net.onnx")
    assert f"opset {opset} converted to 17" in command("model", "inspect", "net.onnx", cwd=tmp_path).out


def test_the_command_refuses_2_gb_before_reading_them(tmp_path):
    with (tmp_path / "net.onnx").open("wb") as stream:
        stream.truncate(1 << 31)
    error = command("model", "inspect", "net.onnx", code=1, cwd=tmp_path).error
    assert error["found"] == "net.onnx has 2147483648 bytes"


def test_external_data_beside_the_file_is_put_into_it_by_the_fix(tmp_path):
    folder = tmp_path / "my net"
    folder.mkdir()
    path = folder / "net.onnx"
    onnx.save(plain(), path, save_as_external_data=True, location="net.data", size_threshold=0)
    (folder / "net.data").rename(tmp_path / "kept")
    error = command("model", "inspect", path.relative_to(tmp_path), code=1, cwd=tmp_path).error
    assert "tensor 'layer0.weight': its data is in another file, 'net.data', which is missing" in error["found"]
    (tmp_path / "kept").rename(folder / "net.data")
    done, _, add = error["fix"].partition("   #")[0].partition(" && ")
    assert add == "dvc add 'my net/net.onnx'"
    subprocess.run(done.replace("python", sys.executable, 1), shell=True, check=True, cwd=tmp_path)
    (folder / "net.data").unlink()
    assert "1 Conv" in command("model", "inspect", "my net/net.onnx", cwd=tmp_path).out
