"""Stale is a level; equal bytes stop a rebuild; gates are due again when they or what they read changes."""

from dataclasses import replace

import pytest

from robot_assets.lineage.graph import Gate, Stage
from robot_assets.lineage.record import desired_state
from robot_assets.lineage.staleness import Built, GateResult, State, Status, gate_state, present_inputs, statuses
from tests.lineage.worlds import GivenCode

ENTRY = "toy.make:make"
CODE = GivenCode({ENTRY: "one"})
DEVICE = "platform/cpu"
RAW, DATASET = "raw/yard", "datasets/yard"
CHECKPOINT, PTQ, QAT, ONNX, ENGINE = (f"mower/{stage}" for stage in ("checkpoint", "ptq", "qat", "onnx", "engine/cpu"))
GATES = ("accuracy", "latency", "resources")


def gate(name: str, *inputs: str, **params: float) -> Gate:
    return Gate(name, f"The {name} is right.", (ENTRY,), params, inputs)


def made(asset: str, *inputs: str, gates: tuple[Gate, ...] = (), **params: float) -> Stage:
    return Stage(asset, "made", (ENTRY,), params, inputs, gates)


def model(name: str, dataset: str, epochs: int = 3, latency_ms: float = 40) -> list[Stage]:
    """The stages of one model: a gate on its ONNX, and three on its engine, of which one reads its checkpoint."""
    checkpoint, ptq, qat, onnx, engine = (f"{name}/{one}" for one in ("checkpoint", "ptq", "qat", "onnx", "engine/cpu"))
    engine_gates = (
        gate("accuracy", checkpoint, dataset, drop_points=1),
        gate("latency", dataset, ms=latency_ms),
        gate("resources", dataset),
    )
    return [
        made(checkpoint, dataset, epochs=epochs),
        made(ptq, checkpoint, dataset, images=8),
        made(qat, checkpoint, dataset, epochs=epochs),
        made(onnx, checkpoint, ptq, qat, dataset, gates=(gate("parity", dataset),)),
        made(engine, onnx, DEVICE, gates=engine_gates),
    ]


def graph_of(**mower: float) -> dict[str, Stage]:
    """Two models, each with a data set of its own, on one device."""
    stages = [
        Stage(RAW, "raw"),
        Stage("raw/road", "raw"),
        Stage(DEVICE, "device"),
        made(DATASET, RAW, gates=(gate("no_leakage"),)),
        made("datasets/road", "raw/road", gates=(gate("no_leakage"),)),
        *model("mower", DATASET, **mower),
        *model("car", "datasets/road"),
    ]
    return {stage.asset: stage for stage in stages}


GRAPH = graph_of()


def built_for(stage: Stage, built: dict[str, Built]) -> str:
    """The state that a build of ``stage`` reaches, from the present inputs."""
    return desired_state(stage.asset, CODE.version(stage.code, stage.params), present_inputs(stage, built))


@pytest.fixture
def everything_built() -> dict[str, Built]:
    """A history in which every asset was built from the present inputs and passed its gates."""
    built: dict[str, Built] = {}
    for stage in GRAPH.values():
        built[stage.asset] = Built(f"version-of-{stage.asset}")
        if not stage.is_observed:
            built[stage.asset] = replace(built[stage.asset], state=built_for(stage, built))
    for stage in GRAPH.values():
        gates = {gate.name: GateResult(gate_state(stage.asset, gate, built, CODE), True) for gate in stage.gates}
        built[stage.asset] = replace(built[stage.asset], gates=gates)
    return built


def found(built: dict[str, Built], graph: dict[str, Stage] = GRAPH) -> dict[str, Status]:
    return statuses(graph, built, CODE)


def unfresh(built: dict[str, Built], graph: dict[str, Stage] = GRAPH) -> dict[str, State]:
    return {name: status.state for name, status in found(built, graph).items() if not status.is_fresh}


def with_gate(built: dict[str, Built], asset: str, gate: str, passed: bool) -> dict[str, Built]:
    results = {**built[asset].gates, gate: replace(built[asset].gates[gate], passed=passed)}
    return {**built, asset: replace(built[asset], gates=results)}


