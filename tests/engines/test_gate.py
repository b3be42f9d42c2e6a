"""Gates say yes or no with figures, and what to do."""

import json
import shutil

import pytest

from robot_assets.engines.benchmark import Latencies, compare, interleave, measure
from robot_assets.engines.gate import check_accuracy, check_latency
from robot_assets.engines.spec import GateSpec
from robot_assets.errors import EngineError
from robot_assets.export.onnx_export import export_float
from tests.detector_chain import whole


def gate(**changes) -> GateSpec:
    return GateSpec(**{"latency_ms_p95_max": 10_000.0} | changes)


def checkpoint_that_reached(map50: float, folder):
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps({"test": {"map50": map50}}))
    return folder


def test_an_engine_near_its_checkpoint_passes():
    chain = whole()
    verdict = check_accuracy(chain.engine, chain.checkpoint, chain.dataset, gate(accuracy_drop_points_max=8.0))
    assert verdict.passed, verdict.summary
    assert verdict.fix == ""
    assert verdict.facts["map50"] > 0.2


def test_an_engine_that_lost_too_much_fails_with_both_figures_and_a_way_out(tmp_path):
    chain = whole()
    checkpoint = checkpoint_that_reached(0.99, tmp_path / "checkpoint")
    verdict = check_accuracy(chain.engine, checkpoint, chain.dataset, gate())
    assert not verdict.passed
    assert "checkpoint 99.00" in verdict.summary
    assert "params.yaml" in verdict.fix


def test_an_engine_that_gained_passes(tmp_path):
    chain = whole()
    verdict = check_accuracy(
        chain.engine, checkpoint_that_reached(0.01, tmp_path / "checkpoint"), chain.dataset, gate()
    )
    assert verdict.passed
    assert "gained" in verdict.summary


def test_a_checkpoint_without_test_metrics_is_refused(tmp_path):
    chain = whole()
    shutil.copytree(chain.checkpoint, tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "metrics.json").write_text("{}")
    with pytest.raises(EngineError, match=r"metrics\.json"):
        check_accuracy(chain.engine, tmp_path / "checkpoint", chain.dataset, gate())


def test_latency_within_the_budget_passes_and_keeps_every_latency():
    verdict = check_latency(whole().engine, gate(), inferences=20)
    assert verdict.passed
    assert len(verdict.facts["latencies_ms"]) == 20
    json.dumps(verdict.facts)


def test_latency_above_the_budget_fails_and_says_what_to_change():
    verdict = check_latency(whole().engine, gate(latency_ms_p95_max=1e-6), inferences=20)
    assert not verdict.passed
    assert "network.width" in verdict.fix


def test_percentiles_are_those_of_the_latencies():
    latencies = Latencies(tuple(float(value) for value in range(1, 102)))
    assert (latencies.p50, latencies.p95, latencies.p99) == (51.0, 96.0, 100.0)


def test_calls_alternate_and_warm_up_is_not_counted():
    order = []
    found = interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, inferences=3, warmup=2)
    assert order == ["a", "b"] * 5
    assert {name: len(one.milliseconds) for name, one in found.items()} == {"a": 3, "b": 3}


def test_an_engine_is_compared_with_the_float_model_on_its_own_threads(tmp_path):
    export_float(whole().checkpoint, tmp_path / "float.onnx")
    found = compare(whole().engine, tmp_path / "float.onnx", inferences=10, warmup=1)
    assert found.threads == 1
    assert found.speedup == found.float32.p50 / found.engine.p50
    assert len(measure(whole().engine, 10, 1).milliseconds) == 10
