"""Stages that carry out orders: no rebuild of their inputs delays them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from robot_assets.lineage.causes import explain
from robot_assets.lineage.graph import Gate, Stage
from robot_assets.lineage.plan import make_plan
from robot_assets.lineage.rebuild import Attempts, Decision, decide
from robot_assets.lineage.record import Record, desired_state
from robot_assets.lineage.spec import QuietSpec, RebuildSpec
from robot_assets.lineage.staleness import Built, GateResult, State, Status, gate_state, statuses
from tests.lineage.worlds import GivenCode

ENTRY = "toy.make:make"
CODE = GivenCode({ENTRY: "1"})
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
GATE = Gate("releasable", "All engines passed.", (ENTRY,))
MODEL, RELEASE, REPORTS, ROLLOUT = "yard/checkpoint", "release/yard", "fleet/yard", "rollout/yard"
ORDER = Stage(ROLLOUT, "rollout", (ENTRY,), {"paused": False}, (RELEASE, REPORTS), is_urgent=True)
STAGES = [
    Stage(MODEL, "checkpoint", (ENTRY,), {"epochs": 1}),
    Stage(REPORTS, "fleet"),
    Stage(RELEASE, "release", (ENTRY,), {}, (MODEL,), (GATE,)),
    ORDER,
]
GRAPH = {stage.asset: stage for stage in STAGES}
TRAIN = replace(GRAPH[MODEL], params={"epochs": 2})
PAUSED = replace(ORDER, params={"paused": True})


def made(built: dict[str, Built], stage: Stage, version: str, inputs: dict[str, str] | None = None) -> dict[str, Built]:
    """A build of ``stage``, whose gates pass."""
    read = inputs or {name: built[name].data_version for name in stage.inputs}
    state = desired_state(stage.asset, CODE.version(stage.code, stage.params), read)
    after = {**built, stage.asset: Built(version, state, inputs=read if stage.is_urgent else {})}
    gates = {gate.name: GateResult(gate_state(stage.asset, gate, after, CODE), True) for gate in stage.gates}
    return {**after, stage.asset: replace(after[stage.asset], gates=gates)}


@pytest.fixture
def built() -> dict[str, Built]:
    """Everything is fresh; the rollout has read release r1 and reports f1."""
    found = made({REPORTS: Built("f1")}, GRAPH[MODEL], "m1")
    return made(made(found, GRAPH[RELEASE], "r1"), ORDER, "d1")


def found(built: dict[str, Built], *changed: Stage) -> dict[str, Status]:
    return statuses({**GRAPH, **{stage.asset: stage for stage in changed}}, built, CODE)


def decided(
    built: dict[str, Built],
    *changed: Stage,
    spec: RebuildSpec | None = None,
    in_progress: tuple[str, ...] = (),
    attempts: Attempts | None = None,
) -> Decision:
    graph = {**GRAPH, **{stage.asset: stage for stage in changed}}
    status = statuses(graph, built, CODE)
    by_state = {str(status[ROLLOUT].desired_state): attempts} if attempts else {}
    return decide(graph, status, spec or RebuildSpec(), frozenset(in_progress), by_state, NOW)


def asked_for(decision: Decision) -> list[str]:
    return [request.asset for request in decision.requests]


def test_it_is_fresh_when_all_its_inputs_are(built):
    assert {status.state for status in found(built).values()} == {State.FRESH}


def test_an_order_goes_out_while_an_input_is_stale(built):
    status = found(built, TRAIN, PAUSED)[ROLLOUT]
    assert status.state is State.STALE
    assert status.is_ready
    assert status.waits_for == ()
    assert status.kept == {RELEASE: "r1"}
    assert ROLLOUT in asked_for(decided(built, TRAIN, PAUSED))


def test_an_order_goes_out_while_an_input_is_being_rebuilt(built):
    assert asked_for(decided(built, TRAIN, PAUSED, in_progress=(MODEL, RELEASE))) == [ROLLOUT]


def test_it_reads_the_version_of_its_last_build_instead_of_one_whose_gate_failed(built):
    newer = made(made(built, TRAIN, "m2"), GRAPH[RELEASE], "r2")
    refused = {name: replace(one, passed=False) for name, one in newer[RELEASE].gates.items()}
    newer[RELEASE] = replace(newer[RELEASE], gates=refused)
    waiting = found(newer, TRAIN)[ROLLOUT]
    assert (waiting.state, waiting.waits_for) == (State.BEHIND, (RELEASE,))
    ordered = found(newer, TRAIN, PAUSED)[ROLLOUT]
    assert ordered.kept == {RELEASE: "r1"}
    after = made(newer, PAUSED, "d2", {RELEASE: "r1", REPORTS: "f1"})
    assert found(after, TRAIN, PAUSED)[ROLLOUT].state is State.BEHIND


def test_reports_are_followed_while_an_input_is_stale(built):
    reported = {**built, REPORTS: Built("f2")}
    status = found(reported, TRAIN)[ROLLOUT]
    assert status.is_ready
    assert status.desired_state == desired_state(
        ROLLOUT, CODE.version(ORDER.code, ORDER.params), {RELEASE: "r1", REPORTS: "f2"}
    )


def test_a_new_version_is_read_once_it_is_fresh(built):
    newer = made(made(built, TRAIN, "m2"), GRAPH[RELEASE], "r2")
    status = found(newer, TRAIN)[ROLLOUT]
    assert (status.state, status.kept, status.is_ready) == (State.STALE, {}, True)


def test_the_first_build_waits_for_every_input(built):
    never = {name: one for name, one in built.items() if name != ROLLOUT}
    status = found(never, TRAIN)[ROLLOUT]
    assert (status.state, status.waits_for, status.is_ready) == (State.MISSING, (RELEASE,), False)


def test_other_stages_wait_as_before(built):
    later = replace(ORDER, params={"paused": True}, is_urgent=False)
    assert found(built, TRAIN, later)[ROLLOUT].waits_for == (RELEASE,)


def test_the_causes_name_the_order_and_not_the_input_that_it_does_not_read(built):
    newer = made({**built, REPORTS: Built("f2")}, TRAIN, "m2")
    record = Record(
        asset=ROLLOUT,
        data_version="d1",
        code_version=CODE.version(ORDER.code, ORDER.params),
        code_rule=0,
        desired_state="s",
        inputs={RELEASE: "r1", REPORTS: "f1"},
        params=dict(ORDER.params),
        git_commit=None,
        git_dirty=None,
        image=None,
        node="here",
        libraries={},
        size_bytes=1,
        files=1,
        started_at="2026-05-04T12:00:00+00:00",
        duration_s=1,
        run_id="run",
    )
    status = found(newer, TRAIN, PAUSED)
    causes = explain(PAUSED, status[ROLLOUT], newer, record, CODE)
    assert causes[:2] == ("fleet/yard changed (f1 -> f2)", "paused: false -> true")
    assert not any(cause.startswith("waits for") for cause in causes)
    plan = make_plan({**GRAPH, MODEL: TRAIN, ROLLOUT: PAUSED}, status, newer, {ROLLOUT: causes})
    assert [step.is_certain for step in plan if step.asset == ROLLOUT] == [True]


def test_neither_the_quiet_window_nor_a_busy_pool_holds_an_order(built):
    quiet = QuietSpec(start=time(0, 0), end=time(23, 59))
    spec = RebuildSpec(quiet=quiet, runs_per_tick=1)
    other = Stage("yard/onnx", "onnx", (ENTRY,))
    assert asked_for(decided(built, other, PAUSED, spec=spec)) == [ROLLOUT]
    assert asked_for(decided(built, other, PAUSED, in_progress=("yard/onnx",))) == [ROLLOUT]
    assert asked_for(decided(built, other, PAUSED, spec=RebuildSpec(runs_per_tick=1))) == [ROLLOUT, "yard/onnx"]


def test_not_more_orders_are_carried_out_at_a_time_than_a_tick_may_start_and_none_waits_forever():
    built = {REPORTS: Built("f1")} | made({REPORTS: Built("f1")}, replace(GRAPH[RELEASE], inputs=(), gates=()), "r1")
    orders = [replace(ORDER, asset=f"rollout/g{number}") for number in range(9)]
    graph = {one.asset: one for one in (GRAPH[REPORTS], replace(GRAPH[RELEASE], inputs=(), gates=()), *orders)}
    found, spec = statuses(graph, built, CODE), RebuildSpec(runs_per_tick=3)
    started: set[str] = set()
    for second in range(60):
        busy = frozenset({"rollout/g0"})
        decision = decide(graph, found, spec, busy, {}, NOW + timedelta(seconds=second))
        assert len(decision.requests) == 2
        started |= {request.asset for request in decision.requests}
    assert started == {f"rollout/g{number}" for number in range(1, 9)}


def test_an_order_in_progress_holds_nobody_else(built):
    other = Stage("yard/onnx", "onnx", (ENTRY,))
    assert asked_for(decided(built, other, in_progress=(ROLLOUT,))) == ["yard/onnx"]


def test_a_manual_policy_holds_an_order(built):
    assert decided(built, replace(PAUSED, policy="manual")).held == {ROLLOUT: "manual by policy"}


@pytest.mark.parametrize("failed", [3, 40, 5000])
def test_an_order_that_could_not_be_carried_out_is_never_left_alone(built, failed):
    waiting = decided(built, PAUSED, attempts=Attempts(failed, failed, NOW - timedelta(minutes=1)))
    assert waiting.held[ROLLOUT].startswith(f"attempt {failed} failed; next at ")
    assert waiting.given_up == {}
    assert asked_for(decided(built, PAUSED, attempts=Attempts(failed, failed, NOW - timedelta(minutes=15)))) == [
        ROLLOUT
    ]
