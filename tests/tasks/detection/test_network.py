import pytest
import torch
from torch import nn

from robot_assets.tasks.detection.spec import NetworkSpec
from tests.detectors import detector, interface


@pytest.mark.parametrize("finest_stride", [4, 8])
def test_heads_have_the_grid_of_their_stride(finest_stride: int) -> None:
    spec = NetworkSpec(input_height=64, input_width=96, width=8, finest_stride=finest_stride)
    heads = detector(spec).eval()(torch.rand(2, 3, 64, 96))

    names = [f"{kind}_s{stride}" for stride in (4, 8, 16) if stride >= finest_stride for kind in ("cls", "box")]
    assert interface(spec).head_names == tuple(names)
    for name, head in zip(names, heads, strict=True):
        kind, _, stride = name.partition("_s")
        assert head.shape == (2, 3 if kind == "cls" else 4, 64 // int(stride), 96 // int(stride))


def test_every_convolution_is_dense_and_has_its_own_norm() -> None:
    network = detector(NetworkSpec(input_height=64, input_width=96, width=16))
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]

    assert {module.groups for module in convolutions} == {1}
    assert len([module for module in convolutions if module.bias is None]) == len(norms)
    assert all(module.out_channels % 8 == 0 for module in convolutions if module.bias is None)


def test_the_exported_graph_has_only_operators_that_every_tensorrt_supports() -> None:
    spec = NetworkSpec(input_height=64, input_width=96, width=8, finest_stride=4)
    program = torch.export.export(detector(spec).eval(), (torch.rand(1, 3, 64, 96),))
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert operators <= {
        "aten.conv2d.default",
        "aten.batch_norm.default",
        "aten.relu.default",
        "aten.add.Tensor",
        "aten.upsample_nearest2d.vec",
    }


def test_weights_depend_on_the_seed_and_the_global_generator_is_not_touched() -> None:
    spec = NetworkSpec(input_height=64, input_width=96, width=8)
    before = torch.random.get_rng_state()
    one, same, other = (detector(spec, seed=seed).state_dict() for seed in (1, 1, 2))

    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_an_untrained_network_gives_every_class_a_low_score() -> None:
    spec = NetworkSpec(input_height=64, input_width=96, width=16)
    heads = detector(spec).eval()(torch.rand(1, 3, 64, 96))
    assert all(head.sigmoid().max() < 0.1 for head in heads[0::2])
