"""The compact network: what it is made of, and that nothing of it but the ends runs in float after quantization."""

from pathlib import Path

import pytest
import torch
from torch import nn

from robot_assets.engines.onnxruntime.layers import count_kernels
from robot_assets.engines.onnxruntime.rewrite import rewrite
from robot_assets.export.onnx_export import save_onnx, to_onnx
from robot_assets.quantization.graph import activation_quantizers, apply_scales, convert, prepare
from robot_assets.tasks.segmentation.network import build_compact
from robot_assets.tasks.segmentation.spec import CompactSegmenter
from tests.tasks.segmentation.drawn_shapes import CLASSES, interface

SPEC = CompactSegmenter(input_height=64, input_width=96, width=16)


def network(seed: int = 0, spec: CompactSegmenter = SPEC) -> nn.Module:
    torch.manual_seed(seed)
    return build_compact(spec, CLASSES).eval()


@pytest.mark.parametrize(("width", "depth"), [(8, 1), (16, 2), (24, 1)])
def test_the_logits_are_at_stride_4(width: int, depth: int) -> None:
    spec = CompactSegmenter(input_height=64, input_width=96, width=width, depth=depth)
    (logits,) = network(spec=spec)(torch.rand(2, 3, 64, 96))
    assert logits.shape == (2, *interface().heads[0].shape[1:])


def test_initial_weights_are_determined_by_the_generator_of_the_caller() -> None:
    one, same, other = (network(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_it_has_only_operators_that_fuse_to_int8() -> None:
    program = torch.export.export(network(), (torch.rand(1, 3, 64, 96),))
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert operators <= {
        "aten.conv2d.default",
        "aten.batch_norm.default",
        "aten.relu.default",
        "aten.add.Tensor",
        "aten.upsample_nearest2d.vec",
    }
    assert {module.groups for module in network().modules() if isinstance(module, nn.Conv2d)} == {1}


def test_only_the_convolutions_of_the_images_and_of_the_logits_run_in_float(tmp_path: Path) -> None:
    prepared = prepare(network(), interface().input)
    apply_scales(prepared, dict.fromkeys(activation_quantizers(prepared), 0.05))
    model = to_onnx(convert(prepared), interface())
    rewrite(model, interface().input)
    save_onnx(model, tmp_path / "model.onnx")

    kernels = count_kernels(tmp_path / "model.onnx")

    convolutions = sum(isinstance(module, nn.Conv2d) for module in network().modules())
    assert kernels.float32 == {"Conv": 2}
    assert kernels.int8["QLinearConv"] == convolutions - 2
    assert [one.name for one in model.graph.output] == ["logits"]
