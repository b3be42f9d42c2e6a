"""What the rebuild sensor starts, and why it starts nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_assets.lineage.graph import Gate, Stage
from robot_assets.lineage.rebuild import Attempts, Decision, Request, decide, is_quiet
from robot_assets.lineage.record import desired_state
from robot_assets.lineage.spec import QuietSpec, RebuildSpec
from robot_assets.lineage.staleness import State, Status
from tests.lineage.worlds import World, worlds

CODE = ("robot_assets.core.verdict:Verdict",)
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
TARGETS = ("orin_agx", "orin_nano", "xavier")
SPEC = RebuildSpec()
GATES = tuple(Gate(name, f"The {name} is right.", CODE) for name in ("accuracy", "latency"))


def engine(target: str, *inputs: str) -> Stage:
    """An engine in the fleet of its first input."""
    asset = f"{inputs[0].split('/')[0]}/engine/{target}"
    return Stage(asset, "engine", CODE, {}, inputs, GATES, pool=f"{inputs[0]}-{target}", fleet=inputs[0])


STAGES = [
    Stage("raw/yard", "raw"),
    *(Stage(f"platform/{target}", "platform", pool=target) for target in TARGETS),
    Stage("datasets/yard", "dataset", CODE, {}, ("raw/yard",)),
    Stage("yard/checkpoint", "checkpoint", CODE, {}, ("datasets/yard",)),
    Stage("yard/ptq", "ptq", CODE, {}, ("yard/checkpoint", "datasets/yard")),
    Stage("yard/onnx", "onnx", CODE, {}, ("yard/checkpoint", "yard/ptq")),
    *(engine(target, "yard/onnx", f"platform/{target}") for target in TARGETS),
]
GRAPH = {stage.asset: stage for stage in STAGES}
ENGINES = tuple(f"yard/engine/{target}" for target in TARGETS)
DATASET, CHECKPOINT, PTQ, ONNX = "datasets/yard", "yard/checkpoint", "yard/ptq", "yard/onnx"


def wanted(name: str, code: str = "code") -> str:
    return desired_state(name, code, {})


def ready(*names: str, state: State = State.STALE, **rest: tuple[str, ...]) -> dict[str, Status]:
    return {name: Status(state, (), wanted(name), **rest) for name in names}


def decided(
    unfresh: Mapping[str, Status],
    spec: RebuildSpec = SPEC,
    in_progress: tuple[str, ...] = (),
    attempts: Mapping[str, Attempts] | None = None,
    now: datetime = NOW,
    graph: Mapping[str, Stage] = GRAPH,
) -> Decision:
    """The decision when all but ``unfresh`` is fresh; ``attempts`` by asset."""
    found = {name: unfresh.get(name, Status(State.FRESH, (), wanted(name))) for name in graph}
    by_state = {str(found[name].desired_state): one for name, one in (attempts or {}).items()}
    return decide(graph, found, spec, frozenset(in_progress), by_state, now)


def started(decision: Decision) -> list[str]:
    return [request.asset for request in decision.requests]


def test_nothing_is_started_when_everything_is_fresh():
    assert decided({}) == Decision()


@pytest.mark.parametrize("state", [State.STALE, State.MISSING])
def test_what_is_stale_or_missing_is_requested_with_all_its_gates(state):
    assert decided(ready(ENGINES[0], state=state)).requests == (Request(ENGINES[0], wanted(ENGINES[0]), 1),)


def test_what_waits_for_an_input_is_neither_started_nor_held():
    unfresh = ready(DATASET) | {
        CHECKPOINT: Status(State.STALE, (DATASET,)),
        PTQ: Status(State.BEHIND, (CHECKPOINT,)),
        ONNX: Status(State.MISSING, (CHECKPOINT, PTQ)),
    }
    decision = decided(unfresh)
    assert started(decision) == [DATASET]
    assert decision.held == {}


def test_an_observed_asset_is_never_started():
    assert decided({"raw/yard": Status(State.MISSING)}) == Decision()


def test_a_stage_with_a_manual_policy_is_left_to_a_person():
    graph = {**GRAPH, CHECKPOINT: replace(GRAPH[CHECKPOINT], policy="manual")}
    decision = decided(ready(DATASET, CHECKPOINT, PTQ), RebuildSpec(runs_per_pool=9), graph=graph)
    assert started(decision) == [DATASET, PTQ]
    assert decision.held == {CHECKPOINT: "manual by policy"}


def test_what_is_in_progress_is_not_requested_again():
    decision = decided(ready(DATASET), in_progress=(DATASET,))
    assert decision.requests == ()
    assert decision.held == {DATASET: "in progress"}


def test_what_reads_something_in_progress_waits_for_it_at_any_depth():
    decision = decided(ready(ONNX, *ENGINES[:2]), in_progress=(CHECKPOINT,))
    assert decision.requests == ()
    assert decision.held == dict.fromkeys((ONNX, *ENGINES[:2]), "an input is being rebuilt")


def test_runs_of_assets_that_the_graph_does_not_have_do_not_count():
    assert started(decided(ready(DATASET), in_progress=("somebody/else",))) == [DATASET]


def test_a_failed_build_is_attempted_again_after_a_wait_that_doubles():
    spec = RebuildSpec(tries=5, backoff_s=60)
    for failed, wait in ((1, 60), (2, 120), (3, 240), (4, 480)):
        attempts = {DATASET: Attempts(ended=failed, failed=failed, last_failed_at=NOW)}
        early = decided(ready(DATASET), spec, attempts=attempts, now=NOW + timedelta(seconds=wait - 1))
        again = (NOW + timedelta(seconds=wait)).strftime("%H:%M:%S")
        assert early.requests == ()
        assert early.held == {DATASET: f"attempt {failed} of 5 failed; next at {again} UTC"}
        late = decided(ready(DATASET), spec, attempts=attempts, now=NOW + timedelta(seconds=wait))
        assert late.requests == (Request(DATASET, wanted(DATASET), failed + 1),)


def test_no_wait_is_longer_than_a_day_however_often_it_failed():
    spec = RebuildSpec(tries=100, backoff_s=3600)
    attempts = {DATASET: Attempts(ended=99, failed=99, last_failed_at=NOW)}
    assert decided(ready(DATASET), spec, attempts=attempts, now=NOW + timedelta(hours=23)).requests == ()
    assert started(decided(ready(DATASET), spec, attempts=attempts, now=NOW + timedelta(hours=24))) == [DATASET]


def test_after_the_last_attempt_it_is_left_alone():
    failed = Attempts(ended=3, failed=3, last_failed_at=NOW)
    for later in (timedelta(0), timedelta(days=400)):
        decision = decided(ready(DATASET), attempts={DATASET: failed}, now=NOW + later)
        assert decision.requests == ()
        assert decision.held == {DATASET: "left alone after 3 failed attempts"}
        assert decision.given_up == {DATASET: failed}


def test_attempts_of_another_desired_state_do_not_count():
    attempts = {wanted(DATASET): Attempts(ended=3, failed=3, last_failed_at=NOW)}
    changed = Status(State.STALE, (), wanted(DATASET, "fixed code"))
    found = {name: Status(State.FRESH, (), wanted(name)) for name in GRAPH} | {DATASET: changed}
    decision = decide(GRAPH, found, RebuildSpec(), frozenset(), attempts, NOW)
    assert decision == Decision((Request(DATASET, wanted(DATASET, "fixed code"), 1),))


def test_a_state_that_was_reached_before_and_is_desired_again_has_all_its_attempts():
    """Built, changed, changed back, and the bytes are lost: earlier successes number the next run."""
    decision = decided(ready(DATASET), attempts={DATASET: Attempts(ended=4)})
    assert decision.requests == (Request(DATASET, wanted(DATASET), 5),)


def test_the_other_assets_are_rebuilt_when_one_is_given_up():
    attempts = {DATASET: Attempts(ended=3, failed=3, last_failed_at=NOW)}
    assert started(decided(ready(DATASET, PTQ), attempts=attempts)) == [PTQ]


def test_a_tick_starts_no_more_runs_than_it_may():
    names = [f"yard{number}/ptq" for number in range(5)]
    graph = {name: Stage(name, "ptq", CODE, pool=name) for name in names}
    decision = decided(ready(*names), RebuildSpec(runs_per_tick=2), graph=graph)
    assert started(decision) == names[:2]
    assert decision.held == dict.fromkeys(names[2:], "2 runs were started in this tick")


def test_a_pool_holds_no_more_runs_than_it_may_whoever_started_them():
    graph = {name: Stage(name, "ptq", CODE, pool="gpu") for name in ("a/ptq", "b/ptq", "c/ptq", "d/ptq")}
    graph["e/ptq"] = Stage("e/ptq", "ptq", CODE, pool="elsewhere")
    decision = decided(ready("b/ptq", "c/ptq", "d/ptq", "e/ptq"), RebuildSpec(runs_per_pool=2), ("a/ptq",), graph=graph)
    assert started(decision) == ["b/ptq", "e/ptq"]
    assert decision.held == dict.fromkeys(("c/ptq", "d/ptq"), "node pool gpu is busy")


def test_one_of_three_stale_engines_goes_first():
    decision = decided(ready(*ENGINES))
    assert started(decision) == [ENGINES[0]]
    assert decision.held == dict.fromkeys(ENGINES[1:], f"waits for the canary {ENGINES[0]}")


def test_two_stale_engines_need_no_canary():
    unfresh = ready(*ENGINES[1:]) | {ENGINES[0]: Status(State.MISSING, ("platform/orin_agx",))}
    assert started(decided(unfresh)) == list(ENGINES[1:])


def test_the_others_wait_while_the_canary_is_built_and_while_it_fails():
    building = decided(ready(*ENGINES), in_progress=(ENGINES[0],))
    assert building.held == {ENGINES[0]: "in progress"} | dict.fromkeys(
        ENGINES[1:], f"waits for the canary {ENGINES[0]}"
    )
    attempts = {ENGINES[0]: Attempts(ended=3, failed=3, last_failed_at=NOW)}
    failed = decided(ready(*ENGINES), attempts=attempts)
    assert failed.requests == ()
    assert set(failed.given_up) == {ENGINES[0]}


def test_the_others_wait_until_the_canary_has_passed_its_gates():
    unfresh = ready(*ENGINES[1:]) | ready(ENGINES[0], state=State.GATE_FAILED, due_gates=("latency",))
    decision = decided(unfresh)
    assert decision.requests == (Request(ENGINES[0], wanted(ENGINES[0]), 1, ("latency",)),)
    assert list(decision.held) == list(ENGINES[1:])


def test_when_the_canary_is_fresh_the_others_follow_together():
    assert started(decided(ready(*ENGINES[1:]))) == list(ENGINES[1:])
    many = RebuildSpec(canary_from=2)
    assert started(decided(ready(*ENGINES[1:]), many)) == list(ENGINES[1:])


def test_the_canary_of_one_fleet_does_not_hold_another_fleet():
    other = [engine(target, "park/onnx") for target in TARGETS]
    graph = GRAPH | {stage.asset: stage for stage in other}
    decision = decided(ready(*ENGINES, *(stage.asset for stage in other)), graph=graph)
    assert started(decision) == [ENGINES[0], other[0].asset]


def test_stages_without_a_fleet_need_no_canary():
    graph = {name: replace(stage, fleet=None) for name, stage in GRAPH.items()}
    assert started(decided(ready(*ENGINES), graph=graph)) == list(ENGINES)


NIGHT = QuietSpec(start=time(22), end=time(6))


@pytest.mark.parametrize(
    ("hour", "minute", "quiet"),
    [(21, 59, False), (22, 0, True), (23, 59, True), (0, 0, True), (5, 59, True), (6, 0, False), (12, 0, False)],
)
def test_a_quiet_window_may_pass_midnight(hour, minute, quiet):
    assert is_quiet(NIGHT, datetime(2026, 5, 4, hour, minute, tzinfo=UTC)) == quiet


@pytest.mark.parametrize(("hour", "quiet"), [(8, False), (9, True), (16, True), (17, False), (0, False)])
def test_a_quiet_window_within_a_day(hour, quiet):
    assert is_quiet(QuietSpec(start=time(9), end=time(17)), datetime(2026, 5, 4, hour, tzinfo=UTC)) == quiet


def test_the_window_is_read_on_the_clock_of_its_place_in_summer_and_in_winter():
    berlin = QuietSpec(start=time(22), end=time(6), timezone="Europe/Berlin")
    winter, summer = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 7, 6, tzinfo=UTC)
    assert [is_quiet(berlin, winter.replace(hour=hour)) for hour in (4, 5, 20, 21)] == [True, False, False, True]
    assert [is_quiet(berlin, summer.replace(hour=hour)) for hour in (3, 4, 19, 20)] == [True, False, False, True]


def test_the_same_moment_is_quiet_however_it_is_written():
    moment = datetime(2026, 5, 4, 23, 0, tzinfo=UTC)
    assert is_quiet(NIGHT, moment.astimezone(timezone(timedelta(hours=-9))))
    assert not is_quiet(None, moment)


def test_in_the_quiet_window_nothing_is_started_and_what_was_given_up_is_still_reported():
    spec = RebuildSpec(quiet=NIGHT)
    attempts = {DATASET: Attempts(ended=3, failed=3, last_failed_at=NOW)}
    night = decided(ready(DATASET, PTQ), spec, attempts=attempts, now=NOW.replace(hour=23))
    assert night.requests == ()
    assert night.held == {DATASET: "left alone after 3 failed attempts", PTQ: "quiet window"}
    assert set(night.given_up) == {DATASET}
    assert started(decided(ready(DATASET), spec)) == [DATASET]


def test_gates_that_alone_are_due_are_requested_without_the_asset():
    due = ready(ENGINES[0], state=State.GATE_DUE, due_gates=("latency", "accuracy"))
    assert decided(due).requests == (Request(ENGINES[0], wanted(ENGINES[0]), 1, ("latency", "accuracy")),)


states = st.text("0123456789abcdef", min_size=32, max_size=32)
requested = st.tuples(states, st.integers(1, 10**6))


@given(requested, requested)
def test_a_run_key_is_of_one_state_and_one_number(one, other):
    keys = {Request("yard/ptq", *pair).key for pair in (one, other)}
    assert len(keys) == len({one, other})


@given(worlds(), st.data())
@settings(max_examples=100, deadline=None)
def test_in_any_world_a_decision_starts_or_holds_exactly_what_is_ready(world: World, data: st.DataObject):
    in_progress = frozenset(data.draw(st.sets(st.sampled_from(list(world.graph)))))
    spec = RebuildSpec(
        runs_per_pool=data.draw(st.integers(1, 3)),
        runs_per_tick=data.draw(st.integers(1, 3)),
    )
    policy = data.draw(st.sampled_from(("auto", "manual")))
    graph = {name: replace(stage, policy=policy) for name, stage in world.graph.items()}
    decision = decide(graph, world.found, spec, in_progress, {}, NOW)
    names = started(decision)
    assert sorted([*names, *decision.held]) == sorted(world.ready)
    assert len(names) <= min(spec.runs_per_tick, max(0, spec.runs_per_pool - len(in_progress)))
    for name in names:
        assert not in_progress & {name, *world.ancestors(name)}


def test_following_the_decisions_brings_everything_up_to_date():
    """Tick after tick, with all requested runs in between: each engine is built once, the canary first."""
    unfresh = ready(*ENGINES)
    ticks = []
    while requests := decided(unfresh).requests:
        ticks.append([request.asset for request in requests])
        unfresh = {name: status for name, status in unfresh.items() if name not in ticks[-1]}
    assert ticks == [[ENGINES[0]], [*ENGINES[1:]]]
