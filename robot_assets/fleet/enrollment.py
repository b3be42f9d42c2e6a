"""Edits ``data/fleet/robots.yaml`` in place: comments and the order of its lines stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.paths import shown_path
from robot_assets.core.publishing import publishing_file
from robot_assets.core.yaml_documents import composed, decoded
from robot_assets.fleet.desired import ROBOT, ROBOT_NEEDED, ROBOTS_FILE, enrolled_keys, parse_robots
from robot_assets.fleet.errors import FleetError
from robot_assets.provenance.public_key import PublicKey, parse_public_key
from robot_assets.store.locking import folder_lock
from robot_assets.store.os_errors import explaining_os_errors

_HEADER = """\
# Robots of the fleet and the public half of each one's key. `robot-assets fleet enroll` adds a line, and
# `robot-assets fleet enroll ROBOT --remove` removes it. A report counts when the key of its robot signed it.
"""


def enroll(root: Path, robot: str, line: str, *, may_replace: bool = False) -> bool:
    """Add a robot with its public key; whether that changed anything.

    Args:
        root: Folder of the project.
        robot: Its id.
        line: Its public key, ``ed25519:...``.
        may_replace: Whether it may get another key than it has.

    Raises:
        FleetError: The id or the key is not one, another robot has the key, or the robot has another key.
    """
    path = root / ROBOTS_FILE
    if not ROBOT.fullmatch(robot):
        raise FleetError(
            f"{robot!r} is no id of a robot", needed=ROBOT_NEEDED, fix="robot-assets fleet enroll robot_1 PUBLIC_KEY"
        )
    key = _parsed(line)
    with _editing(root):
        known = enrolled_keys(root)
        if known.get(robot) == key:
            return False
        _refuse_conflict(known, robot, key, may_replace)
        text = decoded(path.read_bytes()) if path.exists() else _HEADER
        _write(path, _replaced(text, robot, key) if robot in known else _added(text, robot, key, path))
    return True


def remove(root: Path, robot: str) -> None:
    """Remove a robot: its reports do not count any more, and no group has it.

    Raises:
        FleetError: It is not enrolled.
    """
    path = root / ROBOTS_FILE
    with _editing(root):
        if robot not in enrolled_keys(root):
            raise FleetError(
                f"{robot} is not enrolled", needed=f"a robot in {ROBOTS_FILE}", fix=f"cat {shown_path(path)}"
            )
        text = decoded(path.read_bytes())
        key, value = _nodes(text)[robot]
        first, last = key.start_mark.line, value.end_mark.line
        lines = text.splitlines(keepends=True)
        _write(path, "".join(lines[:first] + lines[last + 1 :]))


@contextmanager
def _editing(root: Path) -> Iterator[None]:
    """Hold the lock of the folder: two people or scripts may enroll at the same time."""
    try:
        with explaining_os_errors("writing", root / "data" / "fleet"), folder_lock(root / "data" / "fleet"):
            yield
    except FleetError:
        raise
    except RobotAssetsError as error:
        raise FleetError(error.found, needed=error.needed, fix=error.fix.replace("store.url", "fleet.url")) from None


def _parsed(line: str) -> PublicKey:
    try:
        return parse_public_key(line)
    except RobotAssetsError as error:
        fix = "robot-assets agent key   # on the robot: prints the line"
        raise FleetError(error.found, needed=error.needed, fix=fix) from None


def _refuse_conflict(known: dict[str, PublicKey], robot: str, key: PublicKey, may_replace: bool) -> None:
    other = next((name for name, one in known.items() if one == key and name != robot), None)
    if other is not None:
        raise FleetError(
            f"{other} has this key",
            needed="a key of its own for each robot: a copied disk brings the key of the other robot along",
            fix=f"robot-assets fleet enroll {other} --remove   # where {robot} is its new name",
        )
    if robot in known and not may_replace:
        raise FleetError(
            f"{robot} is enrolled with another key: {known[robot]}",
            needed="the same key, or a robot that is not enrolled",
            fix=f"robot-assets fleet enroll {robot} {key} --replace   # where the robot has a new key",
        )


def _nodes(text: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    document = composed(text)
    return {key.value: (key, value) for key, value in document.value} if document else {}


def _replaced(text: str, robot: str, key: PublicKey) -> str:
    value = _nodes(text)[robot][1]
    return f"{text[: value.start_mark.index]}{key}{text[value.end_mark.index :]}"


def _added(text: str, robot: str, key: PublicKey, path: Path) -> str:
    document = composed(text)
    if isinstance(document, yaml.MappingNode) and document.flow_style:
        if document.value:
            raise FleetError(
                f"{path} is written with braces",
                needed="one line for each robot",
                fix=f"edit {path}: ROBOT: PUBLIC_KEY",
            )
        text = f"{text[: document.start_mark.index]}{text[document.end_mark.index :].lstrip()}"
    elif document is not None and not isinstance(document, yaml.MappingNode):
        text = text[: document.start_mark.index] + text[document.end_mark.index :].lstrip()  # null
    end = "" if not text or text.endswith("\n") else "\n"
    name = robot if yaml.safe_load(robot) == robot else f'"{robot}"'  # YAML reads 17 as a number and on as a boolean
    return f"{text}{end}{name}: {key}\n"


def _write(path: Path, text: str) -> None:
    """Replace the file by a text that is one, so that a mistake here cannot lose a robot."""
    content = text.encode()
    parse_robots(content, path)
    with publishing_file(path) as staging:
        staging.write_bytes(content)
