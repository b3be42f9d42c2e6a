"""Common constructions from another exporter: converted with the same answers, quantized, built by TensorRT-RTX."""

import functools

import numpy as np
import onnx
import pytest

from robot_assets.export.preflight import graph_problems, quantization_problems
from robot_assets.export.qdq_layers import float_weights as trained_weights
from robot_assets.export.qdq_layers import keep_quantized
from robot_assets.foreign.conversion import convert
from robot_assets.foreign.inspection import fits_of
from robot_assets.foreign.interface import outputs_of
from robot_assets.foreign.placement import Placement, place
from robot_assets.foreign.quantize import float_weights, quantized
from robot_assets.quantization.histogram import LEVELS
from tests.export.test_tensorrt_rtx import needs_tensorrt_rtx, parse_and_build
from tests.foreign.architectures import ARCHITECTURES, SIZE, exported
from tests.foreign.graphs import image, run

SHAPE = (1, 3, SIZE, SIZE)
each = pytest.mark.parametrize("name", ARCHITECTURES)


@functools.cache
def given(name: str) -> onnx.ModelProto:
    return exported(name)


@functools.cache
def converted(name: str) -> onnx.ModelProto:
    return convert(given(name), name).model


def largest(model: onnx.ModelProto, names: tuple[str, ...]) -> dict[str, float]:
    """The largest magnitude of each tensor on one image."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:]
    made = [name for name in names if name != "images"]
    changed.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in made)
    values = zip(made, run(changed, image(shape=SHAPE)), strict=True)
    return {"images": 1.0, **{name: float(np.abs(one).max()) for name, one in values}}


@functools.cache
def with_pairs(name: str) -> tuple[onnx.ModelProto, Placement]:
    model = converted(name)
    placement = place(model)
    magnitudes = largest(model, placement.tensors)
    groups: dict[str, float] = {}
    for tensor, group in placement.groups.items():
        groups[group] = max(groups.get(group, 0.0), magnitudes[tensor])
    scales = {tensor: groups[group] / LEVELS for tensor, group in placement.groups.items()}
    return quantized(model, placement, scales), placement


@each
def test_the_converted_graph_gives_the_answers_of_the_file(name):
    for ours, theirs in zip(
        run(converted(name), image(shape=SHAPE)), run(given(name), image(shape=SHAPE)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


@each
def test_the_quantized_graph_passes_preflight_and_answers_much_the_same(name):
    model, _ = with_pairs(name)
    assert [*graph_problems(model), *quantization_problems(model)] == []
    for ours, theirs in zip(run(model, image(shape=SHAPE)), run(converted(name), image(shape=SHAPE)), strict=True):
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98


@each
def test_without_its_quantization_the_graph_is_the_float_graph_again(name):
    model, placement = with_pairs(name)
    again = keep_quantized(model, (), trained_weights(model, float_weights(converted(name), placement)))
    for ours, theirs in zip(run(again, image(shape=SHAPE)), run(converted(name), image(shape=SHAPE)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@needs_tensorrt_rtx
@each
def test_tensorrt_builds_the_float_and_the_quantized_graph(name, tmp_path):
    for graph in (converted(name), with_pairs(name)[0]):
        result = parse_and_build(graph, tmp_path)
        assert result.is_supported, result.errors
        assert result.plan_sha256, result.log


@pytest.mark.parametrize(
    ("name", "task", "decoder"),
    [("queries", "detection", "detr"), ("segmenter", "segmentation", "map")],
)
def test_a_decoder_is_proposed_for_its_outputs(name, task, decoder):
    best = fits_of(outputs_of(converted(name)), (SIZE, SIZE))[0]
    assert (best.task, best.decoder) == (task, decoder)


def test_what_decodes_boxes_stays_in_float():
    _, placement = with_pairs("anchor_free")
    assert list(placement.in_float.values()) == ["the expectation over a softmax"]
    model = converted("anchor_free")
    producers = {name: node for node in model.graph.node for name in node.output}
    kinds = {producers[name].op_type for name in placement.tensors if name in producers}
    assert kinds <= {"Mul", "Split", "Add", "Concat", "MaxPool", "Resize"}  # SiLU is x * sigmoid(x)


def test_products_of_activations_and_of_weights_stay_in_float():
    _, placement = with_pairs("queries")
    assert set(placement.in_float.values()) <= {"a matrix product", "a matrix product of activations"}
