"""Quantities agree with Kubernetes, and the memory of further attempts increases up to a maximum."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from kubernetes.utils import parse_quantity

from robot_assets.cluster.quantity import as_quantity, in_bytes, increased

AMOUNTS = some.builds(lambda number, unit: f"{number}{unit}", some.integers(1, 9999), some.sampled_from(["Mi", "Gi"]))


@settings(deadline=None)
@given(AMOUNTS)
def test_bytes_are_those_that_kubernetes_reads(amount):
    assert in_bytes(amount) == parse_quantity(amount)


@settings(deadline=None)
@given(AMOUNTS)
def test_a_quantity_survives_the_round_trip(amount):
    assert in_bytes(as_quantity(in_bytes(amount))) == in_bytes(amount)


@pytest.mark.parametrize("amount", ["16", "16G", "1.5Gi", "0Gi", "-1Gi", "16gi", "16 Gi", "", "١Gi"])
def test_an_ambiguous_quantity_is_refused(amount):
    with pytest.raises(ValueError, match="512Mi or 16Gi"):
        in_bytes(amount)


def test_each_kill_increases_the_memory_up_to_the_maximum():
    requested = [increased("16Gi", "40Gi", 1.5, kills) for kills in range(5)]
    assert requested == ["16Gi", "24Gi", "36Gi", "40Gi", "40Gi"]


def test_without_a_maximum_the_memory_stays_the_same():
    assert increased("16Gi", None, 1.5, 3) == "16Gi"


@settings(deadline=None)
@given(AMOUNTS, some.floats(1.01, 8), some.integers(0, 5000))
def test_the_memory_of_an_attempt_is_between_that_of_the_one_before_and_the_maximum(memory, factor, kills):
    maximum = as_quantity(in_bytes(memory) * 3)
    before, after = (in_bytes(increased(memory, maximum, factor, count)) for count in (kills, kills + 1))
    assert in_bytes(memory) <= before <= after <= in_bytes(maximum)
