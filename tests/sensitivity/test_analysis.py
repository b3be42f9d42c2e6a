"""A layer with a wrong scale is found and left in float, which restores the accuracy."""

import json
import shutil
from pathlib import Path

import onnx
import pytest

from robot_assets.core.errors import ExportError
from robot_assets.data.packed import open_split
from robot_assets.engines.budgets import GateSpec
from robot_assets.engines.gate import check_engine
from robot_assets.engines.load import load_engine
from robot_assets.engines.onnxruntime.build import build_engine
from robot_assets.export.qdq_layers import Layer, layers_of
from robot_assets.sensitivity.analysis import LayerLoss, Sensitivity, find_sensitive_layers
from robot_assets.sensitivity.latency import measure_variants
from robot_assets.sensitivity.search import SearchResult, Trial
from robot_assets.sensitivity.spec import SensitivitySpec
from robot_assets.sensitivity.summary import headline
from robot_assets.tasks.detection.task import METRIC
from robot_assets.training.evaluate import evaluate
from tests.detector_chain import INTERFACE, TARGET, whole
from tests.synthetic.corrupted import corrupt_scale

SPEC = SensitivitySpec(images=8, drop_points_max=1.0)


def weights_of(chain) -> dict[str, Path]:
    return {"ptq": chain.ptq, "qat": chain.qat}


@pytest.fixture(scope="module")
def bad_scale(tmp_path_factory) -> Path:
    return corrupt_scale(whole().onnx, tmp_path_factory.mktemp("ruined") / "onnx", "stage8.0", 400.0)


@pytest.fixture(scope="module")
def found(bad_scale, tmp_path_factory):
    out = tmp_path_factory.mktemp("found") / "sensitivity"
    chain = whole()
    return find_sensitive_layers(bad_scale, weights_of(chain), chain.dataset, SPEC, out), out


def test_the_layer_with_the_wrong_scale_has_the_largest_loss(found):
    sensitivity, _ = found
    assert sensitivity.worst.layer.name == "stage8.0"
    assert sensitivity.worst.drop_points > 10
    assert max(one.drop_points for one in sensitivity.layers if one.layer.name != "stage8.0") < 10


def test_that_layer_alone_in_float_restores_the_accuracy(found):
    sensitivity, out = found
    assert sensitivity.int8_drop_points > SPEC.drop_points_max
    assert sensitivity.chosen.holds
    assert sensitivity.chosen.best.layers == ("stage8.0",)
    assert json.loads((out / "sensitivity.json").read_text())["float_layers"] == ["stage8.0"]
    assert "stage8.0" not in {layer.name for layer in layers_of(onnx.load(out / "model.onnx"))}


def test_an_engine_of_the_artifact_is_accurate_again(found, bad_scale, tmp_path):
    _, out = found
    val = open_split(whole().dataset, "val")
    scores = {}
    for name, source in (("wrong", bad_scale), ("mixed", out), ("exported", whole().onnx)):
        build_engine(source, TARGET, tmp_path / name)
        scores[name] = evaluate(load_engine(tmp_path / name).infer, val, INTERFACE).score
    assert scores["wrong"] < scores["exported"] - 0.1
    assert scores["mixed"] > scores["exported"] - 0.02
    gate = GateSpec(latency_ms_p95_max=1000)
    [parity] = check_engine(tmp_path / "mixed", gate, ["parity"], dataset=whole().dataset, onnx=out).values()
    assert parity.passed, parity.summary


def test_the_same_inputs_give_the_same_bytes(found, bad_scale, tmp_path):
    _, out = found
    chain = whole()
    find_sensitive_layers(bad_scale, weights_of(chain), chain.dataset, SPEC, tmp_path / "again")
    names = sorted(path.name for path in out.iterdir())
    assert names == ["model.json", "model.onnx", "reference.safetensors", "sensitivity.json"]
    assert all((out / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_a_graph_within_the_bound_is_not_changed(tmp_path):
    chain = whole()
    spec = SensitivitySpec(images=8, drop_points_max=100.0)
    sensitivity = find_sensitive_layers(chain.onnx, weights_of(chain), chain.dataset, spec, tmp_path / "out")
    assert sensitivity.chosen.best.layers == ()
    assert (tmp_path / "out" / "model.onnx").read_bytes() == (chain.onnx / "model.onnx").read_bytes()


def test_weights_of_another_model_are_refused(bad_scale, tmp_path):
    chain = whole()
    shutil.copytree(chain.ptq, tmp_path / "other")
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "other" / "model.safetensors"
    save_file({name: 2 * value for name, value in load_file(path).items()}, str(path))
    other = dict.fromkeys(("ptq", "qat"), tmp_path / "other")
    with pytest.raises(ExportError, match="does not round to the weights of layer stem"):
        find_sensitive_layers(bad_scale, other, chain.dataset, SPEC, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_layer_is_timed(bad_scale):
    timed = measure_variants(bad_scale, ["stage8.0"], inferences=3, warmup=1)
    assert set(timed.alone) == {layer.name for layer in layers_of(onnx.load(bad_scale / "model.onnx"))}
    alone = timed.as_json()["one_layer_in_float"]["stage8.0"]
    assert timed.added("stage8.0") == pytest.approx(alone / timed.as_json()["int8"] - 1, abs=0.05)


def test_the_headline_names_the_worst_layer_and_the_choice(found):
    sensitivity, _ = found
    text = headline(sensitivity, 0.062)
    assert text.startswith("stage8.0 loses most (")
    assert text.endswith("; 1 layer in float meets the bound at +6 % latency")


def result(losses: dict[str, float], best: Trial, holds: bool, int8: float) -> Sensitivity:
    layers = tuple(LayerLoss(Layer(name, "Conv"), loss, 0.01, 0.1) for name, loss in losses.items())
    return Sensitivity(METRIC, layers, 0.7, 0.7 - int8 / 100, SearchResult(best, holds, (best,)), 1.0, 200)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (
            result({"a": 0.4, "b": -0.2}, Trial((), 0.3, 0.0), True, 0.3),
            "a loses most (0.4 points); all int8 loses 0.3 points, at most 1 allowed",
        ),
        (
            result({"a": 0.04, "b": -0.2}, Trial((), -0.6, 0.0), True, -0.6),
            "no layer alone loses accuracy; all int8 gains 0.6 points, at most 1 allowed",
        ),
        (
            result({"a": 1.8, "b": 1.2}, Trial(("a", "b"), 0.7, 0.1), True, 3.0),
            "a loses most (1.8 points); 2 layers in float meet the bound at +10 % latency",
        ),
        (
            result({"a": 9.0, "b": 1.0}, Trial(("a",), 1.4, 0.1), False, 12.0),
            "a loses most (9.0 points); the bound is not met: 1.4 points lost with 1 layer in float, at most 1 allowed",
        ),
    ],
)
def test_the_headline_of_each_outcome(found, text):
    assert headline(found, 0.1) == text


def test_a_headline_without_a_latency_has_none():
    found = result({"a": 1.8}, Trial(("a",), 0.7, 0.1), True, 3.0)
    assert headline(found) == "a loses most (1.8 points); 1 layer in float meets the bound"
