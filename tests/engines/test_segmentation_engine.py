"""Engines of a segmentation whose images are normalized and stretched: gates, comparison, robot, sensitivity."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from robot_assets.cli import engine as engine_cli
from robot_assets.cli.main import app
from robot_assets.data.packed import open_split
from robot_assets.engines.budgets import GateSpec
from robot_assets.engines.evaluation import evaluate_engine
from robot_assets.engines.gate import GATES, check_engine
from robot_assets.engines.load import load_engine, load_manifest
from robot_assets.sensitivity.analysis import find_sensitive_layers
from robot_assets.sensitivity.spec import SensitivitySpec
from robot_assets.training.evaluate import evaluate
from tests.segmenter_chain import INTERFACE, whole
from tests.tasks.segmentation.drawn_shapes import CLASSES, shapes

GATE = GateSpec(accuracy_drop_points_max=5, latency_ms_p95_max=10_000, parity_differing_share_max=0.2)


def test_the_manifest_has_the_preprocessing_and_the_heads():
    manifest = load_manifest(whole().engine)
    assert manifest.interface == INTERFACE
    assert [head.name for head in manifest.outputs] == ["logits"]
    assert manifest.kernels.int8_convolutions > manifest.kernels.float_convolutions


@pytest.mark.parametrize("helpers", [0, 2])
def test_an_evaluation_has_the_accuracy_of_a_plain_loop(helpers):
    chain = whole()
    found = evaluate_engine(chain.engine, chain.dataset, chain.onnx, helpers=helpers)
    with load_engine(chain.engine) as engine:
        assert found.metrics == evaluate(engine.infer, open_split(chain.dataset, "test"), INTERFACE)
    assert set(found.parity.largest) == {"exclusive_logits"}


def test_its_gates_speak_of_its_metric():
    chain = whole()
    found = check_engine(chain.engine, GATE, GATES, dataset=chain.dataset, baseline=chain.checkpoint, onnx=chain.onnx)
    assert {name: verdict.passed for name, verdict in found.items()} == dict.fromkeys(GATES, True)
    assert found["accuracy"].summary.startswith("mIoU on test ")
    assert found["accuracy"].facts["miou"] > 0.5
    assert "of a probability" in found["parity"].summary
    json.dumps({name: verdict.facts for name, verdict in found.items()}, allow_nan=False)


def test_it_finds_the_classes_of_an_image_of_another_size():
    drawn = shapes(1, seed=99)
    large = drawn.images[0].repeat(3, axis=0).repeat(3, axis=1)
    truth = drawn.masks[0].repeat(3, axis=0).repeat(3, axis=1)
    with load_engine(whole().engine) as engine:
        found = engine.predict(large).labels
    assert found.shape == large.shape[:2]
    assert (found == truth)[truth != 255].mean() > 0.8


def test_run_draws_class_maps_and_prints_their_shares(tmp_path):
    path = tmp_path / "yard.png"
    Image.fromarray(shapes(1, seed=98).images[0]).save(path)
    arguments = ["run", str(whole().engine), str(path), "--out", str(tmp_path / "drawn")]
    done = CliRunner().invoke(engine_cli.app, [*arguments, "--json"], catch_exceptions=False)
    [row] = json.loads(done.stdout)["images"]
    assert row["findings"][0]["class"] == "background"
    assert sum(one["share"] for one in row["findings"]) == pytest.approx(1, abs=0.001)
    assert np.asarray(Image.open(tmp_path / "drawn" / "yard.png")).shape == (64, 96, 3)
    assert "background " in CliRunner().invoke(engine_cli.app, arguments, catch_exceptions=False).stdout


def test_it_is_compared_with_its_onnx_by_its_metric():
    chain = whole()
    arguments = ["engine", "compare", str(chain.engine), str(chain.onnx), "--data", str(chain.dataset)]
    done = CliRunner().invoke(app, [*arguments, "--inferences", "10"], catch_exceptions=False)
    assert "mIoU on test" in done.stdout
    assert "of a probability" in done.stdout
    found = json.loads(
        CliRunner().invoke(app, [*arguments, "--inferences", "10", "--json"], catch_exceptions=False).stdout
    )
    assert abs(found["first"]["miou"] - found["second"]["miou"]) < 0.05


def test_inspect_shows_its_preprocessing():
    done = CliRunner().invoke(app, ["engine", "inspect", str(whole().engine)], catch_exceptions=False)
    shown = " ".join(done.stdout.split())
    assert "BGR less mean 0.4 0.45 0.5 over std 0.25 0.2 0.3, stretch" in shown
    assert "map, as here" in shown
    assert ", ".join(CLASSES) in shown


def test_its_sensitive_layers_are_found(tmp_path):
    chain = whole()
    spec = SensitivitySpec(images=8, drop_points_max=50, metric="output_error")
    found = find_sensitive_layers(
        chain.onnx, {"ptq": chain.ptq, "qat": chain.qat}, chain.dataset, spec, tmp_path / "found"
    )
    assert found.metric.name == "mIoU"
    assert max(layer.output_error for layer in found.layers) > 0
    document = json.loads((tmp_path / "found" / "sensitivity.json").read_text())
    assert document["scores"]["float"] == pytest.approx(found.float_score, abs=1e-6)
