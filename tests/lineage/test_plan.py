"""A plan has what is not fresh, why, in which order it is rebuilt, and the expected cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings

from robot_assets.lineage.graph import Gate, Stage
from robot_assets.lineage.plan import Cost, Step, common_causes, costs, make_plan
from robot_assets.lineage.record import Cause, CauseKind
from robot_assets.lineage.staleness import Built, State, Status
from tests.lineage.worlds import World, worlds

CODE = ("robot_assets.core.verdict:Verdict",)
PARITY = Gate("parity", "The graph gives the answers of the checkpoint.", CODE)
GRAPH = {
    stage.asset: stage
    for stage in (
        Stage("raw/yard", "raw"),
        Stage("platform/orin", "platform", pool="orin"),
        Stage("datasets/yard", "dataset", CODE, {}, ("raw/yard",)),
        Stage("yard/checkpoint", "checkpoint", CODE, {}, ("datasets/yard",), pool="training", policy="manual"),
        Stage("yard/ptq", "ptq", CODE, {}, ("yard/checkpoint", "datasets/yard"), pool="training"),
        Stage("yard/onnx", "onnx", CODE, {}, ("yard/checkpoint", "yard/ptq"), (PARITY,)),
        Stage("yard/engine/orin", "engine", CODE, {}, ("yard/onnx", "platform/orin"), pool="orin"),
    )
}
SECONDS = (None, None, 5, 3600, 60, 4, 30.25)
BUILT = {name: Built("bytes", duration_s=took) for name, took in zip(GRAPH, SECONDS, strict=True)}


def planned(
    unfresh: Mapping[str, State],
    built: Mapping[str, Built] = BUILT,
    causes: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Step]:
    """The plan when these assets are not fresh: each waits for those of its inputs that are not."""
    found = {
        name: Status(unfresh.get(name, State.FRESH), tuple(above for above in stage.inputs if above in unfresh))
        for name, stage in GRAPH.items()
    }
    return {step.asset: step for step in make_plan(GRAPH, found, built, causes or {})}


def test_there_is_no_plan_for_what_is_fresh():
    assert planned({}) == {}


def test_what_causes_something_comes_before_what_follows_from_it():
    states = dict.fromkeys(reversed(GRAPH), State.BEHIND) | {"datasets/yard": State.STALE}
    assert list(planned(states)) == list(GRAPH)


def test_what_is_behind_comes_after_the_root_and_not_after_what_is_behind_as_well():
    steps = planned(
        {
            "datasets/yard": State.STALE,
            "yard/checkpoint": State.BEHIND,
            "yard/ptq": State.BEHIND,
            "yard/onnx": State.BEHIND,
        }
    )
    assert steps["datasets/yard"].after == ()
    assert {step.after for name, step in steps.items() if name != "datasets/yard"} == {("datasets/yard",)}


def test_an_asset_that_is_stale_itself_is_the_root_of_what_follows_and_has_roots_of_its_own():
    steps = planned({"yard/checkpoint": State.STALE, "yard/ptq": State.STALE, "yard/onnx": State.BEHIND})
    assert steps["yard/ptq"].after == ("yard/checkpoint",)
    assert steps["yard/onnx"].after == ("yard/checkpoint", "yard/ptq")
    assert [steps[name].is_certain for name in ("yard/ptq", "yard/onnx")] == [True, False]


@pytest.mark.parametrize("state", [State.GATE_DUE, State.GATE_FAILED])
def test_a_gate_is_a_root_and_costs_nothing_of_its_asset(state):
    steps = planned({"yard/onnx": state, "yard/engine/orin": State.BEHIND})
    assert steps["yard/engine/orin"].after == ("yard/onnx",)
    assert steps["yard/onnx"].expected_s == 0
    assert costs(tuple(steps.values()))["general"] == Cost(certain_s=0, at_most_s=0, unknown=0)


def test_causes_are_those_of_the_roots_and_waiting_is_in_the_order_alone():
    causes = {
        "yard/checkpoint": ("training.epochs: 1 -> 2",),
        "yard/ptq": ("code of robot_assets.quantization.ptq:ptq is new", "waits for yard/checkpoint"),
        "yard/onnx": ("waits for yard/checkpoint", "waits for yard/ptq"),
    }
    steps = planned({"yard/checkpoint": State.STALE, "yard/ptq": State.STALE, "yard/onnx": State.BEHIND}, causes=causes)
    assert steps["yard/checkpoint"].causes == ("training.epochs: 1 -> 2",)
    assert steps["yard/ptq"].causes == ("code of robot_assets.quantization.ptq:ptq is new",)
    assert steps["yard/onnx"].causes == ()


def test_each_step_has_its_pool_and_who_starts_it():
    steps = planned(dict.fromkeys(GRAPH, State.MISSING))
    assert {name: (step.pool, step.policy) for name, step in steps.items()} == {
        "raw/yard": ("general", "manual"),
        "platform/orin": ("orin", "manual"),
        "datasets/yard": ("general", "auto"),
        "yard/checkpoint": ("training", "manual"),
        "yard/ptq": ("training", "auto"),
        "yard/onnx": ("general", "auto"),
        "yard/engine/orin": ("orin", "auto"),
    }


def test_the_cost_is_what_is_certain_and_at_most_what_may_follow_on_each_pool():
    states = {"yard/checkpoint": State.STALE, "yard/ptq": State.BEHIND, "yard/engine/orin": State.STALE}
    assert costs(tuple(planned(states).values())) == {
        "training": Cost(certain_s=3600, at_most_s=3660, unknown=0),
        "orin": Cost(certain_s=30.2, at_most_s=30.2, unknown=0),
    }


def test_what_was_never_timed_is_counted_and_not_guessed():
    built = {**BUILT, "yard/checkpoint": Built("reported by something else")}
    del built["yard/onnx"]
    steps = planned({"yard/checkpoint": State.STALE, "yard/ptq": State.BEHIND, "yard/onnx": State.MISSING}, built=built)
    assert [steps[name].expected_s for name in ("yard/checkpoint", "yard/ptq", "yard/onnx")] == [None, 60, None]
    assert costs(tuple(steps.values())) == {
        "training": Cost(certain_s=0, at_most_s=60, unknown=1),
        "general": Cost(certain_s=0, at_most_s=0, unknown=1),
    }


def test_an_observation_costs_nothing():
    steps = planned({"platform/orin": State.MISSING, "yard/engine/orin": State.BEHIND}, built={})
    assert steps["platform/orin"].expected_s == 0
    assert costs((steps["platform/orin"],)) == {"orin": Cost(certain_s=0, at_most_s=0, unknown=0)}


def test_a_machine_reads_the_same_as_a_person():
    (step,) = planned({"yard/ptq": State.STALE}, causes={"yard/ptq": ["seed: 0 -> 1"]}).values()
    assert step.as_json() == {
        "state": "stale",
        "causes": ["seed: 0 -> 1"],
        "after": [],
        "pool": "training",
        "policy": "auto",
        "expected_s": 60,
        "is_certain": True,
    }
    assert costs([step])["training"].as_json() == {"certain_s": 60, "at_most_s": 60, "unknown": 0}


RULE = str(Cause(kind=CauseKind.CODE_RULE, what="yard/ptq", old="1", new="2"))


def test_assets_with_only_a_changed_rule_are_one_line_and_all_others_keep_theirs():
    stale = ("datasets/yard", "yard/checkpoint", "yard/ptq", "yard/onnx")
    causes = {name: (RULE, "waits for datasets/yard") for name in stale}
    causes["yard/ptq"] = ("ptq.images: 100 -> 200", RULE)
    steps = planned(dict.fromkeys(stale, State.STALE) | {"yard/engine/orin": State.BEHIND}, causes=causes)
    [common] = common_causes(tuple(steps.values()))
    assert common.assets == ("datasets/yard", "yard/checkpoint", "yard/onnx")
    assert str(common) == "3 assets: code version rule changed (1 -> 2), see docs/migration.md"
    assert steps["yard/checkpoint"].as_json()["causes"] == [RULE]


def test_a_cause_of_one_asset_and_any_other_cause_is_no_common_cause():
    causes = {"yard/checkpoint": (RULE,), "yard/ptq": ("datasets/yard is new",), "yard/onnx": ("datasets/yard is new",)}
    steps = planned(dict.fromkeys(causes, State.STALE), causes=causes)
    assert common_causes(tuple(steps.values())) == ()


@given(worlds())
@settings(max_examples=100, deadline=None)
def test_every_root_of_a_plan_is_in_it_earlier_and_is_not_behind(world: World):
    steps = make_plan(world.graph, world.found, world.built, {})
    assert [step.asset for step in steps] == list(world.unfresh)
    before: dict[str, Step] = {}
    for step in steps:
        assert all(root in before and before[root].is_certain for root in step.after)
        assert set(step.after) <= world.ancestors(step.asset)
        assert step.is_certain == (step.state is not State.BEHIND)
        assert step.is_certain or step.after
        before[step.asset] = step
