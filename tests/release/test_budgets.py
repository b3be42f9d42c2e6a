"""Budgets of a release are at least as tight as demanded, or named with both values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_assets.release.budgets import looser, tightest

BUDGETS = {"latency_ms_p95_max": 40.0, "memory_mib_max": 100.0, "throughput_images_per_s_min": 20.0}
limits = st.floats(0.001, 1000)
demands = st.dictionaries(
    st.sampled_from(["latency_ms_p95_max", "latency_ms_p99_max", "memory_mib_max", "throughput_images_per_s_min"]),
    limits,
)


@pytest.mark.parametrize(
    ("demanded", "found"),
    [
        ({}, []),
        ({"memory_mib_max": None}, []),
        (BUDGETS, []),
        ({"latency_ms_p95_max": 50, "throughput_images_per_s_min": 10}, []),
        ({"latency_ms_p95_max": 39.5}, ["latency_ms_p95_max was 40 (demanded: 39.5 or less)"]),
        ({"throughput_images_per_s_min": 25}, ["throughput_images_per_s_min was 20 (demanded: 25 or more)"]),
        ({"engine_size_mib_max": 3}, ["it was judged without engine_size_mib_max (demanded: 3)"]),
    ],
)
def test_a_looser_budget_is_named(demanded, found):
    assert looser(BUDGETS, demanded) == found


def test_a_budget_of_a_higher_percentile_holds_for_a_lower_one():
    assert looser({"latency_ms_p95_max": 40, "latency_ms_p99_max": 30}, {"latency_ms_p95_max": 35}) == []
    assert looser({"latency_ms_p99_max": 30}, {"latency_ms_p50_max": 30}) == []
    assert looser({"latency_ms_p95_max": 20}, {"latency_ms_p99_max": 30}) != []


@given(demands, demands)
def test_the_tightest_of_two_demands_keeps_both(one, other):
    both = tightest(one, other)
    assert looser(both, one) == []
    assert looser(both, other) == []
    assert both.keys() == one.keys() | other.keys()


@given(demands)
def test_budgets_are_never_looser_than_themselves(budgets):
    assert looser(budgets, budgets) == []
