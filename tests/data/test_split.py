"""Properties of the split, on random sessions."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_assets.core.errors import DataError
from robot_assets.data.duplicates import SessionLink
from robot_assets.data.spec import SplitSpec
from robot_assets.data.split import SPLITS, Unit, split_units

SPEC = SplitSpec(train=0.7, val=0.15, test=0.15, seed=0)

boxes = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 300))
sizes = st.lists(st.tuples(st.integers(1, 200), boxes), min_size=3, max_size=30)


def units_of(sizes: list[tuple[int, dict[str, int]]]) -> list[Unit]:
    return [Unit((f"s{number:02}",), images, counts) for number, (images, counts) in enumerate(sizes)]


@settings(max_examples=60, deadline=None)
@given(sizes=sizes, seed=st.integers(0, 3), order=st.randoms(use_true_random=False))
def test_every_session_is_in_exactly_one_split_independently_of_their_order(
    sizes: list[tuple[int, dict[str, int]]], seed: int, order: random.Random
) -> None:
    spec = SPEC.model_copy(update={"seed": seed})
    units = units_of(sizes)
    found = split_units(units, spec)
    assert set(found) == set(SPLITS)
    assert all(found.values())
    assert sorted(name for names in found.values() for name in names) == [unit.sessions[0] for unit in units]
    order.shuffle(units)
    assert split_units(units, spec) == found


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.tuples(st.integers(1, 200), boxes), min_size=3, max_size=7))
def test_a_class_is_in_every_split_whenever_possible(
    sizes: list[tuple[int, dict[str, int]]],
) -> None:
    units = units_of(sizes)
    found = split_units(units, SPEC)
    home = {session: split for split, names in found.items() for session in names}

    def absences(assignment: list[str]) -> int:
        return sum(
            not any(unit.counts.get(label) for unit, at in zip(units, assignment, strict=True) if at == split)
            for label in "abcd"
            if sum(bool(unit.counts.get(label)) for unit in units) >= 3
            for split in SPLITS
        )

    chosen = absences([home[unit.sessions[0]] for unit in units])
    lots = random.Random(0)
    others = ([lots.choice(SPLITS) for _ in units] for _ in range(200))
    assert chosen <= min(absences(other) for other in others if set(other) == set(SPLITS))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=40, max_size=80))
def test_shares_of_many_small_sessions_are_close_to_the_parameters(images: list[int]) -> None:
    units = [Unit((f"s{number:02}",), count, {"a": count}) for number, count in enumerate(images)]
    found = split_units(units, SPEC)
    size = {unit.sessions[0]: unit.images for unit in units}
    for split, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        got = sum(size[session] for session in found[split]) / sum(images)
        assert abs(got - share) < 0.05


def test_another_seed_gives_another_split() -> None:
    units = [Unit((f"s{number:02}",), 10 + number, {}) for number in range(30)]
    assert split_units(units, SPEC) != split_units(units, SPEC.model_copy(update={"seed": 1}))


def test_a_unit_of_several_sessions_stays_together() -> None:
    units = [Unit(("a", "b", "c"), 30, {}), *(Unit((f"s{number}",), 10, {}) for number in range(8))]
    found = split_units(units, SPEC)
    assert sum({"a", "b", "c"} <= set(names) for names in found.values()) == 1


def refusal(units: list[Unit], name: str = "") -> DataError:
    with pytest.raises(DataError) as error:
        split_units(units, SPEC, name)
    return error.value


def test_too_few_sessions_are_counted_with_the_command_that_proposes_more() -> None:
    assert refusal([Unit(("a",), 5, {}), Unit(("b",), 5, {})]).found == "2 sessions: cannot be split"
    error = refusal([Unit(("a",), 5, {})], "yard")
    assert error.found == "1 session: cannot be split"
    assert error.fix.startswith("robot-assets data check yard ")


def linked(names: str, bits: int) -> Unit:
    pairs = itertools.pairwise(names)
    links = [SessionLink((one, other), (f"{one}/0.jpg", f"{other}/0.jpg"), bits) for one, other in pairs]
    return Unit(tuple(names), 9, {}, tuple(links))


def test_linked_sessions_are_named_with_a_pair_of_images_for_each_link() -> None:
    error = refusal([linked("abc", 1), linked("de", 2)], "yard")
    assert error.found.splitlines() == [
        "5 sessions: cannot be split, since near-duplicate images leave only 2 independent",
        "    linked: a, b, c",
        "      a/0.jpg and b/0.jpg: 1 bit of 64 differs",
        "      b/0.jpg and c/0.jpg: 1 bit of 64 differs",
        "    linked: d, e",
        "      d/0.jpg and e/0.jpg: 2 bits of 64 differ",
    ]
    assert "lower datasets.yard.near_duplicate_bits in params.yaml" in error.fix


def test_a_lower_limit_is_not_proposed_for_equal_images() -> None:
    assert "near_duplicate_bits" not in refusal([linked("abc", 0)], "yard").fix


def test_many_links_are_counted() -> None:
    names = "abcdefghijklmnopqrstuvwxyz"
    assert refusal([linked(names, 0)]).found.endswith("\n      and 15 more links")
