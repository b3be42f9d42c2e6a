"""The smoke test passes for a network that can be built, and names the layer of one that cannot."""

import re

import pytest

from robot_assets.core.errors import RobotAssetsError
from robot_assets.smoke.check import check
from tests.detector_chain import checkpoint_only
from tests.own_networks import definition, installed, interface, own


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory):
    with installed(tmp_path_factory.mktemp("acme")) as path:
        yield path


def smoke(network, **settings):
    return check(definition(network), interface(network), **settings)


@pytest.fixture(scope="module")
def passed():
    steps = []
    return smoke(own(classes=3), on_step=steps.append), steps


def test_each_step_is_reported_as_it_is_done(passed):
    result, steps = passed
    names = ["build", "images", "forward", "backward", "quantize", "export", "operators", "compare"]
    assert [step.name for step in steps] == [step.name for step in result.steps] == names
    assert all(step.found for step in steps)


def test_heads_parameters_and_multiply_accumulates_are_counted(passed):
    result, _ = passed
    assert result.heads == {"cls_s8": (1, 3, 4, 4), "box_s8": (1, 4, 4, 4)}
    assert result.parameters == 3 * 64 * 8 + 2 * 8 + (8 + 1) * (3 + 4)
    assert result.macs == 4 * 4 * 8 * (3 * 64 + 3 + 4)


def test_layers_in_int8_and_in_float_are_listed():
    result = smoke(own(classes=3), float_layers=["heads.box*"])
    assert result.quantized == ("stem.0", "heads.cls_s8")
    [box] = result.in_float
    assert (box.layer, box.operator, box.reason) == ("heads.box_s8", "conv2d", "float_layers has heads.box*")


def test_the_loss_is_that_of_the_data_set(tmp_path):
    dataset, _ = checkpoint_only()
    steps = []
    smoke(own(classes=3), dataset=dataset, on_step=steps.append)
    found = {step.name: step.found for step in steps}
    assert re.fullmatch(r"2 of the \d+ images of train", found["images"])
    assert re.fullmatch(r"loss [\d.]+ \(cls [\d.]+, box [\d.]+\)", found["backward"])


def test_parameters_that_no_head_reads_are_named():
    assert smoke(own("acme_nets.pico:Idle")).without_gradient == ("idle.weight", "idle.bias")


def test_the_answer_for_a_machine_has_everything(passed):
    document = passed[0].as_json()
    assert document["quantized_layers"] == ["stem.0", "heads.cls_s8", "heads.box_s8"]
    assert document["differing_share"] <= 0.005


@pytest.mark.parametrize(
    ("network", "found"),
    [
        (own("acme_nets.pico:Empty"), "Empty has no parameters to train"),
        (own(classes=5), "head cls_s8 is (N, 5, 4, 4)"),
        (own("acme_nets.pico:Failing", when="forward"), "forward, layer stem.3: RuntimeError: "),
        (own("acme_nets.pico:Failing", when="not finite"), "forward, layer stem.3: values that are not finite"),
        (own("acme_nets.pico:Failing", when="gradient"), "backward: 3 parameters have a gradient that is not finite"),
        (own("acme_nets.pico:Failing", when="backward"), "no gradient of this operation"),
        (own("acme_nets.pico:Failing", when="capture"), "layer stem.3: Failing cannot be captured as a graph"),
        (
            own("acme_nets.pico:Failing", when="operator"),
            "layer stem.3: the network cannot be exported to ONNX: no equiv",
        ),
        (own("acme_nets.pico:Failing", when="preflight"), "layer stem.3, node 'n1': operator IsInf"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.arguments.get("when", value.kind),
)
def test_a_failure_names_the_layer(network, found):
    with pytest.raises(RobotAssetsError) as caught:
        smoke(network)
    assert found in caught.value.found
    assert caught.value.fix


def test_the_fix_has_the_line_of_the_network():
    with pytest.raises(RobotAssetsError) as caught:
        smoke(own("acme_nets.pico:Failing", when="forward"))
    assert re.search(r"acme_nets/pico\.py, line \d+", caught.value.fix)
