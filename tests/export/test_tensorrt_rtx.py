"""Valid and invalid graphs in the parser and builder of TensorRT-RTX, which need no GPU.

They check that TensorRT supports a graph, layer by layer. They do not check the kernels or the speed of a Jetson, which
has another TensorRT: TensorRT-RTX does not support compute capability 8.7, and no plan runs here.

The graphs are those of the models in params.yaml at their real sizes. They are not trained: weights and scales do not
change the nodes of a graph, except that the exporter omits a bias of zeros.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import platform
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from robot_assets.core.errors import ExportError
from robot_assets.engines.onnxruntime.rewrite import rewrite
from robot_assets.export.preflight import preflight
from robot_assets.export.qdq_layers import keep_quantized, layers_of
from robot_assets.pipeline.params import load_params
from robot_assets.tasks.interface import Preprocessing

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
MODELS = sorted(PARAMS.models)

HAS_TENSORRT_RTX = importlib.util.find_spec("tensorrt_rtx") is not None
needs_tensorrt_rtx = pytest.mark.skipif(
    not HAS_TENSORRT_RTX,
    reason=f"no tensorrt_rtx here ({platform.system()} {platform.machine()}, Python {platform.python_version()}): "
    "`make setup` installs it on Linux x86_64, as the extra tensorrt-rtx",
)


@dataclass(frozen=True)
class Result:
    """The result of the parser and the builder of TensorRT-RTX."""

    version: str
    is_supported: bool
    supported_nodes: int
    errors: list[dict[str, str]]
    plan_sha256: str | None
    log: str


def parse_and_build(model: onnx.ModelProto, folder: Path) -> Result:
    """Parse and build ``model`` with TensorRT-RTX in a separate process."""
    (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    script = Path(__file__).with_name("parse_and_build.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder / "model.onnx")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"TensorRT-RTX ended with {done.returncode}: {done.stderr[-2000:]}"
    return Result(**json.loads(done.stdout))


@functools.cache
def exported(model: str) -> onnx.ModelProto:
    """The exported graph of a model in params.yaml, untrained."""
    import torch

    from robot_assets.export.onnx_export import to_onnx
    from robot_assets.quantization.graph import activation_quantizers, apply_scales, convert, prepare, set_mode
    from robot_assets.tasks.building import build

    entry = PARAMS.models[model]
    interface = entry.interface(tuple(PARAMS.datasets[entry.dataset].classes))
    network = build(entry.network, interface)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.fill_(0.1)
            module.weight.data.fill_(1.0)
        elif isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            module.bias.data.fill_(0.1)  # one of zeros is left out of the graph
    with torch.no_grad():
        prepared = prepare(network, interface.input)
        apply_scales(prepared, dict.fromkeys(activation_quantizers(prepared), 0.05))
        set_mode(prepared, "quantize")
        return to_onnx(convert(prepared), interface)


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_passes_preflight(name, tmp_path):
    model = exported(name)
    preflight(model, tmp_path / "model.onnx")
    assert all(len(node.input) == 3 for node in model.graph.node if node.op_type == "Conv"), "a bias is missing"
    network = PARAMS.models[name].network
    size = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim]
    assert size == [1, 3, network.input_height, network.input_width]


@needs_tensorrt_rtx
@pytest.mark.parametrize("name", MODELS)
def test_tensorrt_supports_every_layer_and_builds_the_same_bytes_twice(name, tmp_path):
    model = exported(name)
    one, other = parse_and_build(model, tmp_path), parse_and_build(model, tmp_path)
    assert (one.errors, one.log) == ([], "")
    assert one.is_supported
    assert one.supported_nodes == len(model.graph.node)
    assert one.plan_sha256
    assert one == other


@needs_tensorrt_rtx
def test_tensorrt_supports_a_graph_with_some_layers_in_float(tmp_path):
    model = exported(MODELS[0])
    names = [layer.name for layer in layers_of(model)]
    for in_float in ({"heads.s8.cls", "stage4.1.second.add"}, {"stem"}, set(names)):
        mixed = keep_quantized(model, set(names) - in_float)
        preflight(mixed, tmp_path / "mixed.onnx")
        result = parse_and_build(mixed, tmp_path)
        assert result.errors == []
        assert result.supported_nodes == len(mixed.graph.node)
        assert result.plan_sha256


def first(model: onnx.ModelProto, operator: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == operator)


def add_constant(model: onnx.ModelProto, name: str, value: np.ndarray) -> str:
    model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def pair(model: onnx.ModelProto) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    """A QuantizeLinear and the DequantizeLinear that reads it."""
    quantize = first(model, "QuantizeLinear")
    return quantize, next(node for node in model.graph.node if quantize.output[0] in node.input)


def uint8_activations(model: onnx.ModelProto) -> str:
    """The graph of the CPU target."""
    rewrite(model, Preprocessing())
    quantizers = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return next(node.name for node in quantizers if node.input[2] == "uint8_zero_point_128")


def zero_point_of_3(model: onnx.ModelProto) -> str:
    quantize, dequantize = pair(model)
    quantize.input[2] = dequantize.input[2] = add_constant(model, "three", np.array(3, np.int8))
    return quantize.name


def quantized_bias(model: onnx.ModelProto) -> str:
    convolution = first(model, "Conv")
    [channels] = next(tensor.dims for tensor in model.graph.initializer if tensor.name == convolution.input[2])
    values = [
        add_constant(model, "bias", np.zeros(channels, np.int32)),
        add_constant(model, "bias_scale", np.full(channels, 0.1, np.float32)),
        add_constant(model, "bias_zero_point", np.zeros(channels, np.int32)),
    ]
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", values, ["b"], name="bias_dequantize", axis=0))
    convolution.input[2] = "b"
    return "bias_dequantize"


def data_in_another_file(model: onnx.ModelProto) -> str:
    tensor = max(model.graph.initializer, key=lambda one: one.ByteSize())
    onnx.external_data_helper.set_external_data(tensor, "weights.bin")
    tensor.ClearField("raw_data")
    return next(node.name for node in model.graph.node if tensor.name in node.input)


def negative_scale(model: onnx.ModelProto) -> str:
    quantize, _ = pair(model)
    quantize.input[1] = add_constant(model, "negative", np.array(-0.5, np.float32))
    return quantize.name


def one_scale_per_channel(model: onnx.ModelProto) -> str:
    quantize, _ = pair(model)
    quantize.input[1] = add_constant(model, "three_scales", np.full(3, 0.1, np.float32))
    return quantize.name


def unknown_operator(model: onnx.ModelProto) -> str:
    node = first(model, "Relu")
    node.op_type, node.domain = "Unknown", "acme"
    return node.name


def batch_of_any_size(model: onnx.ModelProto) -> str:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    return "images"


def one_uint8_activation(model: onnx.ModelProto) -> str:
    quantize, dequantize = pair(model)
    quantize.input[2] = dequantize.input[2] = add_constant(model, "unsigned", np.array(0, np.uint8))
    return quantize.name


def newer_operator_set(model: onnx.ModelProto) -> str:
    model.opset_import[0].version = 18
    return "ai.onnx 17"


BOTH_REJECT = [
    uint8_activations,
    zero_point_of_3,
    quantized_bias,
    data_in_another_file,
    negative_scale,
    one_scale_per_channel,
    unknown_operator,
    batch_of_any_size,
]
ONLY_PREFLIGHT_REJECTS = [one_uint8_activation, newer_operator_set]
"""TensorRT-RTX is newer than the TensorRT of Jetsons: it supports uint8 with zero point 0, and opset 18."""


def invalid(change) -> tuple[onnx.ModelProto, str]:
    model = deepcopy(exported(MODELS[0]))
    return model, change(model)


@pytest.mark.parametrize("change", [*BOTH_REJECT, *ONLY_PREFLIGHT_REJECTS], ids=lambda change: change.__name__)
def test_preflight_rejects_an_invalid_graph_with_the_name_of_the_node(change, tmp_path):
    model, name = invalid(change)
    with pytest.raises(ExportError) as caught:
        preflight(model, tmp_path / "model.onnx")
    assert name in str(caught.value)


@needs_tensorrt_rtx
@pytest.mark.parametrize("change", BOTH_REJECT, ids=lambda change: change.__name__)
def test_tensorrt_rejects_the_same_graph(change, tmp_path):
    model, name = invalid(change)
    result = parse_and_build(model, tmp_path)
    assert result.plan_sha256 is None
    if change is batch_of_any_size:
        assert "no optimization profile" in result.log
    elif change is data_in_another_file:
        assert "Failed to import initializer" in result.errors[0]["message"]
    else:
        assert [one["node"] for one in result.errors] == [name]


@needs_tensorrt_rtx
@pytest.mark.parametrize("change", ONLY_PREFLIGHT_REJECTS, ids=lambda change: change.__name__)
def test_preflight_is_stricter_than_tensorrt_rtx_because_of_older_jetsons(change, tmp_path):
    model, _ = invalid(change)
    assert parse_and_build(model, tmp_path).plan_sha256
