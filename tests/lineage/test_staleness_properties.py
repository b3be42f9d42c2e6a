"""The version rules, on random graphs with random histories."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from robot_assets.lineage.record import desired_state
from robot_assets.lineage.staleness import State, statuses
from tests.lineage.worlds import (
    VERSIONS,
    Build,
    Change,
    SetParams,
    World,
    changes,
    finished,
    graphs,
    histories,
    input_changes,
    made_now,
    one_of,
    started,
    subject,
    worlds,
)

# This machine may be busy with other things; no property is about time.
thorough = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def as_the_rules_say(world: World) -> dict[str, State]:
    """The rules stated a second time, on the facts themselves: no digests, no order, all ancestors."""
    return {name: _state(world, name) for name in world.graph}


def _state(world: World, name: str) -> State:
    if world.graph[name].is_observed:
        return State.FRESH if name in world.seen else State.MISSING
    if name not in world.made:
        return State.MISSING
    if not _is_right_itself(world, name):
        return State.STALE
    if any(_state(world, above) is not State.FRESH for above in world.ancestors(name)):
        return State.BEHIND
    judged = [_judgement(world, name, gate.name) for gate in world.graph[name].gates]
    if False in judged:
        return State.GATE_FAILED
    return State.GATE_DUE if None in judged else State.FRESH


def _is_right_itself(world: World, name: str) -> bool:
    stage, made = world.graph[name], world.made[name]
    inputs = {above: world.version(above) for above in stage.inputs}
    return made.is_stored and made.code == world.code.version(stage.code, stage.params) and made.inputs == inputs


def _judgement(world: World, name: str, gate_name: str) -> bool | None:
    """Whether a gate passed on the present versions; None when it has not run on them."""
    gate = next(one for one in world.graph[name].gates if one.name == gate_name)
    judged = world.made[name].judged.get(gate_name)
    now = world.judging(name, gate, True)
    return judged.passed if judged and (judged.code, judged.read) == (now.code, now.read) else None


def states(world: World) -> dict[str, State]:
    return {name: status.state for name, status in world.found.items()}


def depth(world: World) -> int:
    """Produced assets on the longest path through the graph."""
    level: dict[str, int] = {}
    for name, stage in world.graph.items():
        level[name] = max((level[above] for above in stage.inputs), default=0) + (not stage.is_observed)
    return max(level.values())


@given(histories())
@settings(thorough, max_examples=250)
def test_after_every_event_the_statuses_are_what_the_rules_say(history):
    world, followed = history
    assert states(world) == as_the_rules_say(world)
    for event in followed:
        world = world.after(event)
        assert states(world) == as_the_rules_say(world)


@given(worlds(), st.data())
@thorough
def test_nothing_is_stale_after_everything_was_rebuilt_in_waves(world, data):
    world = replace(world, seen={**dict.fromkeys(world.observed, VERSIONS[0]), **world.seen})
    waves = 0
    while world.ready:
        world = world.after(*(Build(name, data.draw(st.sampled_from(VERSIONS))) for name in world.ready))
        waves += 1
    assert world.unfresh == {}
    assert waves <= depth(world)


@given(worlds(), st.data())
@thorough
def test_a_change_that_is_undone_is_no_change(world, data):
    made: list[tuple[Change, World]] = []
    changed = world
    for _ in range(data.draw(st.integers(1, 4))):
        change = data.draw(one_of(changes(changed)))
        made.append((change, changed))
        changed = changed.after(change)
    for change, before in reversed(made):
        changed = changed.after(change.undone(before))
    assert changed.found == world.found


@given(worlds(), st.data())
@thorough
def test_only_the_last_change_of_each_subject_counts_in_any_order(world, data):
    made: list[Change] = []
    changed = world
    for _ in range(data.draw(st.integers(1, 6))):
        made.append(data.draw(one_of(changes(changed))))
        changed = changed.after(made[-1])
    last = {subject(change): change for change in made}
    assert world.after(*data.draw(st.permutations(list(last.values())))).found == changed.found


@given(worlds(), st.data())
@thorough
def test_the_order_in_which_facts_are_given_does_not_matter(world, data):
    built = dict(data.draw(st.permutations(list(world.built.items()))))
    graph = {}
    while len(graph) < len(world.graph):
        possible = [
            name for name, stage in world.graph.items() if name not in graph and graph.keys() >= {*stage.inputs}
        ]
        name = data.draw(st.sampled_from(possible))
        graph[name] = world.graph[name]
    assert statuses(graph, built, world.code) == world.found


@given(worlds())
@thorough
def test_statuses_change_nothing_and_are_the_same_again(world):
    graph, built = dict(world.graph), world.built
    before = deepcopy((graph, built))
    first = statuses(graph, built, world.code)
    assert (graph, built) == before
    assert statuses(graph, built, world.code) == first


@given(graphs(), st.data())
@thorough
def test_a_rebuild_to_the_same_bytes_stops_there(graph, data):
    world = finished(started(graph))
    if not world.produced:
        return
    name = data.draw(st.sampled_from(world.produced))
    changed = world.after(SetParams(name, {"epochs": 2}))
    assert changed.found[name].state is State.STALE
    assert {other for other, status in changed.unfresh.items() if status.state is not State.BEHIND} == {name}
    assert changed.after(Build(name, world.made[name].version)).unfresh == {}


@given(worlds(), st.data())
@thorough
def test_a_rebuild_to_the_same_bytes_makes_no_other_asset_stale(world, data):
    rebuildable = [name for name in world.ready if name in world.made]
    if not rebuildable:
        return
    name = data.draw(st.sampled_from(rebuildable))
    after = world.after(Build(name, world.made[name].version))
    assert after.found[name].is_fresh
    wrong = {State.STALE, State.MISSING}
    assert {one for one in world.graph if one != name and states(world)[one] in wrong} == {
        one for one in after.graph if states(after)[one] in wrong
    }


@given(worlds(), st.data())
@thorough
def test_adding_or_removing_an_input_counts(world, data):
    buildable = {name for name in world.made if all(map(world.version, world.graph[name].inputs))}
    possible = [change for change in input_changes(world) if change.asset in buildable]
    if possible:
        change = data.draw(st.sampled_from(possible))
        world = world.with_made(change.asset, made_now(world, change.asset))
        assert states(world)[change.asset] is not State.STALE
        assert states(world.after(change))[change.asset] is State.STALE


@given(worlds())
@thorough
def test_waiting_is_for_inputs_that_are_not_fresh_and_for_nothing_else(world):
    for name, status in world.found.items():
        stage = world.graph[name]
        waits_for = () if stage.is_observed else tuple(above for above in stage.inputs if above in world.unfresh)
        assert status.waits_for == waits_for
        assert status.is_ready == (not stage.is_observed and not waits_for and not status.is_fresh)
        assert (status.state is State.BEHIND) <= bool(waits_for)


@given(worlds())
@thorough
def test_no_two_assets_have_the_same_desired_state(world):
    names = [status.desired_state for status in world.found.values() if status.is_ready]
    assert len(names) == len(set(names))
    assert None not in names


words = st.one_of(st.sampled_from(("a", "b", "", 'a"', "a,b", "a]", "toy/a:size")), st.text(max_size=3))
named = st.tuples(words, words, st.dictionaries(words, words, max_size=3))


@given(named, named, st.randoms())
@settings(max_examples=200, deadline=None)
def test_the_name_of_a_state_differs_exactly_when_asset_code_or_inputs_do(one, other, random):
    assert (desired_state(*one) == desired_state(*other)) == (one == other)
    asset, code, inputs = one
    shuffled = list(inputs.items())
    random.shuffle(shuffled)
    assert desired_state(asset, code, dict(shuffled)) == desired_state(*one)


def test_the_worlds_of_these_tests_reach_every_state():
    """A property of worlds in which nothing happens would prove nothing."""
    quick = settings(max_examples=5000, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    for state in State:
        assert find(worlds(), lambda world, state=state: state in states(world).values(), settings=quick)
    assert find(
        worlds(),
        lambda world: any(one.waits_for for one in world.unfresh.values() if one.state is State.STALE),
        settings=quick,
    )
