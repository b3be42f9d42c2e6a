"""References of the section ``fleet`` of params.yaml: groups, their targets, models and robots, and recalls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from robot_assets.core.errors import ParamsError
from robot_assets.pipeline.params import load_params, parse_params
from tests.sample_params import sample_document

KEY = "ed25519:Xjy222Z02f1qju/PEpZ9OB0PXkcKmRJc2C/vsRWdJLo="


def document(edit: Callable[[dict[str, Any]], None] = lambda groups: None, **fleet: Any) -> dict[str, Any]:
    params = sample_document()
    groups = {"yard": {"robots": ["mower_1", "mower_2"], "target": "cpu", "models": ["sidewalk_detector"]}}
    edit(groups)
    params["fleet"] = {"groups": groups, **fleet}
    return params


def mistakes(params: dict[str, Any]) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        parse_params(params)
    return list(caught.value.details["mistakes"])  # type: ignore[index]


def test_a_group_names_a_target_and_models_that_run_on_it():
    params = parse_params(document())
    assert params.fleet.groups["yard"].models == ("sidewalk_detector",)


@pytest.mark.parametrize("fleet", [None, {}])
def test_a_section_without_entries_has_no_groups(fleet):
    assert parse_params({**sample_document(), "fleet": fleet}).fleet.groups == {}


def test_an_unknown_target_and_an_unknown_model_are_named_with_the_near_miss():
    found = mistakes(document(lambda groups: groups["yard"].update(target="cpuu", models=["sidewalk_detecter"])))
    assert any(one.startswith("fleet.groups.yard.target: unknown target 'cpuu'; did you mean 'cpu'?") for one in found)
    assert any(
        one.startswith("fleet.groups.yard.models: unknown model 'sidewalk_detecter'; did you mean 'sidewalk_detector'?")
        for one in found
    )


def test_a_model_has_to_be_built_for_the_target_of_the_group():
    params = document(lambda groups: groups["yard"].update(target="board"))
    params["targets"]["board"] = {"kind": "onnxruntime", "gate": {"latency_ms_p95_max": 8}}
    [found] = mistakes(params)
    assert found.startswith("fleet.groups.yard.models: models.sidewalk_detector.targets is ['cpu'], so no engine of it")
    assert "needed board among them, or sidewalk_detector out of the group" in found


def second(*robots: str, name: str = "street") -> Callable[[dict[str, Any]], None]:
    return lambda groups: groups.update({name: {**groups["yard"], "robots": list(robots)}})


def test_a_robot_is_in_one_group():
    [found] = mistakes(document(second("mower_2", "mower_3")))
    assert "fleet.groups.street.robots: mower_2 is also in fleet.groups.yard; needed each robot in one group" in found


def test_patterns_are_compared_with_enrolled_robots_later():
    assert parse_params(document(second("mower_*", "delivery_?"))).fleet.groups["street"].robots[0] == "mower_*"


def test_a_robot_is_not_named_like_a_group():
    [found] = mistakes(document(second("yard")))
    assert "fleet.groups.street.robots: yard is also the name of a group; needed another name" in found


@pytest.mark.parametrize("name", ["Yard", "yard-1", "1yard", "../yard", "y" * 64])
def test_a_group_has_a_name_like_other_entries(name):
    found = mistakes(document(second("mower_9", name=name)))
    assert any("a name is lower-case letters, digits and underscores, a letter first" in one for one in found)


def test_a_model_is_not_named_like_the_first_word_of_assets_of_a_fleet():
    params = document()
    params["models"]["fleet"] = params["models"]["sidewalk_detector"]
    [found] = mistakes(params)
    assert found.startswith("models.fleet: other assets begin with fleet/; needed another name")


@pytest.mark.parametrize("given", ["d41d8cd98f00b204e9800998ecf8427e.dir", "d41d8cd9", KEY, "a" * 64])
def test_a_recall_names_a_hash_or_a_key(given):
    recalled = parse_params(document(recalls=[{"hash": given, "reason": "a bad recording"}])).fleet.recalls
    assert recalled[0].hash == given


@pytest.mark.parametrize(
    "given", ["D41D8CD98F00", "release/yard", "sidewalk_detector", "ed25519:short", "d41d8cd98f00b204*", "a" * 65]
)
def test_a_recall_of_something_else_is_refused(given):
    [found] = mistakes(document(recalls=[{"hash": given, "reason": "a bad recording"}]))
    assert "fleet.recalls.0.hash: needed 8 to 64 hexadecimal digits, lower case, or a key" in found


def test_a_hash_is_recalled_once():
    twice = [{"hash": "d41d8cd98f00", "reason": "a bad recording"}, {"hash": "d41d8cd98f00", "reason": "again"}]
    [found] = mistakes(document(recalls=twice))
    assert "fleet.recalls.1.hash: d41d8cd98f00 is recalled twice" in found


def test_a_target_that_its_robots_report_needs_robots():
    params = sample_document()
    params["targets"]["cpu"]["platform"] = "fleet"
    [found] = mistakes(params)
    assert "targets.cpu.platform: is fleet, and no group of fleet.groups has the target cpu" in found
    params["fleet"] = document()["fleet"]
    assert parse_params(params).targets["cpu"].platform == "fleet"


def test_the_policies_of_the_kinds_of_a_fleet_are_keys():
    params = document()
    params["rebuild"]["policy"] |= {"release": "manual", "rollout": "manual"}
    assert parse_params(params).rebuild.policy["rollout"] == "manual"
    params["rebuild"]["policy"] = {"fleet": "manual"}
    [found] = mistakes(params)
    assert "rebuild.policy.fleet: unknown kind of stage 'fleet'" in found


def test_a_mistake_is_found_by_its_line(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document(second("mower_2")), sort_keys=False))
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    number = path.read_text().splitlines().index("    street:") + 3
    assert f"line {number}: fleet.groups.street.robots" in caught.value.found
