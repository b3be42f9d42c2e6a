"""The search finds few and cheap layers, and always the same ones."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robot_assets.sensitivity.search import search

LAYERS = tuple("abcdefgh")
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
losses = st.fixed_dictionaries({name: st.integers(0, 40).map(lambda tenths: tenths / 10) for name in LAYERS})
costs = st.fixed_dictionaries({name: st.integers(0, 20).map(float) for name in LAYERS})


def adding_up(values: dict[str, float], total: float):
    """What is lost when losses add up: those of all layers but the ones in float."""
    return lambda in_float: total - sum(values[name] for name in sorted(in_float))


def ranked(values: dict[str, float]) -> list[str]:
    return sorted(LAYERS, key=lambda name: -values[name])


def price(values: dict[str, float]):
    return lambda in_float: sum(values[name] for name in sorted(in_float))


def test_nothing_stays_in_float_when_the_gate_holds_already():
    found = search([LAYERS], lambda _: 0.4, lambda _: 0.0, bound=0.5, most=4)
    assert found.holds
    assert found.best.layers == ()
    assert len(found.trials) == 1


def test_one_ruined_layer_is_found_alone():
    loss = dict.fromkeys(LAYERS, 0.05) | {"e": 12.0}
    found = search([ranked(loss)], adding_up(loss, sum(loss.values())), lambda one: len(one), bound=1.0, most=4)
    assert found.holds
    assert found.best.layers == ("e",)


def test_a_layer_that_turns_out_not_to_be_needed_goes_back():
    """b loses most alone, but what it loses is lost in a as well: a in float is enough."""
    found = search([["b", "a", "c"]], lambda one: 0.2 if "a" in one else 3.0, lambda one: len(one), bound=1.0, most=3)
    assert found.best.layers == ("a",)


def test_of_two_ways_the_cheaper_is_taken():
    loss, cost = {"a": 3.0, "b": 2.9, "c": 0.0}, {"a": 9.0, "b": 1.0, "c": 1.0}
    drop = lambda one: 3.5 - sum(loss[name] for name in one)  # noqa: E731
    price_of = lambda one: sum(cost[name] for name in one)  # noqa: E731
    found = search([["a", "b", "c"], ["b", "a", "c"]], drop, price_of, bound=1.0, most=3)
    assert found.best.layers == ("b",)


def test_when_no_allowed_set_is_enough_it_says_so_and_gives_the_best():
    loss = dict.fromkeys(LAYERS, 1.0)
    found = search([LAYERS], adding_up(loss, 8.0), lambda one: len(one), bound=1.0, most=3)
    assert not found.holds
    assert found.best.layers == ("a", "b", "c")
    assert found.best.drop_points == 5.0


@PATIENT
@given(loss=losses, cost=costs, bound=st.integers(0, 200).map(lambda tenths: tenths / 10), most=st.integers(1, 8))
def test_a_set_that_holds_is_small_enough_and_needs_each_of_its_layers(loss, cost, bound, most):
    total = sum(loss[name] for name in sorted(LAYERS))
    drop = adding_up(loss, total)
    found = search([ranked(loss), list(LAYERS)], drop, price(cost), bound, most)
    best = frozenset(found.best.layers)
    assert len(best) <= most
    assert found.holds == (found.best.drop_points <= bound)
    if found.holds:
        assert all(drop(best - {name}) > bound for name in best)
    else:
        assert drop(frozenset(ranked(loss)[:most])) > bound, "the worst layers together are not enough"


@PATIENT
@given(loss=losses, cost=costs)
def test_each_set_is_measured_once_and_the_answer_is_always_the_same(loss, cost):
    asked = []

    def drop(in_float):
        asked.append(in_float)
        return adding_up(loss, 10.0)(in_float)

    rankings = [ranked(loss), list(LAYERS)]
    first = search(rankings, drop, price(cost), 1.0, 4)
    assert len(asked) == len(set(asked))
    assert search(rankings, drop, price(cost), 1.0, 4) == first