def test_what_was_built_from_the_present_inputs_is_fresh(everything_built):
    assert unfresh(everything_built) == {}


def test_what_was_never_built_is_missing_and_ready_when_its_inputs_are_there():
    observed = {name: Built("seen") for name in (RAW, DEVICE)}
    assert {status.state for status in found({}).values()} == {State.MISSING}
    assert [name for name, status in found(observed).items() if status.is_ready] == [DATASET]


def test_a_changed_device_makes_exactly_its_engines_stale(everything_built):
    everything_built[DEVICE] = Built("another device")
    assert unfresh(everything_built) == {ENGINE: State.STALE, "car/engine/cpu": State.STALE}


def test_a_change_that_is_undone_is_no_change(everything_built):
    before = everything_built[DEVICE]
    everything_built[DEVICE] = Built("another device")
    assert unfresh(everything_built)
    everything_built[DEVICE] = before
    assert unfresh(everything_built) == {}


def test_new_data_makes_its_reader_stale_and_all_others_behind(everything_built):
    everything_built[RAW] = Built("new recordings")
    states = unfresh(everything_built)
    assert states.pop(DATASET) is State.STALE
    assert set(states) == {CHECKPOINT, PTQ, QAT, ONNX, ENGINE}
    assert set(states.values()) == {State.BEHIND}


def test_a_rebuild_to_the_same_bytes_stops_there(everything_built):
    everything_built[RAW] = Built("new recordings")
    state = built_for(GRAPH[DATASET], everything_built)
    everything_built[DATASET] = replace(everything_built[DATASET], state=state)
    assert unfresh(everything_built) == {}


def test_an_asset_that_is_stale_itself_and_waits_for_another_is_both(everything_built):
    everything_built[ONNX] = replace(everything_built[ONNX], state="of another code")
    everything_built[PTQ] = replace(everything_built[PTQ], state="of another code")
    status = found(everything_built)
    assert (status[PTQ].state, status[PTQ].waits_for) == (State.STALE, ())
    assert (status[ONNX].state, status[ONNX].waits_for) == (State.STALE, (PTQ,))
    assert status[PTQ].is_ready
    assert not status[ONNX].is_ready
    assert (status[ENGINE].state, status[ENGINE].waits_for) == (State.BEHIND, (ONNX,))


@pytest.mark.parametrize("inputs", [(CHECKPOINT, PTQ, DATASET), (CHECKPOINT, PTQ, QAT, DATASET, DEVICE)])
def test_an_added_and_a_removed_input_count(everything_built, inputs):
    graph = {**GRAPH, ONNX: replace(GRAPH[ONNX], inputs=inputs)}
    assert unfresh(everything_built, graph) == {ONNX: State.STALE, ENGINE: State.BEHIND}


def test_an_added_input_counts_before_it_was_ever_built(everything_built):
    grown = {"raw/new": Stage("raw/new", "raw"), **GRAPH}
    grown[CHECKPOINT] = replace(GRAPH[CHECKPOINT], inputs=(*GRAPH[CHECKPOINT].inputs, "raw/new"))
    status = found(everything_built, grown)
    assert status["raw/new"].state is State.MISSING
    assert (status[CHECKPOINT].state, status[CHECKPOINT].waits_for) == (State.STALE, ("raw/new",))


def test_lost_bytes_have_to_be_built_again(everything_built):
    everything_built[ENGINE] = replace(everything_built[ENGINE], is_stored=False)
    assert unfresh(everything_built) == {ENGINE: State.STALE}


def test_an_asset_that_something_else_reported_is_stale(everything_built):
    everything_built[PTQ] = Built(everything_built[PTQ].data_version)
    assert unfresh(everything_built) == {PTQ: State.STALE, ONNX: State.BEHIND, ENGINE: State.BEHIND}


def test_a_failed_gate_holds_the_dependents_of_its_asset(everything_built):
    built = with_gate(everything_built, ONNX, "parity", False)
    assert unfresh(built) == {ONNX: State.GATE_FAILED, ENGINE: State.BEHIND}
    assert found(built)[ONNX].failed_gates == found(built)[ONNX].due_gates == ("parity",)


