"""A layer with a ruined scale is found, left in float, and the accuracy is there again."""

import json
import shutil
from pathlib import Path

import onnx
import pytest

from robot_assets.core.errors import ExportError
from robot_assets.data.packed import open_split
from robot_assets.engines.gate import check_engine
from robot_assets.engines.onnxruntime_engine import build_engine, load_engine
from robot_assets.export.qdq_layers import Layer, layers_of
from robot_assets.sensitivity.analysis import LayerLoss, Sensitivity, find_sensitive_layers
from robot_assets.sensitivity.latency import measure_variants
from robot_assets.sensitivity.search import Chosen, Trial
from robot_assets.sensitivity.spec import SensitivitySpec
from robot_assets.sensitivity.summary import headline
from robot_assets.training.evaluate import evaluate
from tests.detector_chain import NETWORK, TARGET, whole
from tests.synthetic.ruined import ruin_scale

SPEC = SensitivitySpec(images=8, drop_points_max=1.0)


@pytest.fixture(scope="module")
def bad_scale(tmp_path_factory) -> Path:
    return ruin_scale(whole().onnx, tmp_path_factory.mktemp("ruined") / "onnx", "stage8.0", 400.0)


@pytest.fixture(scope="module")
def found(bad_scale, tmp_path_factory):
    out = tmp_path_factory.mktemp("found") / "sensitivity"
    chain = whole()
    return find_sensitive_layers(bad_scale, chain.ptq, chain.qat, chain.dataset, SPEC, out), out


def test_the_ruined_layer_loses_most(found):
    sensitivity, _ = found
    assert sensitivity.worst.layer.name == "stage8.0"
    assert sensitivity.worst.drop_points > 10
    assert max(one.drop_points for one in sensitivity.layers if one.layer.name != "stage8.0") < 10


def test_that_layer_alone_in_float_brings_the_accuracy_back(found):
    sensitivity, out = found
    assert sensitivity.int8_drop_points > SPEC.drop_points_max
    assert sensitivity.chosen.holds
    assert sensitivity.chosen.best.layers == ("stage8.0",)
    assert json.loads((out / "sensitivity.json").read_text())["float_layers"] == ["stage8.0"]
    assert "stage8.0" not in {layer.name for layer in layers_of(onnx.load(out / "model.onnx"))}


def test_an_engine_is_built_from_the_artifact_and_sees_again(found, bad_scale, tmp_path):
    _, out = found
    val = open_split(whole().dataset, "val")
    seen = {}
    for name, source in (("ruined", bad_scale), ("mixed", out), ("whole", whole().onnx)):
        build_engine(source, TARGET, tmp_path / name)
        seen[name] = evaluate(load_engine(tmp_path / name).infer, val, NETWORK).map50
    assert seen["ruined"] < seen["whole"] - 0.1
    assert seen["mixed"] > seen["whole"] - 0.02
    [parity] = check_engine(tmp_path / "mixed", TARGET.gate, ["parity"], dataset=whole().dataset, onnx=out).values()
    assert parity.passed, parity.summary


def test_the_same_inputs_give_the_same_bytes(found, bad_scale, tmp_path):
    _, out = found
    chain = whole()
    find_sensitive_layers(bad_scale, chain.ptq, chain.qat, chain.dataset, SPEC, tmp_path / "again")
    names = sorted(path.name for path in out.iterdir())
    assert names == ["model.json", "model.onnx", "reference.safetensors", "sensitivity.json"]
    assert all((out / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_a_graph_that_holds_the_gate_goes_on_as_it_is(tmp_path):
    chain = whole()
    spec = SensitivitySpec(images=8, drop_points_max=100.0)
    sensitivity = find_sensitive_layers(chain.onnx, chain.ptq, chain.qat, chain.dataset, spec, tmp_path / "out")
    assert sensitivity.chosen.best.layers == ()
    assert (tmp_path / "out" / "model.onnx").read_bytes() == (chain.onnx / "model.onnx").read_bytes()


def test_weights_of_another_model_are_refused(bad_scale, tmp_path):
    chain = whole()
    shutil.copytree(chain.ptq, tmp_path / "other")
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "other" / "model.safetensors"
    save_file({name: 2 * value for name, value in load_file(path).items()}, str(path))
    with pytest.raises(ExportError, match="is another, seen from the layer stem"):
        find_sensitive_layers(bad_scale, tmp_path / "other", tmp_path / "other", chain.dataset, SPEC, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_layer_is_timed_beside_the_others(bad_scale):
    timed = measure_variants(bad_scale, ["stage8.0"], inferences=3, warmup=1)
    assert set(timed.alone) == {layer.name for layer in layers_of(onnx.load(bad_scale / "model.onnx"))}
    alone = timed.as_json()["one_layer_in_float"]["stage8.0"]
    assert timed.added("stage8.0") == pytest.approx(alone / timed.as_json()["int8"] - 1, abs=0.05)


def test_the_headline_says_what_was_found_and_done(found):
    sensitivity, _ = found
    said = headline(sensitivity, 0.062)
    assert said.startswith("stage8.0 loses most (")
    assert said.endswith("; 1 layer in float holds the gate at +6 % latency")


def a_search(losses: dict[str, float], best: Trial, holds: bool, int8: float) -> Sensitivity:
    layers = tuple(LayerLoss(Layer(name, "Conv"), loss, 0.01, 0.1) for name, loss in losses.items())
    return Sensitivity(layers, 0.7, 0.7 - int8 / 100, Chosen(best, holds, (best,)), 1.0, 200)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            a_search({"a": 0.4, "b": -0.2}, Trial((), 0.3, 0.0), True, 0.3),
            "a loses most (0.4 points); all int8 loses 0.3 points, 1 may be lost",
        ),
        (
            a_search({"a": 0.04, "b": -0.2}, Trial((), -0.6, 0.0), True, -0.6),
            "no layer alone loses; all int8 gains 0.6 points, 1 may be lost",
        ),
        (
            a_search({"a": 1.8, "b": 1.2}, Trial(("a", "b"), 0.7, 0.1), True, 3.0),
            "a loses most (1.8 points); 2 layers in float hold the gate at +10 % latency",
        ),
        (
            a_search({"a": 9.0, "b": 1.0}, Trial(("a",), 1.4, 0.1), False, 12.0),
            "a loses most (9.0 points); the gate does not hold: 1 layer in float, 1.4 points lost, 1 may be",
        ),
    ],
)
def test_the_headline_of_each_outcome(found, said):
    assert headline(found, 0.1) == said
