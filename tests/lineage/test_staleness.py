"""Stale is a level; equal bytes cut off; gates are asked again when they or what they read changes."""

from dataclasses import replace
from pathlib import Path

import pytest

from robot_assets.lineage.code_version import Code
from robot_assets.lineage.graph import Stage, build_graph
from robot_assets.lineage.record import desired_state
from robot_assets.lineage.staleness import Built, GateResult, State, Status, gate_state, present_inputs, statuses
from robot_assets.pipeline.params import load_params

_WHOLE = load_params(Path(__file__).parents[2] / "params.yaml")
_CPU = _WHOLE.targets["cpu"].model_copy(update={"profile": None})
PARAMS = _WHOLE.model_copy(update={"targets": {"cpu": _CPU}})
"""Without what several models share."""
GRAPH = build_graph(PARAMS)
CODE = Code()
ENGINE = "sidewalk_detector/engine/cpu"
ONNX = "sidewalk_detector/onnx"
PTQ = "sidewalk_detector/ptq"
GATES = tuple(gate.name for gate in GRAPH[ENGINE].gates)
CHECKPOINT = "sidewalk_detector/checkpoint"


def built_for(stage: Stage, built: dict[str, Built]) -> str:
    """The state that a build of ``stage`` reaches, from what stands."""
    return desired_state(stage.asset, CODE.version(stage.module, stage.params), present_inputs(stage, built))


@pytest.fixture
def everything_built() -> dict[str, Built]:
    """A history in which every asset was built from what stands now and passed its gates."""
    built: dict[str, Built] = {}
    for stage in GRAPH.values():
        built[stage.asset] = Built(f"version-of-{stage.asset}")
        if not stage.is_observed:
            built[stage.asset] = replace(built[stage.asset], state=built_for(stage, built))
    for stage in GRAPH.values():
        gates = {gate.name: GateResult(gate_state(stage.asset, gate, built, CODE), True) for gate in stage.gates}
        built[stage.asset] = replace(built[stage.asset], gates=gates)
    return built


def look(built: dict[str, Built], graph: dict[str, Stage] = GRAPH) -> dict[str, Status]:
    return statuses(graph, built, CODE)


def unfresh(built: dict[str, Built], graph: dict[str, Stage] = GRAPH) -> dict[str, State]:
    return {name: status.state for name, status in look(built, graph).items() if not status.is_fresh}


def with_gate(built: dict[str, Built], asset: str, gate: str, passed: bool) -> dict[str, Built]:
    results = {**built[asset].gates, gate: replace(built[asset].gates[gate], passed=passed)}
    return {**built, asset: replace(built[asset], gates=results)}


def with_budget(milliseconds: float) -> dict[str, Stage]:
    """The graph when the latency budget of cpu is another one."""
    cpu = PARAMS.targets["cpu"]
    target = cpu.model_copy(update={"gate": cpu.gate.model_copy(update={"latency_ms_p95_max": milliseconds})})
    return build_graph(PARAMS.model_copy(update={"targets": {"cpu": target}}))


def test_what_was_built_from_what_stands_is_fresh(everything_built):
    assert unfresh(everything_built) == {}


def test_nothing_built_is_missing_everywhere_and_only_what_has_all_its_inputs_is_ready():
    found = look({})
    assert {status.state for status in found.values()} == {State.MISSING}
    assert [name for name, status in found.items() if status.is_ready] == ["raw/sidewalk"]


def test_a_changed_device_makes_exactly_its_engines_stale(everything_built):
    everything_built["platform/cpu"] = Built("another device")
    assert unfresh(everything_built) == {ENGINE: State.STALE, "robocup_detector/engine/cpu": State.STALE}


def test_a_change_that_is_undone_is_no_change(everything_built):
    before = everything_built["platform/cpu"]
    everything_built["platform/cpu"] = Built("another device")
    assert unfresh(everything_built)
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
    state = built_for(GRAPH["datasets/robocup"], everything_built)
    everything_built["datasets/robocup"] = replace(everything_built["datasets/robocup"], state=state)
    results = {
        gate.name: GateResult(gate_state("datasets/robocup", gate, everything_built, CODE), True)
        for gate in GRAPH["datasets/robocup"].gates
    }
    assert everything_built["datasets/robocup"].gates == results
    assert unfresh(everything_built) == {}


def test_an_asset_that_is_stale_itself_and_waits_for_another_says_both(everything_built):
    everything_built[ONNX] = replace(everything_built[ONNX], state="of another code")
    everything_built[PTQ] = replace(everything_built[PTQ], state="of another code")
    found = look(everything_built)
    assert (found[PTQ].state, found[PTQ].waits_for) == (State.STALE, ())
    assert (found[ONNX].state, found[ONNX].waits_for) == (State.STALE, (PTQ,))
    assert found[PTQ].is_ready
    assert not found[ONNX].is_ready
    assert (found[ENGINE].state, found[ENGINE].waits_for) == (State.BEHIND, (ONNX,))


@pytest.mark.parametrize("inputs", [(CHECKPOINT, PTQ), (CHECKPOINT, PTQ, "sidewalk_detector/qat", "platform/cpu")])
def test_an_added_and_a_removed_input_count(everything_built, inputs):
    graph = {**GRAPH, ONNX: replace(GRAPH[ONNX], inputs=inputs)}
    assert unfresh(everything_built, graph) == {ONNX: State.STALE, ENGINE: State.BEHIND}


