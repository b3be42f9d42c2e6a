"""robot.yaml: what a person mistypes is shown with its line and the near miss."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_assets.agent.robot_yaml import check_files, load_robot, public_key
from robot_assets.fleet.errors import AgentError
from robot_assets.provenance.keys import create_key
from robot_assets.provenance.public_key import PublicKey

KEY = str(PublicKey(bytes(range(32))))
VALID = f"""
robot: r1
group: robots
url: ../repository
root: root.json
key: robot.pem
trusted_keys: ["{KEY}"]
state: state
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "etc" / "robot.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_relative_paths_start_in_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER", "/srv")
    path = written(tmp_path, VALID + "health: {file: $SERVER/alive}\nbusy: {file: moving}\n")
    robot = load_robot(path)
    folder = tmp_path / "etc"
    assert (robot.root, robot.key, robot.state) == (folder / "root.json", folder / "robot.pem", folder / "state")
    assert Path(robot.url).resolve() == tmp_path / "repository"
    assert robot.health
    assert robot.busy
    assert (robot.health.file, robot.busy.file) == (Path("/srv/alive"), folder / "moving")


def test_urls_stay_as_they_are(tmp_path: Path) -> None:
    robot = load_robot(written(tmp_path, VALID.replace("../repository", "https://fleet.example.org/a")))
    assert robot.url == "https://fleet.example.org/a"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gruop: x", "line 9: gruop: unknown key; did you mean 'group'?"),
        ("poll_s: 0", "line 9: poll_s: needed a number greater than 0.0 (found 0)"),
        ("poll_s: soon", "line 9: poll_s: needed a number (found soon)"),
        ("poll_s: yes", "poll_s: no key takes true or false"),
        ("health: {max_ages: 3}", "line 9: health.max_ages: unknown key; did you mean 'max_age_s'?"),
        ("health: {}", "health: has neither file nor command; needed one of them, or no health"),
        ("busy: {}", "busy: has neither file nor command; needed one of them, or no busy"),
        ("budgets: {latency_p95: 3}", "line 9: budgets.latency_p95: unknown key; did you mean"),
        ("on_switch: restart it", "line 9: on_switch: needed a list (found restart it)"),
        ("reports_url: ''", "reports_url: is empty; needed https://, s3://, file:// or a folder"),
        ("reserve_mib: -1", "line 9: reserve_mib: needed 0.0 or more (found -1)"),
        ("robot: r2", "line 9, column 1: duplicate key 'robot', which is in line 2 already"),
        ("health: {file: $NOT_SET/alive}", "'$NOT_SET/alive': the variable NOT_SET is not set"),
    ],
)
def test_a_mistake_is_shown_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(AgentError) as caught:
        load_robot(written(tmp_path, VALID + line + "\n"))
    assert said in caught.value.found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("robot: r1", "robot: R 1", "line 2: robot: needed lower-case letters, digits"),
        ("robot: r1\n", "", "robot: missing"),
        ("group: robots", "group: ../x", "line 3: group: needed lower-case letters"),
        (f'["{KEY}"]', "[]", "line 7: trusted_keys: needed at least one entry (found [])"),
        (f'["{KEY}"]', "[abc]", "trusted_keys.0: "),
        ("url: ../repository", 'url: ""', "url: is empty; needed https://"),
        ("state: state", "state: 3", "line 8: state: needed a path (found 3)"),
    ],
)
def test_a_wrong_value_is_shown_as_it_was_typed(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(AgentError) as caught:
        load_robot(written(tmp_path, VALID.replace(old, new)))
    assert said in caught.value.found
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "just a line", "- a\n- b\n", "a: [\n", "\0"])
def test_a_file_that_is_no_robot_yaml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(AgentError) as caught:
        load_robot(written(tmp_path, text))
    assert "robot.yaml has 1 mistake" in caught.value.found


def test_a_missing_file_has_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(AgentError) as caught:
        load_robot(tmp_path / "robot.yaml")
    assert caught.value.fix.startswith("robot-assets agent install --robot ")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="cannot be read"):
        load_robot(tmp_path)


def test_the_key_of_a_robot_is_for_its_owner_alone(tmp_path: Path) -> None:
    robot = load_robot(written(tmp_path, VALID))
    with pytest.raises(AgentError, match="root metadata"):
        check_files(robot)
    _write_root(robot.root)
    with pytest.raises(AgentError, match="no signing key") as caught:
        check_files(robot)
    assert caught.value.fix.startswith("robot-assets key create --out ")
    public = create_key(robot.key)
    check_files(robot)
    assert public_key(robot) == str(public)
    robot.key.chmod(0o644)
    with pytest.raises(AgentError, match="mode 0644"):
        check_files(robot)


def test_a_root_that_is_none_is_refused(tmp_path: Path) -> None:
    robot = load_robot(written(tmp_path, VALID))
    robot.root.write_text("{}")
    with pytest.raises(AgentError, match="not root metadata"):
        check_files(robot)


def _write_root(path: Path) -> None:
    from robot_assets.fleet.files import Files
    from robot_assets.fleet.keys import make_root_keys
    from robot_assets.fleet.repository import Repository

    keys = path.parent / "fleet_keys"
    Repository.create(Files(str(path.parent / "repository")), keys, root_keys=make_root_keys(keys / "root", 1, 1))
    path.write_bytes((keys / "root.json").read_bytes())
