"""Any choice of layers can stay quantized, the others become what they were before."""

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
from robot_assets.export.strip_qdq import write_float_twin
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
    return float_weights(model, load_weights(whole().ptq if promoted() == "ptq" else whole().qat))


def promoted() -> str:
    import json

    return json.loads((whole().onnx / "model.json").read_bytes())["choice"]["method"]


def some(names: list[str], bits: int) -> set[str]:
    return {name for place, name in enumerate(names) if bits >> place & 1}


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


def test_no_layer_kept_answers_as_the_float_twin(model, tmp_path):
    write_float_twin(whole().onnx / "model.onnx", tmp_path / "twin.onnx")
    assert same(run(keep_quantized(model, ()), tmp_path), run(onnx.load(tmp_path / "twin.onnx"), tmp_path))


@FEW
@given(bits=st.integers(0, 2**28 - 1))
def test_exactly_the_kept_layers_are_quantized_and_the_graph_stays_one_that_tensorrt_takes(
    model, names, weights, bits, tmp_path
):
    kept = some(names, bits)
    mixed = keep_quantized(model, kept, weights)
    assert {layer.name for layer in layers_of(mixed)} == kept
    onnx.checker.check_model(mixed, full_check=True)
    preflight(mixed, tmp_path / "mixed.onnx")
    read = {name for node in mixed.graph.node for name in node.input} | {value.name for value in mixed.graph.output}
    made = {name for node in mixed.graph.node for name in node.output} | {one.name for one in mixed.graph.initializer}
    assert made <= read, "nothing is left that nobody reads"


@FEW
@given(first=st.integers(0, 2**28 - 1), second=st.integers(0, 2**28 - 1))
def test_taking_layers_away_in_two_steps_is_taking_them_away_at_once(model, names, weights, first, second, tmp_path):
    both = some(names, first & second)
    at_once = keep_quantized(model, both, weights)
    in_steps = keep_quantized(keep_quantized(model, some(names, first), weights), both, weights)
    assert same(run(at_once, tmp_path), run(in_steps, tmp_path))


def test_a_layer_in_float_has_the_weights_that_were_trained(model, names, weights):
    mixed = keep_quantized(model, set(names) - {"merge8"}, weights)
    [convolution] = [node for node in mixed.graph.node if len(node.input) > 2 and node.input[2].startswith("merge8.")]
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in mixed.graph.initializer}
    assert np.array_equal(tensors[convolution.input[1]], weights["merge8"])
    assert convolution.input[0].startswith("relu")


def test_the_original_is_left_alone(model, names, weights):
    before = model.SerializeToString(deterministic=True)
    keep_quantized(model, names[:3], weights)
    assert model.SerializeToString(deterministic=True) == before


def test_a_layer_that_is_not_there_is_named(model):
    with pytest.raises(ExportError, match=r"no quantized layer merge9"):
        keep_quantized(model, ["merge9"])


def test_weights_of_another_model_are_refused(model):
    tensors = load_weights(whole().ptq if promoted() == "ptq" else whole().qat)
    with pytest.raises(ExportError, match=r"merge8\.0\.weight_folded of the quantized model is another"):
        float_weights(model, {**tensors, "merge8.0.weight_folded": 1.5 * tensors["merge8.0.weight_folded"]})
    with pytest.raises(ExportError, match=r"merge8\.0\.weight_folded of the quantized model is missing"):
        float_weights(model, {name: value for name, value in tensors.items() if not name.startswith("merge8")})


def test_a_convolution_without_a_bias_finds_its_weights_too(model, weights):
    """The exporter leaves out a bias of zeros."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    [convolution] = [node for node in bare.graph.node if len(node.input) > 2 and node.input[2].startswith("merge8.")]
    del convolution.input[2]
    found = float_weights(bare, load_weights(whole().ptq if promoted() == "ptq" else whole().qat))
    assert np.array_equal(found[convolution.name], weights["merge8"])


def test_multiply_accumulates_are_those_of_the_formula(model):
    counts = multiply_accumulates(model)
    assert len(counts) == 23
    assert counts["conv2d"] == 16 * 32 * 48 * 3 * 9, "the stem: 16 channels of half size, 3 by 3 over 3 channels"
