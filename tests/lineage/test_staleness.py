"""Stale is a level with causes; equal bytes cut off; gates are asked again when they or their inputs change."""

from dataclasses import replace
from pathlib import Path

import pytest

from robot_assets.lineage.graph import Stage, build_graph
from robot_assets.lineage.staleness import (
    Built,
    GateResult,
    State,
    gate_state,
    stage_code_version,
    statuses,
)
from robot_assets.params import load_params

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
GRAPH = build_graph(PARAMS)
ENGINE = "sidewalk_detector/engine/cpu"
ONNX = "sidewalk_detector/onnx"


@pytest.fixture
def everything_built() -> dict[str, Built]:
    """A history in which every asset was built from what stands now and passed its gates."""
    built: dict[str, Built] = {}
    for stage in GRAPH.values():
        built[stage.asset] = Built(f"version-of-{stage.asset}")
        if not stage.is_observed:
            inputs = {name: built[name].data_version for name in stage.inputs}
            built[stage.asset] = replace(built[stage.asset], code_version=stage_code_version(stage), inputs=inputs)
    for stage in GRAPH.values():
        gates = {gate.name: GateResult(gate_state(stage.asset, gate, built), True) for gate in stage.gates}
        built[stage.asset] = replace(built[stage.asset], gates=gates)
    return built


def unfresh(built: dict[str, Built], graph: dict[str, Stage] = GRAPH) -> dict[str, State]:
    return {name: one.state for name, one in statuses(graph, built).items() if one.state is not State.FRESH}


def test_what_was_built_from_what_stands_is_fresh(everything_built):
    assert unfresh(everything_built) == {}


def test_nothing_built_is_missing_everywhere():
    assert set(unfresh({}).values()) == {State.MISSING}


def test_a_changed_device_makes_exactly_its_engines_stale(everything_built):
    everything_built["platform/cpu"] = Built("another device")
    assert unfresh(everything_built) == {
        ENGINE: State.STALE,
        "robocup_detector/engine/cpu": State.STALE,
    }
    assert statuses(GRAPH, everything_built)[ENGINE].causes == ("platform/cpu changed (version- -> another )",)


def test_a_change_that_is_undone_is_no_change(everything_built):
    before = everything_built["platform/cpu"]
    everything_built["platform/cpu"] = Built("another device")
    everything_built["platform/cpu"] = before
    assert unfresh(everything_built) == {}


def test_new_data_is_stale_once_and_behind_after(everything_built):
    everything_built["raw/robocup"] = Built("new recordings")
    found = unfresh(everything_built)
    assert found.pop("datasets/robocup") is State.STALE
    assert set(found) == {name for name in GRAPH if name.startswith("robocup_detector/")}
    assert set(found.values()) == {State.BEHIND}


def test_the_same_bytes_cut_off(everything_built):
    everything_built["raw/robocup"] = Built("new recordings")
    dataset = everything_built["datasets/robocup"]
    everything_built["datasets/robocup"] = replace(dataset, inputs={"raw/robocup": "new recordings"})
    assert unfresh(everything_built) == {}


def test_an_added_and_a_removed_input_count(everything_built):
    everything_built[ONNX] = replace(everything_built[ONNX], inputs={"gone": "x"})
    causes = statuses(GRAPH, everything_built)[ONNX].causes
    assert "gone is no longer an input" in causes
    assert "sidewalk_detector/ptq is a new input" in causes


def test_bytes_lost_from_the_store_have_to_be_made_again(everything_built):
    everything_built[ENGINE] = replace(everything_built[ENGINE], is_stored=False)
    assert unfresh(everything_built) == {ENGINE: State.STALE}


def test_a_failed_gate_stops_what_depends_on_the_asset(everything_built):
    gates = dict(everything_built[ONNX].gates)
    gates["parity"] = replace(gates["parity"], passed=False)
    everything_built[ONNX] = replace(everything_built[ONNX], gates=gates)
    assert unfresh(everything_built) == {ONNX: State.GATE_FAILED, ENGINE: State.BEHIND}


def test_a_new_budget_asks_for_the_gate_again_and_not_for_the_engine(everything_built):
    cpu = PARAMS.targets["cpu"]
    tighter = cpu.model_copy(update={"gate": cpu.gate.model_copy(update={"latency_ms_p95_max": 1.0})})
    graph = build_graph(PARAMS.model_copy(update={"targets": {"cpu": tighter}}))
    found = statuses(graph, everything_built)
    assert found[ENGINE].state is State.GATE_DUE
    assert found[ONNX].state is State.FRESH


def test_a_parameter_of_one_model_leaves_the_other_alone(everything_built):
    model = PARAMS.models["sidewalk_detector"]
    longer = model.model_copy(update={"training": model.training.model_copy(update={"epochs": 999})})
    graph = build_graph(PARAMS.model_copy(update={"models": {**PARAMS.models, "sidewalk_detector": longer}}))
    assert all(name.startswith("sidewalk_detector/") for name in unfresh(everything_built, graph))
    assert unfresh(everything_built, graph)["sidewalk_detector/checkpoint"] is State.STALE


def test_the_desired_state_names_code_and_inputs(everything_built):
    before = statuses(GRAPH, everything_built)[ENGINE].desired_state
    everything_built["platform/cpu"] = Built("another device")
    after = statuses(GRAPH, everything_built)[ENGINE].desired_state
    assert before != after
    assert statuses(GRAPH, everything_built)[ENGINE].desired_state == after