def test_an_added_input_counts_before_it_was_ever_built(everything_built):
    grown = {"raw/new": replace(GRAPH["raw/robocup"], asset="raw/new"), **GRAPH}
    grown[CHECKPOINT] = replace(GRAPH[CHECKPOINT], inputs=(*GRAPH[CHECKPOINT].inputs, "raw/new"))
    found = look(everything_built, grown)
    assert found["raw/new"].state is State.MISSING
    assert (found[CHECKPOINT].state, found[CHECKPOINT].waits_for) == (State.STALE, ("raw/new",))


def test_bytes_lost_from_the_store_have_to_be_made_again(everything_built):
    everything_built[ENGINE] = replace(everything_built[ENGINE], is_stored=False)
    assert unfresh(everything_built) == {ENGINE: State.STALE}


def test_an_asset_that_something_else_reported_is_stale(everything_built):
    everything_built[PTQ] = Built(everything_built[PTQ].data_version)
    assert unfresh(everything_built) == {PTQ: State.STALE, ONNX: State.BEHIND, ENGINE: State.BEHIND}


def test_a_failed_gate_stops_what_depends_on_the_asset(everything_built):
    built = with_gate(everything_built, ONNX, "parity", False)
    assert unfresh(built) == {ONNX: State.GATE_FAILED, ENGINE: State.BEHIND}
    assert look(built)[ONNX].failed_gates == look(built)[ONNX].due_gates == ("parity",)


def test_a_gate_that_failed_on_an_asset_that_is_behind_has_to_wait(everything_built):
    built = with_gate(everything_built, ENGINE, "latency", False)
    built[PTQ] = replace(built[PTQ], state="of another code")
    assert (look(built)[ENGINE].state, look(built)[ENGINE].due_gates) == (State.BEHIND, ())


def test_a_new_budget_asks_for_the_gate_again_and_not_for_the_engine(everything_built):
    found = look(everything_built, with_budget(1.0))
    assert (found[ENGINE].state, set(found[ENGINE].due_gates)) == (State.GATE_DUE, {"latency"})
    assert found[ENGINE].failed_gates == ()
    assert found[ONNX].state is State.FRESH


def rebuilt(built: dict[str, Built], name: str, data_version: str | None = None) -> dict[str, Built]:
    """After a build of one asset from what stands, to the same bytes when none are given; no gate has run again."""
    made = replace(built[name], state=built_for(GRAPH[name], built))
    return {**built, name: replace(made, data_version=data_version or made.data_version)}


def test_a_gate_is_due_again_when_its_asset_comes_out_with_other_bytes(everything_built):
    built = rebuilt(everything_built, ENGINE, "other bytes")
    assert (look(built)[ENGINE].state, look(built)[ENGINE].due_gates) == (State.GATE_DUE, GATES)
    assert unfresh(rebuilt(built, ENGINE, everything_built[ENGINE].data_version)) == {}


def test_a_gate_is_due_again_when_something_else_that_it_reads_changes(everything_built):
    """The engine is the same, the checkpoint that its accuracy is compared with is another."""
    built = rebuilt(everything_built, CHECKPOINT, "other weights")
    for name in (PTQ, "sidewalk_detector/qat", ONNX, ENGINE):
        built = rebuilt(built, name)
    assert unfresh(built) == {ENGINE: State.GATE_DUE}
    assert look(built)[ENGINE].due_gates == ("accuracy",)


def test_two_gates_of_one_code_have_states_of_their_own(everything_built):
    alike = [replace(gate, inputs=(), params={}) for gate in GRAPH[ENGINE].gates]
    states = {gate_state(ENGINE, gate, everything_built, CODE) for gate in alike}
    assert len(states | {built_for(GRAPH[ENGINE], everything_built)}) == len(GATES) + 1


def test_a_failed_gate_is_due_before_one_that_has_not_run(everything_built):
    built = with_gate(everything_built, ENGINE, "latency", False)
    built[ENGINE] = replace(built[ENGINE], gates={"latency": built[ENGINE].gates["latency"]})
    assert look(built)[ENGINE].due_gates == ("latency", *(name for name in GATES if name != "latency"))
    assert look(built)[ENGINE].state is State.GATE_FAILED


def test_a_failed_gate_with_a_new_budget_is_a_new_state_to_be_asked_for(everything_built):
    built = with_gate(everything_built, ENGINE, "latency", False)
    failed, tried = look(built)[ENGINE], look(built, with_budget(80.0))[ENGINE]
    assert (failed.state, tried.state) == (State.GATE_FAILED, State.GATE_DUE)
    assert failed.desired_state != tried.desired_state
    assert look(built)[ENGINE].desired_state == failed.desired_state


def test_a_parameter_of_one_model_leaves_the_other_alone(everything_built):
    model = PARAMS.models["sidewalk_detector"]
    longer = model.model_copy(update={"training": model.training.model_copy(update={"epochs": 999})})
    graph = build_graph(PARAMS.model_copy(update={"models": {**PARAMS.models, "sidewalk_detector": longer}}))
    found = look(everything_built, graph)
    assert all(name.startswith("sidewalk_detector/") for name, status in found.items() if not status.is_fresh)
    assert (found[CHECKPOINT].state, found[CHECKPOINT].waits_for) == (State.STALE, ())
    assert found["sidewalk_detector/qat"].state is State.STALE
    assert found["sidewalk_detector/qat"].waits_for == (CHECKPOINT,)
    assert found[PTQ].state is State.BEHIND


def test_the_desired_state_names_code_and_inputs(everything_built):
    before = look(everything_built)[ENGINE].desired_state
    everything_built["platform/cpu"] = Built("another device")
    after = look(everything_built)[ENGINE].desired_state
    assert before != after
    assert look(everything_built)[ENGINE].desired_state == after
