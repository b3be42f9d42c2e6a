"""Reads ``robot.yaml``. A mistake is shown with its line, as it was typed, and with the near miss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from robot_assets.agent.spec import BusySpec, HealthSpec, RobotSpec
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.paths import expanded, shown_path
from robot_assets.core.text import escaped, listed, plural
from robot_assets.core.validation import nearest, needed_of, shown_value
from robot_assets.core.yaml_documents import YamlFault, composed, load_yaml, node_at
from robot_assets.fleet.errors import AgentError
from robot_assets.provenance.errors import ProvenanceError

_SHOWN = 20
_LONGEST = 60
_OWN = {
    "path_type": "needed a path",
    "string_pattern_mismatch": "needed lower-case letters, digits, '_', '-' and '.', a letter or a digit first",
}
"""Words for the keys of robot.yaml, by kind of mistake."""


def load_robot(path: Path) -> RobotSpec:
    """Read ``robot.yaml``; relative paths in it start in its folder.

    Raises:
        AgentError: It is missing, is not YAML, or has an unknown, missing or contradictory key.
    """
    payload = _read(path)
    try:
        document = load_yaml(payload)
    except YamlFault as fault:
        raise _refused(path, [fault.what], fault.fix) from None
    if not isinstance(document, dict):
        what = "it is empty" if document is None else f"it has {shown_value(document)} instead of keys"
        raise _refused(path, [what], f"robot-assets agent install --print   # prints a template of {path.name}")
    try:
        robot = RobotSpec.model_validate(document)
    except ValidationError as error:
        raise _refused(path, list(_sentences(error, document, payload.decode()))) from None
    problems = [*_booleans(document), *_problems(robot)]
    if problems:
        raise _refused(path, problems)
    return _with_paths(robot, path.absolute().parent)


def check_files(robot: RobotSpec) -> None:
    """Check the files that robot.yaml names: the private key, which its owner alone may read, and the root metadata.

    Raises:
        AgentError: One is missing or not what it should be.
    """
    from robot_assets.agent.trusted import read_root
    from robot_assets.provenance.keys import load_key

    read_root(robot.root)
    try:
        load_key(robot.key)
    except ProvenanceError as error:
        fix = error.fix if robot.key.exists() else f"robot-assets key create --out {shown_path(robot.key)}"
        raise AgentError(error.found, needed=error.needed, fix=fix) from None


def public_key(robot: RobotSpec) -> str:
    """The public key of a robot, as ``robot-assets fleet enroll`` takes it.

    Raises:
        RobotAssetsError: The key cannot be read.
    """
    from robot_assets.provenance.keys import load_key, public_half

    return str(public_half(load_key(robot.key)))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise AgentError(
            f"no {path}",
            needed="the robot.yaml of this robot",
            fix=f"robot-assets agent install --robot {shown_path(path)}   # writes a template",
        ) from None
    except OSError as error:
        raise AgentError(
            f"{path} cannot be read: {error.strerror}", needed="a file", fix=f"ls -la {shown_path(path)}"
        ) from None


def _refused(path: Path, mistakes: Sequence[str], fix: str = "") -> AgentError:
    more = [f"and {len(mistakes) - _SHOWN} more"] if len(mistakes) > _SHOWN else []
    shown = "\n    ".join(escaped(line) for line in [*mistakes[:_SHOWN], *more])
    return AgentError(
        f"{path} has {plural(len(mistakes), 'mistake')}:\n    {shown}",
        needed="only known keys, each with a valid value",
        fix=fix or f"correct {shown_path(path)}",
        details={"mistakes": list(mistakes)},
    )


def _sentences(error: ValidationError, document: Any, text: str) -> Iterator[str]:
    """Each mistake with its line, its key, and the value as it was typed."""
    root = composed(text)
    for detail in sorted(error.errors(include_url=False), key=lambda one: _line(root, one["loc"])):
        line, node = _line(root, detail["loc"]), node_at(root, detail["loc"])
        where = f"line {line}: " if line else ""
        yield f"{where}{'.'.join(map(str, detail['loc']))}: {_needed(detail)}{_found(detail, node)}"
    yield from _booleans(document)


def _line(root: yaml.Node | None, steps: tuple[int | str, ...]) -> int:
    """The line of a key or its value; 0: it is not there."""
    node = node_at(root, steps)
    return node.start_mark.line + 1 if node is not None and node is not root else 0


def _booleans(document: Any) -> Iterator[str]:
    """Values that YAML reads as true or false, which no key of robot.yaml is; pydantic takes them for numbers."""
    for key, value in document.items():
        if isinstance(value, dict):
            yield from (f"{key}.{line}" for line in _booleans(value))
        elif isinstance(value, bool):
            yield f"{key}: no key takes true or false"


def _needed(detail: Mapping[str, Any]) -> str:
    needed = _OWN.get(detail["type"]) or needed_of(detail)
    if detail["type"] != "extra_forbidden":
        return needed
    *above, key = detail["loc"]
    known = _keys_at(tuple(above))
    near = nearest(str(key), known)
    return f"{needed}; did you mean {near!r}?" if near else f"{needed}; known keys: {listed(sorted(known), 30)}"


def _found(detail: Mapping[str, Any], node: yaml.Node | None) -> str:
    if detail["type"] in ("missing", "extra_forbidden") or isinstance(detail["input"], dict):
        return ""
    is_typed = isinstance(node, yaml.ScalarNode) and node.style is None and 0 < len(node.value) <= _LONGEST
    return f" (found {node.value if is_typed and node is not None else shown_value(detail['input'])})"


def _keys_at(steps: tuple[int | str, ...]) -> set[str]:
    """The keys that are known at a place."""
    model: type[BaseModel] | None = RobotSpec
    for step in steps:
        field = model.model_fields.get(str(step)) if model else None
        model = next(_models(field.annotation), None) if field else None
    return set(model.model_fields) if model else set()


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is UnionType or get_args(annotation):
        for one in get_args(annotation):
            yield from _models(one)


def _problems(robot: RobotSpec) -> Iterator[str]:
    """What keys of the file say that cannot be."""
    from robot_assets.provenance.public_key import parse_public_key

    for number, line in enumerate(robot.trusted_keys):
        try:
            parse_public_key(line)
        except RobotAssetsError as error:
            yield f"trusted_keys.{number}: {error.found}"
    for name in ("url", "reports_url"):
        if getattr(robot, name) == "":
            yield f"{name}: is empty; needed https://, s3://, file:// or a folder"
    for name, section in (("health", robot.health), ("busy", robot.busy)):
        if section is not None and section.file is None and not section.command:
            yield f"{name}: has neither file nor command; needed one of them, or no {name}"


def _with_paths(robot: RobotSpec, folder: Path) -> RobotSpec:
    """The robot with absolute paths."""
    changes: dict[str, Any] = {name: _absolute(getattr(robot, name), folder) for name in ("root", "key", "state")}
    for name in ("url", "reports_url"):
        url = getattr(robot, name)
        if url is not None and "://" not in url:
            changes[name] = str(_absolute(Path(url), folder))
    for name in ("health", "busy"):
        section: HealthSpec | BusySpec | None = getattr(robot, name)
        if section is not None and section.file is not None:
            changes[name] = section.model_copy(update={"file": _absolute(section.file, folder)})
    return robot.model_copy(update=changes)


def _absolute(path: Path, folder: Path) -> Path:
    try:
        return folder / expanded(str(path))
    except ValueError as error:
        raise AgentError(f"robot.yaml: {error}", needed="a path", fix="write the path itself") from None