def test_a_gate_that_failed_on_an_asset_that_is_behind_has_to_wait(everything_built):
    built = with_gate(everything_built, ENGINE, "latency", False)
    built[PTQ] = replace(built[PTQ], state="of another code")
    assert (found(built)[ENGINE].state, found(built)[ENGINE].due_gates) == (State.BEHIND, ())


def test_a_new_budget_makes_the_gate_due_and_not_the_engine_stale(everything_built):
    status = found(everything_built, graph_of(latency_ms=1.0))
    assert (status[ENGINE].state, set(status[ENGINE].due_gates)) == (State.GATE_DUE, {"latency"})
    assert status[ENGINE].failed_gates == ()
    assert status[ONNX].state is State.FRESH


def rebuilt(built: dict[str, Built], name: str, data_version: str | None = None) -> dict[str, Built]:
    """After a build of one asset, to the same bytes when none are given; its gates have not run again."""
    result = replace(built[name], state=built_for(GRAPH[name], built))
    return {**built, name: replace(result, data_version=data_version or result.data_version)}


def test_a_gate_is_due_again_when_a_rebuild_gives_other_bytes(everything_built):
    built = rebuilt(everything_built, ENGINE, "other bytes")
    assert (found(built)[ENGINE].state, found(built)[ENGINE].due_gates) == (State.GATE_DUE, GATES)
    assert unfresh(rebuilt(built, ENGINE, everything_built[ENGINE].data_version)) == {}


def test_a_gate_is_due_again_when_another_asset_that_it_reads_changes(everything_built):
    """The engine is the same, the checkpoint that its accuracy is compared with is another."""
    built = rebuilt(everything_built, CHECKPOINT, "other weights")
    for name in (PTQ, QAT, ONNX, ENGINE):
        built = rebuilt(built, name)
    assert unfresh(built) == {ENGINE: State.GATE_DUE}
    assert found(built)[ENGINE].due_gates == ("accuracy",)


def test_gates_of_the_same_code_have_different_states(everything_built):
    alike = [replace(gate, inputs=(), params={}) for gate in GRAPH[ENGINE].gates]
    states = {gate_state(ENGINE, gate, everything_built, CODE) for gate in alike}
    assert len(states | {built_for(GRAPH[ENGINE], everything_built)}) == len(GATES) + 1


def test_a_failed_gate_is_due_before_one_that_has_not_run(everything_built):
    built = with_gate(everything_built, ENGINE, "latency", False)
    built[ENGINE] = replace(built[ENGINE], gates={"latency": built[ENGINE].gates["latency"]})
    assert found(built)[ENGINE].due_gates == ("latency", "accuracy", "resources")
    assert found(built)[ENGINE].state is State.GATE_FAILED


def test_a_failed_gate_with_a_new_budget_is_a_new_desired_state(everything_built):
    built = with_gate(everything_built, ENGINE, "latency", False)
    failed, due = found(built)[ENGINE], found(built, graph_of(latency_ms=80.0))[ENGINE]
    assert (failed.state, due.state) == (State.GATE_FAILED, State.GATE_DUE)
    assert failed.desired_state != due.desired_state
    assert found(built)[ENGINE].desired_state == failed.desired_state


def test_a_parameter_of_one_model_leaves_the_other_fresh(everything_built):
    status = found(everything_built, graph_of(epochs=999))
    assert all(name.startswith("mower/") for name, one in status.items() if not one.is_fresh)
    assert (status[CHECKPOINT].state, status[CHECKPOINT].waits_for) == (State.STALE, ())
    assert (status[QAT].state, status[QAT].waits_for) == (State.STALE, (CHECKPOINT,))
    assert status[PTQ].state is State.BEHIND


def test_the_desired_state_names_code_and_inputs(everything_built):
    before = found(everything_built)[ENGINE].desired_state
    everything_built[DEVICE] = Built("another device")
    after = found(everything_built)[ENGINE].desired_state
    assert before != after
    assert found(everything_built)[ENGINE].desired_state == after
