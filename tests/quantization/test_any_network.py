"""Networks of every construction are folded, quantized, trained further, exported, and accepted by TensorRT."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from robot_assets.core.errors import QuantizationError
from robot_assets.export.onnx_export import save_onnx, to_onnx
from robot_assets.export.parity import plain_session
from robot_assets.export.preflight import preflight
from robot_assets.quantization.graph import (
    activation_quantizers,
    apply_scales,
    convert,
    float_operators,
    folded_weights,
    load_folded_weights,
    prepare,
    quantized_layers,
    set_mode,
)
from robot_assets.quantization.histogram import mse_scale
from robot_assets.tasks.building import HeadsOf
from robot_assets.tasks.interface import Head, Input, Interface, Part
from tests.export.test_tensorrt_rtx import needs_tensorrt_rtx, parse_and_build
from tests.quantization import networks
from tests.quantization.networks import SIDE, built

INPUT = Input(height=SIDE, width=SIDE)
every_network = pytest.mark.parametrize("network", networks.ALL, ids=lambda one: one.__name__)


def images(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def answers(module: nn.Module, batch: torch.Tensor) -> list[torch.Tensor]:
    found = module(batch)
    if isinstance(found, dict):
        return [found[name] for name in sorted(found)]
    return [found] if isinstance(found, torch.Tensor) else list(found)


def interface_of(module: nn.Module) -> Interface:
    found = answers(module, images(1))
    heads = tuple(
        Head(name=f"head{number}", shape=tuple(one.shape), parts=(Part(meaning="values"),))
        for number, one in enumerate(found)
    )
    return Interface(task="any", classes=("a",), input=INPUT, heads=heads, decoder="any")


def tensors(module: nn.Module) -> nn.Module:
    """The network with its heads in the order of ``answers``."""
    module.register_forward_hook(
        lambda module, inputs, found: tuple(found[name] for name in sorted(found)) if isinstance(found, dict) else found
    )
    return module


def calibrated(network: type[nn.Module], float_layers=()):
    prepared = prepare(tensors(built(network)), INPUT, float_layers)
    set_mode(prepared, "observe")
    answers(prepared, images())
    apply_scales(prepared, {name: mse_scale(one.histogram) for name, one in activation_quantizers(prepared).items()})
    set_mode(prepared, "quantize")
    return prepared


@functools.cache
def exported(network: type[nn.Module]):
    quantized = convert(calibrated(network))
    return quantized, to_onnx(quantized, interface_of(built(network)))


@every_network
def test_folding_changes_no_answer(network):
    module = built(network)
    for ours, theirs in zip(answers(prepare(tensors(module), INPUT), images()), answers(module, images()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@every_network
def test_quantization_changes_the_answers_a_little(network):
    module, prepared = built(network), calibrated(network)
    for ours, theirs in zip(answers(prepared, images()), answers(module, images()), strict=True):
        assert 0 < (ours - theirs).abs().max() < 0.12 * theirs.abs().max()


@every_network
def test_every_weight_gets_a_gradient_from_fake_quantization(network):
    prepared = calibrated(network)
    prepared.train()
    found = prepared(images())
    sum(head.square().sum() for head in (found if isinstance(found, tuple) else (found,))).backward()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in prepared.parameters())


@every_network
def test_saved_weights_and_scales_give_the_same_answers(network):
    before = calibrated(network)
    after = prepare(tensors(network()), INPUT)
    load_folded_weights(after, folded_weights(before))
    apply_scales(after, {name: one.scale for name, one in activation_quantizers(before).items()})
    set_mode(after, "quantize")
    for ours, theirs in zip(answers(after, images()), answers(before, images()), strict=True):
        assert torch.equal(ours, theirs)


@every_network
def test_the_exported_graph_passes_the_preflight_and_gives_the_answers_of_torch(network, tmp_path):
    quantized, model = exported(network)
    preflight(model, tmp_path / "model.onnx")
    save_onnx(model, tmp_path / "model.onnx")
    found = plain_session(tmp_path / "model.onnx").run(None, {"images": images(1).numpy()})
    for ours, theirs in zip(found, answers(quantized, images(1)), strict=True):
        # Values at a rounding boundary may fall on the other side, by one step of the int8 grid.
        np.testing.assert_allclose(ours, theirs, atol=0.01 * float(theirs.abs().max()))


@needs_tensorrt_rtx
@every_network
def test_tensorrt_builds_the_exported_graph(network, tmp_path: Path):
    result = parse_and_build(exported(network)[1], tmp_path)
    assert result.is_supported, result.errors
    assert result.plan_sha256, result.errors


@pytest.mark.parametrize(
    ("network", "layers"),
    [
        (networks.Depthwise, ("stem.0", "depthwise.0", "grouped.0", "dilated", "head")),
        (networks.Gate, ("stem.0", "squeeze", "excite", "mul", "add", "head")),
        (networks.Pyramid, ("stem.0", "down.0", "up", "merge.0", "heads.coarse", "heads.fine")),
        (networks.Classifier, ("stem.0", "hidden", "out")),
        (
            networks.Attention,
            ("stem.0", "encoder.self_attn", "encoder.self_attn.out_proj", "encoder.linear1", "encoder.linear2", "out"),
        ),
        (networks.Shared, ("stem.0", "tower", "head")),
    ],
)
def test_layers_are_quantized_by_the_path_of_their_module(network, layers):
    assert set(quantized_layers(prepare(tensors(built(network)), INPUT))) == set(layers)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (networks.Depthwise, []),
        (networks.Pyramid, []),
        (networks.PreActivation, [("first", "batch_norm"), ("last", "batch_norm")]),
        (
            networks.Attention,
            [
                ("encoder.self_attn.scaled_dot_product_attention", "scaled_dot_product_attention"),
                ("encoder.add", "add"),
                ("encoder.norm1", "layer_norm"),
                ("encoder.add_1", "add"),
                ("encoder.norm2", "layer_norm"),
            ],
        ),
        (networks.Computed, [("conv2d", "conv2d"), ("add", "add")]),
    ],
)
def test_what_stays_in_float_is_named_with_its_reason(network, expected):
    found = float_operators(prepare(tensors(built(network)), INPUT))
    assert [(one.name, one.operator) for one in found] == expected
    assert all(one.reason for one in found)


def test_what_moves_values_has_one_scale_before_and_after():
    assert set(activation_quantizers(calibrated(networks.Shuffle))) == {"x", "relu"}


class TestFloatLayers:
    def test_a_pattern_leaves_a_module_and_all_within_it_in_float(self):
        prepared = prepare(tensors(built(networks.Pyramid)), INPUT, ["heads.*", "down"])
        assert set(quantized_layers(prepared)) == {"stem.0", "up", "merge.0"}
        assert {one.reason for one in float_operators(prepared)} == {
            "float_layers has heads.*",
            "float_layers has down",
        }

    def test_an_addition_is_named_as_the_list_of_layers_names_it(self):
        assert "add" not in quantized_layers(prepare(built(networks.Gate), INPUT, ["add"]))

    def test_all_layers_can_stay_in_float(self, tmp_path):
        prepared = prepare(built(networks.Gate), INPUT, ["*"])
        assert quantized_layers(prepared) == ()
        assert not activation_quantizers(prepared)

    def test_pooling_before_layers_in_float_is_not_quantized(self):
        prepared = prepare(built(networks.Classifier), INPUT, ["hidden", "out"])
        assert len(activation_quantizers(prepared)) == 1
        assert ("adaptive_avg_pool2d", "no quantized layer reads it") in [
            (one.name, one.reason) for one in float_operators(prepared)
        ]

    def test_a_pattern_that_matches_nothing_is_refused_with_near_misses(self):
        with pytest.raises(QuantizationError, match=r"'head\.\*' matches no layer .* did you mean .*'heads'") as caught:
            prepare(tensors(built(networks.Pyramid)), INPUT, ["head.*"])
        assert "params.yaml" in caught.value.fix

    def test_a_module_without_a_layer_that_would_be_quantized_is_no_match(self):
        with pytest.raises(QuantizationError, match=r"'encoder\.norm1' matches no layer"):
            prepare(built(networks.Attention), INPUT, ["encoder.norm1"])


class OfTheBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x):
        return self.norm(self.conv(x))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(x) if x.mean() > 0 else self.conv(-x)


class OneImage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(x).reshape(2, -1)


def test_a_batch_norm_without_running_statistics_is_refused_by_its_path():
    with pytest.raises(QuantizationError, match="batch norm norm normalizes by the statistics of each batch"):
        prepare(OfTheBatch(), INPUT)


@pytest.mark.parametrize("network", [Branching, OneImage])
def test_a_network_that_is_no_graph_is_refused_with_the_line_of_its_code(network):
    with pytest.raises(QuantizationError, match=f"{network.__name__} cannot be captured as a graph") as caught:
        prepare(network(), INPUT)
    assert "x.shape[0]" in caught.value.fix


def test_heads_by_name_are_exported_in_the_order_of_the_interface():
    module = built(networks.Pyramid)
    heads = tuple(
        Head(name=name, shape=(1, channels, side, side), parts=(Part(meaning="values"),))
        for name, channels, side in (("fine", 2, 16), ("coarse", 3, 8))
    )
    module.register_forward_hook(HeadsOf(heads, "tests:Pyramid"))
    found = prepare(module, INPUT)(images())
    assert [tuple(one.shape) for one in found] == [(3, 2, 16, 16), (3, 3, 8, 8)]
