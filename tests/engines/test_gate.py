"""Gates judge with figures, and an engine that fails comes with a fix."""

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from robot_assets.core.errors import EngineError, ExportError, ParamsError
from robot_assets.core.verdict import Verdict
from robot_assets.engines.benchmark import Latencies, compare, interleave, measure
from robot_assets.engines.budgets import BUDGETS, GateSpec
from robot_assets.engines.evaluation import INFERENCES_MIN, Evaluation, evaluate_engine
from robot_assets.engines.gate import GATES, check_engine, judge
from robot_assets.export.onnx_export import export_float
from robot_assets.lineage.code import Code
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.params import Params, parse_params
from robot_assets.platforms.meters import Telemetry
from tests.detector_chain import whole

ROOT = Path(__file__).parents[2]


def params(**gate) -> Params:
    """A project with one model on one target, whose budgets are ``gate``."""
    dataset = {
        "source": {"kind": "dvc", "pointer": "data/raw/yard.dvc"},
        "classes": ["red", "green"],
        "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        "calibration_images": 16,
    }
    model = {
        "task": "detection",
        "dataset": "yard",
        "targets": ["cpu"],
        "network": {"input_height": 64, "input_width": 96, "width": 8, "depth": 1},
        "training": {"epochs": 4, "batch_size": 8, "learning_rate": 0.004},
        "quantization": {"ptq": {}, "qat": {"epochs": 1, "learning_rate": 0.0001}},
    }
    return parse_params(
        {
            "store": {"url": "store"},
            "datasets": {"yard": dataset},
            "models": {"small_detector": model},
            "targets": {"cpu": {"kind": "onnxruntime", "gate": gate}},
        }
    )


def gate(**changes) -> GateSpec:
    return GateSpec(**{"latency_ms_p95_max": 10_000.0} | changes)


@cache
def evaluation() -> Evaluation:
    chain = whole()
    return evaluate_engine(chain.engine, chain.dataset, chain.onnx)


def accuracy(checkpoint, **changes) -> Verdict:
    chain = whole()
    found = check_engine(chain.engine, gate(**changes), ["accuracy"], dataset=chain.dataset, baseline=checkpoint)
    return found["accuracy"]


def checkpoint_with(map50: float, folder):
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps({"test": {"map50": map50}}))
    return folder


def test_an_engine_within_its_accuracy_budget_passes():
    verdict = accuracy(whole().checkpoint, accuracy_drop_points_max=8.0)
    assert verdict.passed, verdict.summary
    assert verdict.fix == ""
    assert verdict.facts["map50"] > 0.2


def test_an_engine_that_lost_too_much_fails_with_both_figures_and_a_fix(tmp_path):
    verdict = accuracy(checkpoint_with(0.99, tmp_path / "checkpoint"))
    assert not verdict.passed
    assert "float 99.00" in verdict.summary
    assert "params.yaml" in verdict.fix


def test_an_engine_that_gained_passes(tmp_path):
    verdict = accuracy(checkpoint_with(0.01, tmp_path / "checkpoint"))
    assert verdict.passed
    assert "gained" in verdict.summary


def test_a_checkpoint_without_test_metrics_is_refused(tmp_path):
    shutil.copytree(whole().checkpoint, tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "metrics.json").write_text("{}")
    with pytest.raises(EngineError, match=r"metrics\.json"):
        accuracy(tmp_path / "checkpoint")


def test_one_evaluation_serves_every_gate_and_facts_are_plain_data():
    chain = whole()
    found = check_engine(
        chain.engine,
        gate(accuracy_drop_points_max=8.0),
        GATES,
        dataset=chain.dataset,
        baseline=chain.checkpoint,
        onnx=chain.onnx,
    )
    assert list(found) == ["accuracy", "parity", "latency", "resources"]
    assert all(verdict.passed for verdict in found.values())
    json.dumps({name: verdict.facts for name, verdict in found.items()}, allow_nan=False)


def test_a_small_split_is_run_several_times_for_enough_latencies():
    verdict = judge("latency", evaluation(), gate())
    assert len(verdict.facts["latencies_ms"]) >= INFERENCES_MIN
    assert verdict.facts["throughput_images_per_s"] > 0


@pytest.mark.parametrize(
    "budget",
    [
        {"latency_ms_p50_max": 1e-6},
        {"latency_ms_p95_max": 1e-6},
        {"latency_ms_p99_max": 1e-6, "latency_ms_p95_max": 1e-6},
        {"throughput_images_per_s_min": 1e9},
    ],
    ids=lambda budget: next(iter(budget)),
)
def test_latency_above_any_of_its_budgets_fails_with_a_fix(budget):
    verdict = judge("latency", evaluation(), gate(**budget))
    assert not verdict.passed
    assert next(iter(budget)) in verdict.summary
    assert "network.width" in verdict.fix


def test_the_heads_of_an_engine_are_near_the_recorded_heads_of_its_onnx():
    verdict = judge("parity", evaluation(), gate(parity_differing_share_max=0.2))
    assert verdict.passed, verdict.summary
    assert verdict.facts["images"] == 8
    assert verdict.facts["parity_differing_share_max"] == 0.2


def test_an_engine_whose_heads_differ_from_its_onnx_fails_parity(tmp_path):
    chain = whole()
    shutil.copytree(chain.onnx, tmp_path / "onnx")
    path = tmp_path / "onnx" / "reference.safetensors"
    heads = load_file(path)
    path.chmod(0o644)
    save_file({**heads, "box_s8": heads["box_s8"] + np.float32(0.5)}, path)
    found = check_engine(
        chain.engine, gate(parity_differing_share_max=0.2), ["parity"], dataset=chain.dataset, onnx=tmp_path / "onnx"
    )["parity"]
    assert not found.passed
    assert "engine compare" in found.fix


