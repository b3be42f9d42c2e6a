"""The search finds few, cheap layers, and always the same ones."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robot_assets.sensitivity.search import search

LAYERS = tuple("abcdefgh")
NO_DEADLINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
losses = st.fixed_dictionaries({name: st.integers(0, 40).map(lambda tenths: tenths / 10) for name in LAYERS})
costs = st.fixed_dictionaries({name: st.integers(0, 20).map(float) for name in LAYERS})


def sum_of_losses(values: dict[str, float], total: float):
    """A drop that is the sum of the losses of all layers that are not in float."""
    return lambda in_float: total - sum(values[name] for name in sorted(in_float))


def ranked(values: dict[str, float]) -> list[str]:
    return sorted(LAYERS, key=lambda name: -values[name])


def sum_of_costs(values: dict[str, float]):
    return lambda in_float: sum(values[name] for name in sorted(in_float))


def test_no_layer_is_in_float_when_all_int8_is_within_the_bound():
    found = search([LAYERS], lambda _: 0.4, lambda _: 0.0, bound=0.5, layers_max=4)
    assert found.holds
    assert found.best.layers == ()
    assert len(found.trials) == 1


def test_one_ruined_layer_is_found_alone():
    loss = dict.fromkeys(LAYERS, 0.05) | {"e": 12.0}
    found = search([ranked(loss)], sum_of_losses(loss, sum(loss.values())), len, bound=1.0, layers_max=4)
    assert found.holds
    assert found.best.layers == ("e",)


def test_a_layer_that_is_not_needed_is_removed_again():
    """b alone has the largest loss, but a in float is enough: their losses are not independent."""
    found = search([["b", "a", "c"]], lambda one: 0.2 if "a" in one else 3.0, len, bound=1.0, layers_max=3)
    assert found.best.layers == ("a",)


def test_the_cheaper_of_two_sets_is_chosen():
    loss, cost = {"a": 3.0, "b": 2.9, "c": 0.0}, {"a": 9.0, "b": 1.0, "c": 1.0}
    drop = lambda one: 3.5 - sum(loss[name] for name in one)  # noqa: E731
    cost_of = lambda one: sum(cost[name] for name in one)  # noqa: E731
    found = search([["a", "b", "c"], ["b", "a", "c"]], drop, cost_of, bound=1.0, layers_max=3)
    assert found.best.layers == ("b",)


def test_without_a_set_within_the_bound_the_result_is_the_set_with_the_smallest_drop():
    loss = dict.fromkeys(LAYERS, 1.0)
    found = search([LAYERS], sum_of_losses(loss, 8.0), len, bound=1.0, layers_max=3)
    assert not found.holds
    assert found.best.layers == ("a", "b", "c")
    assert found.best.drop_points == 5.0


@NO_DEADLINE
@given(loss=losses, cost=costs, bound=st.integers(0, 200).map(lambda tenths: tenths / 10), layers_max=st.integers(1, 8))
def test_a_set_within_the_bound_is_small_enough_and_needs_each_of_its_layers(loss, cost, bound, layers_max):
    total = sum(loss[name] for name in sorted(LAYERS))
    drop = sum_of_losses(loss, total)
    found = search([ranked(loss), list(LAYERS)], drop, sum_of_costs(cost), bound, layers_max)
    best = frozenset(found.best.layers)
    assert len(best) <= layers_max
    assert found.holds == (found.best.drop_points <= bound)
    if found.holds:
        assert all(drop(best - {name}) > bound for name in best)
    else:
        assert drop(frozenset(ranked(loss)[:layers_max])) > bound, "the worst layers are within the bound"


@NO_DEADLINE
@given(loss=losses, cost=costs)
def test_each_set_is_measured_once_and_the_result_is_always_the_same(loss, cost):
    measured = []

    def drop(in_float):
        measured.append(in_float)
        return sum_of_losses(loss, 10.0)(in_float)

    rankings = [ranked(loss), list(LAYERS)]
    first = search(rankings, drop, sum_of_costs(cost), 1.0, 4)
    assert len(measured) == len(set(measured))
    assert search(rankings, drop, sum_of_costs(cost), 1.0, 4) == first
