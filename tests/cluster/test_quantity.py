"""Amounts of memory: ours are Kubernetes' own, and the next attempt asks for more, up to the ceiling."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from kubernetes.utils import parse_quantity

from robot_assets.cluster.quantity import grown, in_bytes, in_words

AMOUNTS = some.builds(lambda number, unit: f"{number}{unit}", some.integers(1, 9999), some.sampled_from(["Mi", "Gi"]))


@settings(deadline=None)
@given(AMOUNTS)
def test_an_amount_is_what_kubernetes_takes_it_for(amount):
    assert in_bytes(amount) == parse_quantity(amount)


@settings(deadline=None)
@given(AMOUNTS)
def test_words_and_bytes_are_the_same_amount(amount):
    assert in_bytes(in_words(in_bytes(amount))) == in_bytes(amount)


@pytest.mark.parametrize("amount", ["16", "16G", "1.5Gi", "0Gi", "-1Gi", "16gi", "16 Gi", "", "١Gi"])
def test_an_amount_that_is_easily_misread_is_refused(amount):
    with pytest.raises(ValueError, match="512Mi or 16Gi"):
        in_bytes(amount)


def test_each_kill_asks_for_more_until_the_ceiling():
    asked = [grown("16Gi", "40Gi", 1.5, kills) for kills in range(5)]
    assert asked == ["16Gi", "24Gi", "36Gi", "40Gi", "40Gi"]


def test_without_a_ceiling_no_attempt_asks_for_more():
    assert grown("16Gi", None, 1.5, 3) == "16Gi"


@settings(deadline=None)
@given(AMOUNTS, some.floats(1.01, 8), some.integers(0, 5000))
def test_an_attempt_never_asks_for_less_than_the_one_before_nor_for_more_than_the_ceiling(memory, factor, kills):
    ceiling = in_words(in_bytes(memory) * 3)
    before, after = (in_bytes(grown(memory, ceiling, factor, count)) for count in (kills, kills + 1))
    assert in_bytes(memory) <= before <= after <= in_bytes(ceiling)