def test_without_a_budget_parity_reports_and_passes():
    verdict = judge("parity", evaluation(), gate())
    assert verdict.passed
    assert "no budget" in verdict.summary


@pytest.mark.parametrize("heads", [b"", b"no tensors", None])
def test_an_onnx_without_recorded_heads_is_refused(tmp_path, heads):
    chain = whole()
    (tmp_path / "onnx").mkdir()
    if heads is not None:
        (tmp_path / "onnx" / "reference.safetensors").write_bytes(heads)
    with pytest.raises(ExportError, match=r"reference\.safetensors"):
        check_engine(chain.engine, gate(), ["parity"], dataset=chain.dataset, onnx=tmp_path / "onnx")


def test_the_resources_of_an_engine_are_reported_without_a_budget():
    verdict = judge("resources", evaluation(), gate())
    assert verdict.passed
    assert verdict.facts["load_s"] > 0
    assert verdict.facts["engine_size_mib"] == round(evaluation().manifest.engine_size_bytes / 2**20, 3)
    assert verdict.facts["memory_of"] == "process"


@pytest.mark.parametrize("budget", ["load_s_max", "engine_size_mib_max"])
def test_resources_above_a_budget_fail_and_name_it(budget):
    verdict = judge("resources", evaluation(), gate(**{budget: 1e-9}))
    assert not verdict.passed
    assert f"{budget} is 1e-09" in verdict.summary
    assert verdict.fix


WARM = Telemetry(power_w_mean=9.5, power_w_max=12.25, power_of="VDD_IN", temperature_c_max=71.5, hottest="gpu-thermal")


@pytest.mark.parametrize(("budget", "passes"), [({"power_w_max": 9.4}, False), ({"power_w_max": 9.6}, True)])
def test_the_budget_of_power_is_for_its_average(budget, passes):
    verdict = judge("resources", replace(evaluation(), telemetry=WARM), gate(**budget))
    assert verdict.passed == passes
    assert "9.5 W on average (VDD_IN)" in verdict.summary
    assert verdict.facts["hottest"] == "gpu-thermal"


@pytest.mark.parametrize("budget", ["power_w_max", "temperature_c_max"])
def test_a_budget_without_a_sensor_fails_and_says_so(budget):
    verdict = judge("resources", replace(evaluation(), telemetry=Telemetry()), gate(**{budget: 1000}))
    assert not verdict.passed
    assert "this device does not report its" in verdict.summary
    assert budget in verdict.fix


def test_facts_without_a_sensor_are_absent():
    verdict = judge("resources", replace(evaluation(), telemetry=Telemetry()), gate())
    assert verdict.passed
    assert not {name for name in verdict.facts if name.startswith(("power", "temperature", "hottest"))}
    assert "no sensor for power or temperature on this device" in verdict.summary


@pytest.mark.parametrize("budgets", [{}, {"temperature_c_max": 80.0, "load_s_max": 60.0}])
def test_a_fact_with_the_name_of_a_budget_is_the_budget(budgets):
    """Signed statements have no other place for the budgets that an engine was judged by."""
    found, spec = replace(evaluation(), telemetry=WARM), gate(**budgets)
    facts = {name: judge(name, found, spec, before=0.9).facts for name in GATES}
    stated = {key: value for name in GATES for key, value in facts[name].items() if key in GateSpec.model_fields}
    assert stated == {key: value for name in GATES for key, value in spec.of(name).items()}
    assert facts["resources"]["temperature_c_highest"] == 71.5


def test_every_budget_belongs_to_one_gate():
    named = [name for names in BUDGETS.values() for name in names]
    assert sorted([*named, "no_holes"]) == sorted(GateSpec.model_fields), "no_holes is judged without an evaluation"


def test_a_changed_budget_changes_the_version_of_its_own_gate_alone():
    def versions(**budgets):
        stage, code = build_graph(params(latency_ms_p95_max=40, **budgets))["small_detector/engine/cpu"], Code()
        return {gate.name: code.version(gate.code, gate.params) for gate in stage.gates}, stage.params

    before, of_engine = versions()
    after, of_engine_then = versions(memory_mib_max=100)
    assert {name for name in before if before[name] != after[name]} == {"resources"}
    assert of_engine == of_engine_then


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ({"latency_ms_p50_max": 50, "latency_ms_p95_max": 40}, "latency_ms_p50_max of at most latency_ms_p95_max"),
        ({"latency_ms_p95_max": 40, "latency_ms_p99_max": 30}, "latency_ms_p95_max of at most latency_ms_p99_max"),
        ({"parity_differing_share_max": 1.5, "latency_ms_p95_max": 40}, "parity_differing_share_max"),
        ({"power_w_max": 0, "latency_ms_p95_max": 40}, "power_w_max"),
        ({"memory_mb_max": 10, "latency_ms_p95_max": 40}, "did you mean 'memory_mib_max'"),
    ],
)
def test_budgets_that_contradict_each_other_or_are_impossible_are_refused(budgets, message):
    with pytest.raises(ParamsError, match=message):
        params(**budgets)


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
    assert found.runs_on == "1 thread"
    assert found.speedup == found.float32.p50 / found.engine.p50
    assert len(measure(whole().engine, 10, 1).milliseconds) == 10


def test_the_docs_name_every_gate_and_every_budget():
    text = (ROOT / "docs" / "gates.md").read_text()
    assert {name for name in (*BUDGETS, *GateSpec.model_fields) if f"`{name}`" not in text} == set()
