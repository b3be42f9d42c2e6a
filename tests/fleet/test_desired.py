"""The enrolled robots of a project, and which group each is in."""

from __future__ import annotations

from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from robot_assets.fleet.desired import ROBOTS_FILE, enrolled_keys, robots_of
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.spec import FleetSpec
from robot_assets.provenance.keys import public_half


def key() -> str:
    return str(public_half(CryptoSigner.generate_ed25519()))


def written(root: Path, text: str) -> Path:
    path = root / ROBOTS_FILE
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return root


def fleet(**groups: list[str]) -> FleetSpec:
    return FleetSpec(
        groups={name: {"robots": robots, "target": "cpu", "models": ["m"]} for name, robots in groups.items()}
    )


def test_robots_have_their_keys(tmp_path):
    lines = {"mower_1": key(), "mower-2.a": key()}
    found = enrolled_keys(written(tmp_path, "".join(f"{robot}: {line}\n" for robot, line in lines.items())))
    assert {robot: str(one) for robot, one in found.items()} == lines


@pytest.mark.parametrize("text", [None, "", "# nobody yet\n"])
def test_a_project_without_robots_has_none(tmp_path, text):
    root = tmp_path if text is None else written(tmp_path, text)
    assert enrolled_keys(root) == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mower_1: not-a-key\n", "has no key of mower_1: 'not-a-key' is not a public key"),
        ("Mower: ed25519:abc\n", "has the entry Mower: 'ed25519:abc'"),
        ("../x: ed25519:abc\n", "has the entry ../x"),
        ("mower_1: [1]\n", "has the entry mower_1: [1]"),
        ("1: 2\n", "has the entry 1: 2"),
        ("- mower_1\n", "is ['mower_1']"),
        ("mower_1: {\n", "is not valid YAML: line"),
        ("mower_1: a\nmower_1: b\n", "is not valid YAML: line 2"),
        ("<<<<<<< HEAD\n", "conflict markers"),
    ],
)
def test_a_file_that_is_no_list_of_robots_is_an_error(tmp_path, text, found):
    with pytest.raises(FleetError) as caught:
        enrolled_keys(written(tmp_path, text))
    assert found in caught.value.found
    assert ROBOTS_FILE in caught.value.found


def test_two_robots_do_not_share_a_key(tmp_path):
    line = key()
    with pytest.raises(FleetError, match="has one key for mower_1 and mower_2"):
        enrolled_keys(written(tmp_path, f"mower_1: {line}\nmower_2: {line}\n"))


def test_a_group_has_its_enrolled_robots_in_its_own_order():
    enrolled = ["mower_10", "mower_2", "mower_1", "canary", "delivery_1"]
    spec = fleet(yard=["canary", "unknown", "mower_2", "mower_*"], street=["delivery_?"])
    assert robots_of(spec, "yard", enrolled) == ("canary", "mower_2", "mower_1", "mower_10")
    assert robots_of(spec, "street", enrolled) == ("delivery_1",)
    assert robots_of(spec, "street", ["mower_1"]) == ()


def test_a_robot_that_a_group_names_is_in_that_group_alone():
    spec = fleet(yard=["mower_*"], street=["mower_7"])
    assert robots_of(spec, "yard", ["mower_1", "mower_7"]) == ("mower_1",)
    assert robots_of(spec, "street", ["mower_1", "mower_7"]) == ("mower_7",)


def test_a_robot_that_matches_patterns_of_two_groups_is_an_error():
    spec = fleet(yard=["mower_*"], street=["*_7"], depot=["other_*"])
    for group in ("yard", "street"):
        with pytest.raises(FleetError, match="mower_7 matches robots of two groups"):
            robots_of(spec, group, ["mower_1", "mower_7"])
    assert robots_of(spec, "depot", ["mower_7", "other_1"]) == ("other_1",)


def test_brackets_are_no_pattern():
    assert robots_of(fleet(yard=["mower_*"]), "yard", ["mower_[1]"]) == ("mower_[1]",)
