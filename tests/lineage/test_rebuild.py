"""What the rebuild sensor starts, and why it leaves the rest alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_assets.lineage.graph import Gate, Kind, Stage
from robot_assets.lineage.rebuild import Decision, Request, Tries, decide, is_quiet
from robot_assets.lineage.record import desired_state
from robot_assets.lineage.spec import PolicySpec, QuietSpec, RebuildSpec
from robot_assets.lineage.staleness import State, Status
from tests.lineage.worlds import World, worlds

MODULE = "robot_assets.core.verdict"
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
TARGETS = ("orin_agx", "orin_nano", "xavier")
EVERYTHING = PolicySpec(checkpoint="auto", qat="auto")
SPEC = RebuildSpec(policy=EVERYTHING)
GATES = (Gate("accuracy", MODULE), Gate("latency", MODULE))
STAGES = [
    Stage("raw/yard", Kind.RAW, None),
    *(Stage(f"platform/{target}", Kind.PLATFORM, None, pool=target) for target in TARGETS),
    Stage("datasets/yard", Kind.DATASET, MODULE, {}, ("raw/yard",)),
    Stage("yard/checkpoint", Kind.CHECKPOINT, MODULE, {}, ("datasets/yard",)),
    Stage("yard/ptq", Kind.PTQ, MODULE, {}, ("yard/checkpoint", "datasets/yard")),
    Stage("yard/onnx", Kind.ONNX, MODULE, {}, ("yard/checkpoint", "yard/ptq")),
    *(
        Stage(f"yard/engine/{target}", Kind.ENGINE, MODULE, {}, ("yard/onnx", f"platform/{target}"), GATES, target)
        for target in TARGETS
    ),
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
    tries: Mapping[str, Tries] | None = None,
    now: datetime = NOW,
    graph: Mapping[str, Stage] = GRAPH,
) -> Decision:
    """The decision when all but ``unfresh`` is fresh; ``tries`` by asset."""
    found = {name: unfresh.get(name, Status(State.FRESH, (), wanted(name))) for name in graph}
    by_state = {str(found[name].desired_state): one for name, one in (tries or {}).items()}
    return decide(graph, found, spec, frozenset(in_progress), by_state, now)


def started(decision: Decision) -> list[str]:
    return [request.asset for request in decision.requests]


def test_nothing_is_started_when_everything_is_fresh():
    assert decided({}) == Decision()


@pytest.mark.parametrize("state", [State.STALE, State.MISSING])
def test_what_is_stale_or_missing_is_asked_for_with_all_its_gates(state):
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


def test_policy_says_which_kinds_a_person_starts():
    unfresh = ready(DATASET, CHECKPOINT, PTQ)
    spec = RebuildSpec(runs_per_pool=9)
    decision = decided(unfresh, spec)
    assert started(decision) == [DATASET, PTQ]
    assert decision.held == {CHECKPOINT: "manual by policy"}
    manual = replace_policy(spec, dataset="manual", ptq="manual", checkpoint="auto")
    assert started(decided(unfresh, manual)) == [CHECKPOINT]


def replace_policy(spec: RebuildSpec, **policy: str) -> RebuildSpec:
    return spec.model_copy(update={"policy": PolicySpec.model_validate(policy)})


def test_by_default_training_is_started_by_a_person_and_all_else_by_itself():
    manual = {kind for kind, policy in PolicySpec().model_dump().items() if policy == "manual"}
    assert manual == {"checkpoint", "qat"}
    assert set(PolicySpec.model_fields) == {str(kind) for kind in Kind} - {"platform"}


def test_what_is_in_progress_is_not_asked_for_again():
    decision = decided(ready(DATASET), in_progress=(DATASET,))
    assert decision.requests == ()
    assert decision.held == {DATASET: "in progress"}


def test_what_reads_something_in_progress_waits_for_it_at_any_depth():
    decision = decided(ready(ONNX, *ENGINES[:2]), in_progress=(CHECKPOINT,))
    assert decision.requests == ()
    assert decision.held == dict.fromkeys((ONNX, *ENGINES[:2]), "an input is being rebuilt")


def test_runs_of_assets_that_this_graph_does_not_have_are_nothing_to_it():
    assert started(decided(ready(DATASET), in_progress=("somebody/else",))) == [DATASET]


def test_a_failed_build_is_tried_again_after_a_wait_that_doubles():
    spec = RebuildSpec(policy=EVERYTHING, tries=5, backoff_s=60)
    for failed, wait in ((1, 60), (2, 120), (3, 240), (4, 480)):
        tries = {DATASET: Tries(ended=failed, failed=failed, last_failed_at=NOW)}
        early = decided(ready(DATASET), spec, tries=tries, now=NOW + timedelta(seconds=wait - 1))
        again = (NOW + timedelta(seconds=wait)).strftime("%H:%M:%S")
        assert early.requests == ()
        assert early.held == {DATASET: f"try {failed} of 5 failed; again at {again} UTC"}
        late = decided(ready(DATASET), spec, tries=tries, now=NOW + timedelta(seconds=wait))
        assert late.requests == (Request(DATASET, wanted(DATASET), failed + 1),)


def test_no_wait_is_longer_than_a_day_however_often_it_failed():
    spec = RebuildSpec(policy=EVERYTHING, tries=100, backoff_s=3600)
    tries = {DATASET: Tries(ended=99, failed=99, last_failed_at=NOW)}
    assert decided(ready(DATASET), spec, tries=tries, now=NOW + timedelta(hours=23)).requests == ()
    assert started(decided(ready(DATASET), spec, tries=tries, now=NOW + timedelta(hours=24))) == [DATASET]


def test_after_the_last_try_it_is_left_alone_for_good():
    tried = Tries(ended=3, failed=3, last_failed_at=NOW)
    for later in (timedelta(0), timedelta(days=400)):
        decision = decided(ready(DATASET), tries={DATASET: tried}, now=NOW + later)
        assert decision.requests == ()
        assert decision.held == {DATASET: "left alone after 3 failed tries"}
        assert decision.given_up == {DATASET: tried}


def test_another_desired_state_begins_anew():
    tries = {wanted(DATASET): Tries(ended=3, failed=3, last_failed_at=NOW)}
    changed = Status(State.STALE, (), wanted(DATASET, "mended code"))
    found = {name: Status(State.FRESH, (), wanted(name)) for name in GRAPH} | {DATASET: changed}
    decision = decide(GRAPH, found, RebuildSpec(), frozenset(), tries, NOW)
    assert decision == Decision((Request(DATASET, wanted(DATASET, "mended code"), 1),))


def test_a_state_that_was_reached_before_and_is_wanted_again_has_all_its_tries():
    """Built, changed, changed back, and the bytes are lost: the runs that ended well number the next one."""
    decision = decided(ready(DATASET), tries={DATASET: Tries(ended=4)})
    assert decision.requests == (Request(DATASET, wanted(DATASET), 5),)


def test_giving_one_asset_up_leaves_the_others_going():
    tries = {DATASET: Tries(ended=3, failed=3, last_failed_at=NOW)}
    assert started(decided(ready(DATASET, PTQ), tries=tries)) == [PTQ]


def test_a_look_starts_no_more_runs_than_it_may():
    names = [f"yard{number}/ptq" for number in range(5)]
    graph = {name: Stage(name, Kind.PTQ, MODULE, pool=name) for name in names}
    decision = decided(ready(*names), RebuildSpec(runs_per_tick=2), graph=graph)
    assert started(decision) == names[:2]
    assert decision.held == dict.fromkeys(names[2:], "2 runs were started in this look")


def test_a_pool_holds_no_more_runs_than_it_may_whoever_started_them():
    graph = {name: Stage(name, Kind.PTQ, MODULE, pool="gpu") for name in ("a/ptq", "b/ptq", "c/ptq", "d/ptq")}
    graph["e/ptq"] = Stage("e/ptq", Kind.PTQ, MODULE, pool="elsewhere")
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
    tries = {ENGINES[0]: Tries(ended=3, failed=3, last_failed_at=NOW)}
    failed = decided(ready(*ENGINES), tries=tries)
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


def test_the_canary_of_one_model_holds_no_other_model():
    other = [
        Stage(f"park/engine/{target}", Kind.ENGINE, MODULE, {}, (PTQ,), pool=f"park-{target}") for target in TARGETS
    ]
    graph = GRAPH | {stage.asset: stage for stage in other}
    decision = decided(ready(*ENGINES, *(stage.asset for stage in other)), graph=graph)
    assert started(decision) == [ENGINES[0], other[0].asset]


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


def test_in_the_quiet_window_nothing_is_started_and_what_was_given_up_is_still_said():
    spec = RebuildSpec(policy=EVERYTHING, quiet=NIGHT)
    tries = {DATASET: Tries(ended=3, failed=3, last_failed_at=NOW)}
    night = decided(ready(DATASET, PTQ), spec, tries=tries, now=NOW.replace(hour=23))
    assert night.requests == ()
    assert night.held == {DATASET: "left alone after 3 failed tries", PTQ: "quiet window"}
    assert set(night.given_up) == {DATASET}
    assert started(decided(ready(DATASET), spec)) == [DATASET]


def test_gates_that_are_all_that_is_due_are_asked_for_without_the_asset():
    due = ready(ENGINES[0], state=State.GATE_DUE, due_gates=("latency", "accuracy"))
    assert decided(due).requests == (Request(ENGINES[0], wanted(ENGINES[0]), 1, ("latency", "accuracy")),)


states = st.text("0123456789abcdef", min_size=32, max_size=32)
asked = st.tuples(states, st.integers(1, 10**6))


@given(asked, asked)
def test_a_run_key_is_of_one_state_and_one_number(one, other):
    keys = {Request("yard/ptq", *pair).key for pair in (one, other)}
    assert len(keys) == len({one, other})


@given(worlds(), st.data())
@settings(max_examples=100, deadline=None)
def test_whatever_stands_a_decision_starts_or_holds_exactly_what_is_ready(world: World, data: st.DataObject):
    in_progress = frozenset(data.draw(st.sets(st.sampled_from(list(world.graph)))))
    spec = RebuildSpec(
        policy=PolicySpec(dataset=data.draw(st.sampled_from(("auto", "manual")))),
        runs_per_pool=data.draw(st.integers(1, 3)),
        runs_per_tick=data.draw(st.integers(1, 3)),
    )
    decision = decide(world.graph, world.found, spec, in_progress, {}, NOW)
    asked_for = started(decision)
    assert sorted([*asked_for, *decision.held]) == sorted(world.ready)
    assert len(asked_for) <= min(spec.runs_per_tick, max(0, spec.runs_per_pool - len(in_progress)))
    for name in asked_for:
        assert not in_progress & {name, *world.ancestors(name)}


def test_following_the_decisions_brings_everything_up_to_date():
    """Look, run what was asked for, look again: each engine is built once, the canary first."""
    unfresh = ready(*ENGINES)
    looks = []
    while decision := decided(unfresh).requests:
        looks.append([request.asset for request in decision])
        unfresh = {name: status for name, status in unfresh.items() if name not in looks[-1]}
    assert looks == [[ENGINES[0]], [*ENGINES[1:]]]
