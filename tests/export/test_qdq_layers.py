"""Any set of layers can stay quantized; the others run in float as trained."""

import json

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from robot_assets.core.errors import ExportError
from robot_assets.export.parity import plain_session
from robot_assets.export.preflight import preflight
from robot_assets.export.qdq_layers import (
    float_weights,
    keep_quantized,
    layers_of,
    load_weights,
    multiply_accumulates,
)
from robot_assets.export.strip_qdq import write_float_graph
from tests.detector_chain import whole

FEW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.load(whole().onnx / "model.onnx")


@pytest.fixture(scope="module")
def names(model) -> list[str]:
    return [layer.name for layer in layers_of(model)]


@pytest.fixture(scope="module")
def weights(model) -> dict:
    return float_weights(model, exported_weights())


def exported_weights() -> dict:
    """The folded weights of the quantized model that was exported."""
    card = json.loads((whole().onnx / "model.json").read_bytes())
    return load_weights(getattr(whole(), card["choice"]["method"]))


def subset(names: list[str], bits: int) -> set[str]:
    return {name for position, name in enumerate(names) if bits >> position & 1}


def run(model: onnx.ModelProto, tmp_path) -> list[np.ndarray]:
    path = tmp_path / "variant.onnx"
    onnx.save(model, path)
    images = np.random.default_rng(0).random((1, 3, 64, 96), dtype=np.float32)
    return plain_session(path).run(None, {"images": images})


def same(ours: list[np.ndarray], theirs: list[np.ndarray]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_layers_have_the_names_of_their_modules(names):
    assert {"stem", "stage4.0", "stage4.1.first", "lateral8.add", "heads.s8.cls_tower", "heads.s16.box"} <= set(names)
    assert len(names) == len(set(names)) == 28


def test_all_layers_kept_gives_the_same_bytes(model, names):
    assert keep_quantized(model, names).SerializeToString(deterministic=True) == model.SerializeToString(
        deterministic=True
    )


def test_no_layer_kept_gives_the_outputs_of_the_float_graph(model, tmp_path):
    write_float_graph(whole().onnx / "model.onnx", tmp_path / "float.onnx")
    assert same(run(keep_quantized(model, ()), tmp_path), run(onnx.load(tmp_path / "float.onnx"), tmp_path))


@FEW
@given(bits=st.integers(0, 2**28 - 1))
def test_exactly_the_kept_layers_are_quantized_and_tensorrt_supports_the_graph(model, names, weights, bits, tmp_path):
    kept = subset(names, bits)
    mixed = keep_quantized(model, kept, weights)
    assert {layer.name for layer in layers_of(mixed)} == kept
    onnx.checker.check_model(mixed, full_check=True)
    preflight(mixed, tmp_path / "mixed.onnx")
    read = {name for node in mixed.graph.node for name in node.input} | {value.name for value in mixed.graph.output}
    made = {name for node in mixed.graph.node for name in node.output} | {one.name for one in mixed.graph.initializer}
    assert made <= read, "a tensor without readers"


@FEW
@given(first=st.integers(0, 2**28 - 1), second=st.integers(0, 2**28 - 1))
def test_removing_layers_in_two_steps_equals_removing_them_at_once(model, names, weights, first, second, tmp_path):
    both = subset(names, first & second)
    at_once = keep_quantized(model, both, weights)
    in_steps = keep_quantized(keep_quantized(model, subset(names, first), weights), both, weights)
    assert same(run(at_once, tmp_path), run(in_steps, tmp_path))


def test_a_layer_in_float_has_its_trained_weights(model, names, weights):
    mixed = keep_quantized(model, set(names) - {"merge8"}, weights)
    [convolution] = [node for node in mixed.graph.node if len(node.input) > 2 and node.input[2].startswith("merge8.")]
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in mixed.graph.initializer}
    assert np.array_equal(tensors[convolution.input[1]], weights["merge8"])
    assert convolution.input[0].startswith("relu")


def test_the_original_is_not_changed(model, names, weights):
    before = model.SerializeToString(deterministic=True)
    keep_quantized(model, names[:3], weights)
    assert model.SerializeToString(deterministic=True) == before


def test_an_unknown_layer_is_refused_with_its_name(model):
    with pytest.raises(ExportError, match=r"no quantized layer merge9"):
        keep_quantized(model, ["merge9"])


def test_weights_of_another_model_are_refused(model):
    tensors = exported_weights()
    with pytest.raises(ExportError, match=r"merge8\.0\.weight_folded .* does not round to the weights of layer merge8"):
        float_weights(model, {**tensors, "merge8.0.weight_folded": 1.5 * tensors["merge8.0.weight_folded"]})
    with pytest.raises(ExportError, match=r"has no merge8\.0\.weight_folded for layer merge8"):
        float_weights(model, {name: value for name, value in tensors.items() if not name.startswith("merge8")})


def test_the_weights_of_a_convolution_without_a_bias_are_found(model, weights):
    """The exporter omits a bias of zeros."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    [convolution] = [node for node in bare.graph.node if len(node.input) > 2 and node.input[2].startswith("merge8.")]
    del convolution.input[2]
    found = float_weights(bare, exported_weights())
    assert np.array_equal(found[convolution.name], weights["merge8"])


def test_multiply_accumulates_follow_the_formula(model):
    counts = multiply_accumulates(model)
    assert len(counts) == 23
    assert counts["conv2d"] == 16 * 32 * 48 * 3 * 9, "the stem: 16 channels of half size, 3 by 3 over 3 channels"
