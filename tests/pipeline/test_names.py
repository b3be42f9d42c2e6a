"""Asset names: built and parsed in one place, each the inverse of the other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_assets.pipeline import names
from robot_assets.pipeline.registry import kind_of, reserved_words, stage_kinds

words = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)


@given(st.sampled_from(sorted(stage_kinds())), words, words, words, words, words)
def test_a_name_says_what_it_was_built_from(kind, dataset, model, target, weights, group):
    pattern = stage_kinds()[kind].pattern
    if model in reserved_words():  # which no model may be called
        return
    given = {"dataset": dataset, "model": model, "target": target, "weights": weights, "group": group}
    built = pattern.name(**given)
    found = kind_of(built.asset)
    assert found is not None
    assert found[0].name == kind
    read = found[1]
    for field, value in given.items():
        assert getattr(read, field) == (value if f"{{{field}}}" in pattern.text else "")


@pytest.mark.parametrize(
    "asset",
    ["", "raw", "raw/", "raw/Yard", "raw/yard/more", "a/engine", "a/engine/", "a/nothing", "/raw/yard", "raw/yard\n"],
)
def test_what_no_kind_would_name_so_is_not_parsed(asset):
    assert kind_of(asset) is None


def test_a_target_may_be_called_like_a_stage():
    kind, name = kind_of("profile/onnx")
    assert (kind.name, name.target) == ("profile", "onnx")


def test_shorthands_and_patterns_agree():
    assert names.engine("detector", "orin") == "detector/engine/orin"
    assert names.raw("yard") == "raw/yard"
    assert names.ENGINE.parse("detector/engine/orin") == names.AssetName(
        "detector/engine/orin", model="detector", target="orin"
    )
