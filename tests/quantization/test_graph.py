"""Folding, placement and conversion of a graph, on networks with random batch norms."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from robot_assets.core.errors import QuantizationError
from robot_assets.quantization.graph import (
    activation_quantizers,
    apply_scales,
    convert,
    folded_weights,
    load_folded_weights,
    prepare,
    set_mode,
)
from tests.detector_chain import INTERFACE, NETWORK
from tests.detectors import detector


class SharedHead(nn.Module):
    """One tower for two levels, which folding per use would fold twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.down = nn.Conv2d(8, 8, 3, 2, 1)
        self.tower = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.out = nn.Conv2d(8, 4, 1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        fine = self.stem(images)
        coarse = self.down(fine)
        fine = fine + functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        return tuple(self.out(self.tower(level)) for level in (fine, coarse))


def with_random_norms(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
    return network.eval()


def images(count: int = 2) -> torch.Tensor:
    size = (count, 3, NETWORK.input_height, NETWORK.input_width)
    return torch.rand(size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return with_random_norms(detector(NETWORK))


@pytest.fixture
def calibrated(network):
    prepared = prepare(network, INTERFACE.input)
    names = activation_quantizers(prepared)
    apply_scales(prepared, dict.fromkeys(names, 0.05))
    set_mode(prepared, "quantize")
    return prepared


@torch.no_grad()
def test_the_folded_graph_gives_the_outputs_of_the_network(network):
    prepared = prepare(network, INTERFACE.input)
    for ours, theirs in zip(prepared(images()), network(images()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not any("running" in name for name in folded_weights(prepared))


@torch.no_grad()
def test_a_head_that_two_levels_share_is_folded_once():
    network = with_random_norms(SharedHead())
    prepared = prepare(network, INTERFACE.input)
    for ours, theirs in zip(prepared(images()), network(images()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_quantized_graph_gives_the_outputs_of_the_fake_quantized_one(calibrated):
    before = calibrated(images(1))
    after = convert(calibrated)(images(1))
    for ours, theirs in zip(after, before, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_every_convolution_and_addition_reads_quantized_tensors_and_no_head_is_quantized(calibrated):
    quantized = convert(calibrated)
    sources = {torch.ops.quantized_decomposed.dequantize_per_tensor.default}
    weights = {torch.ops.quantized_decomposed.dequantize_per_channel.default}
    seen = 0
    for node in quantized.graph.nodes:
        if node.target is torch.ops.aten.conv2d.default:
            assert node.args[0].target in sources
            assert node.args[1].target in weights
            seen += 1
        elif node.target is torch.ops.aten.add.Tensor:
            assert {argument.target for argument in node.args[:2]} == sources
            seen += 1
        elif node.op == "output":
            assert not {head.target for head in node.args[0]} & (sources | weights)
    assert seen >= 20


def test_the_output_of_upsampling_has_the_scale_of_its_input(network):
    prepared = prepare(network, INTERFACE.input)
    [resize] = [node for node in prepared.graph.nodes if "upsample" in str(node.target)]
    [after] = resize.users
    assert prepared.get_submodule(after.target) is prepared.get_submodule(resize.args[0].target)


def test_train_and_eval_mode_can_be_set(calibrated):
    calibrated.train()
    heads = calibrated(images())
    sum(head.square().sum() for head in heads).backward()
    calibrated.eval()
    gradients = [leaf.grad for leaf in calibrated.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_scale_that_is_not_above_zero_is_refused(calibrated, scale):
    scales = dict.fromkeys(activation_quantizers(calibrated), 0.1)
    scales["relu"] = scale
    with pytest.raises(QuantizationError, match="'relu'"):
        apply_scales(calibrated, scales)


def test_scales_of_another_network_are_refused_with_their_name(calibrated):
    scales = dict.fromkeys(activation_quantizers(calibrated), 0.1) | {"other": 0.1}
    with pytest.raises(QuantizationError, match=r"missing \[\], unknown \['other'\]"):
        apply_scales(calibrated, scales)


def test_weights_of_another_network_are_refused_with_their_name(calibrated):
    weights = folded_weights(calibrated)
    name = sorted(weights)[0]
    with pytest.raises(QuantizationError, match=name):
        load_folded_weights(calibrated, weights | {name: torch.zeros(1, 2)})
    del weights[name]
    with pytest.raises(QuantizationError, match=name):
        load_folded_weights(calibrated, weights)
