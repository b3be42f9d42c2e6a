"""What params.yaml and the project's folder say of a fleet: its robots with their public keys, and its repository.

``data/fleet/root.json`` is the root metadata that robots start from, ``data/fleet/robots.yaml`` has the public key of
each enrolled robot (``robot: ed25519:...``); both are in git.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.text import listed, near_misses, plural
from robot_assets.core.validation import shown_value
from robot_assets.core.yaml_documents import YamlFault, load_yaml
from robot_assets.fleet.errors import FleetError
from robot_assets.provenance.public_key import PublicKey, parse_public_key

if TYPE_CHECKING:
    from robot_assets.fleet.repository import Repository
    from robot_assets.fleet.spec import FleetSpec, GroupSpec

ROOT_FILE = "data/fleet/root.json"
ROBOTS_FILE = "data/fleet/robots.yaml"
KEYS_VARIABLE = "ROBOT_ASSETS_FLEET_KEYS"
"""Folder of the private keys of the repository; default: ``.robot_assets/keys/fleet`` in the project."""
ROBOT = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
"""Ids of robots: they are names of files in the repository."""
ROBOT_NEEDED = "at most 63 lower-case letters, digits, '_', '-' and '.', a letter or digit first"


def open_repository(root: Path, fleet: FleetSpec) -> Repository:
    """The distribution repository of the project at ``root``; it may not exist yet.

    Raises:
        FleetError: $ROBOT_ASSETS_FLEET_KEYS is not a path.
    """
    from robot_assets.fleet.files import Files
    from robot_assets.fleet.keys import keys_folder
    from robot_assets.fleet.repository import Repository

    url = fleet.url if "://" in fleet.url else str(root / fleet.url)
    return Repository(Files(url), keys_folder(root), root / ROOT_FILE, fleet.timestamp_days)


def enrolled_keys(root: Path) -> dict[str, PublicKey]:
    """Public keys of the enrolled robots of the project at ``root``, in the order of the file; none without a file.

    Raises:
        FleetError: The file cannot be read, or an entry is not a robot and its key.
    """
    path = root / ROBOTS_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        fix = f"ls -l {shlex.quote(str(path))}"
        raise FleetError(f"{path} cannot be read: {error.strerror}", needed="a readable file", fix=fix) from None
    return parse_robots(content, path)


def parse_robots(content: bytes, path: Path) -> dict[str, PublicKey]:
    """The content of ``robots.yaml``. Raises FleetError."""
    try:
        document = load_yaml(content)
    except YamlFault as fault:
        raise FleetError(
            f"{path}: {fault.what}", needed="valid YAML in UTF-8", fix=f"edit {path}: {fault.fix}"
        ) from None
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise _wrong(path, f"it is {shown_value(document)}", "lines such as robot_1: ed25519:...")
    keys = {_id(robot, path): _key(robot, line, path) for robot, line in document.items()}
    of_key: dict[PublicKey, str] = {}
    for robot, key in keys.items():
        if (other := of_key.setdefault(key, robot)) != robot:
            raise _wrong(path, f"{other} and {robot} have the same key", "a key of its own for each robot")
    return keys


def _id(given: object, path: Path) -> str:
    """``given`` where it is the id of a robot. Raises FleetError."""
    if isinstance(given, str) and ROBOT.fullmatch(given):
        return given
    raise _wrong(path, f"{shown_value(given)} is no id of a robot", ROBOT_NEEDED)


def _key(robot: object, line: object, path: Path) -> PublicKey:
    if not isinstance(line, str):
        raise _wrong(path, f"{robot} has {shown_value(line)} as its key", "ed25519: and the public key")
    try:
        return parse_public_key(line)
    except RobotAssetsError as error:
        raise _wrong(path, f"{robot}: {error.found}", error.needed) from None


def _wrong(path: Path, what: str, needed: str) -> FleetError:
    return FleetError(f"{path}: {what}", needed=needed, fix=f"edit {path}   # then: robot-assets fleet keys")


def robots_of(fleet: FleetSpec, group: str, enrolled: Mapping[str, object]) -> tuple[str, ...]:
    """Robots of a group: the ids as they are written, then what patterns match, ``robot_2`` before ``robot_10``.

    Args:
        fleet: The ``fleet`` section of params.yaml.
        group: An entry of ``fleet.groups``.
        enrolled: Enrolled robots.

    Raises:
        FleetError: The group has none, one of them is not enrolled, or is in another group as well.
    """
    robots = tuple(_members(group, fleet.groups[group], enrolled))
    if not robots:
        raise FleetError(
            f"no robot is in the group {group}: {listed(fleet.groups[group].robots)} matches none of "
            f"{plural(len(enrolled), 'enrolled robot')}",
            needed="an enrolled robot",
            fix="robot-assets fleet enroll ROBOT PUBLIC_KEY   # `robot-assets agent key` prints it on the robot",
        )
    for other, spec in fleet.groups.items():
        if other != group and (both := _shared(spec, robots)):
            raise FleetError(
                f"{both} is in the groups {group} and {other}",
                needed="one group for each robot: it can run one release",
                fix=f"edit params.yaml: narrow fleet.groups.{group}.robots or fleet.groups.{other}.robots",
            )
    return robots


def _members(name: str, group: GroupSpec, enrolled: Mapping[str, object]) -> Iterator[str]:
    named = [robot for robot in group.robots if not is_pattern(robot)]
    for robot in named:
        if robot not in enrolled:
            raise _not_enrolled(name, robot, enrolled)
        yield robot
    seen = set(named)
    for pattern in filter(is_pattern, group.robots):
        matches = re.compile(fnmatch.translate(pattern)).match
        found = [robot for robot in enrolled if robot not in seen and matches(robot)]
        seen.update(found)
        yield from sorted(found, key=natural)


def _shared(group: GroupSpec, robots: tuple[str, ...]) -> str | None:
    """The first of ``robots`` that is in ``group`` as well."""
    named = set(group.robots)
    patterns = [re.compile(fnmatch.translate(pattern)).match for pattern in group.robots if is_pattern(pattern)]
    return next((robot for robot in robots if robot in named or any(matches(robot) for matches in patterns)), None)


def _not_enrolled(group: str, robot: str, enrolled: Mapping[str, object]) -> FleetError:
    near = near_misses(robot, enrolled)
    hint = f"; did you mean {near[0]}?" if near else ""
    return FleetError(
        f"{robot} of the group {group} is not enrolled{hint}",
        needed=f"a line with its public key in {ROBOTS_FILE}",
        fix=f"robot-assets fleet enroll {robot} PUBLIC_KEY   # `robot-assets agent key` prints it on the robot",
    )


def is_pattern(robot: str) -> bool:
    """Whether an entry of ``robots`` is a pattern such as ``delivery_*``."""
    return "*" in robot or "?" in robot


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts names as people count: ``robot_2`` before ``robot_10``."""
    parts = re.split(r"([0-9]+)", name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]
