"""Edits of params.yaml by commands: an edit is applied to the text, checked as a whole, and published atomically."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from robot_assets.core.errors import ParamsError
from robot_assets.core.paths import shown_path
from robot_assets.core.yaml_documents import YamlFault, load_yaml
from robot_assets.core.yaml_edits import CannotEdit
from robot_assets.pipeline.params import load_params, parse_params
from robot_assets.pipeline.scaffold import publish_params

if TYPE_CHECKING:
    from robot_assets.fleet.orders import Order
    from robot_assets.pipeline.project import Project


@dataclass(frozen=True)
class Line:
    """One changed line of params.yaml.

    Attributes:
        number: Of the line, from 1: in the old text of a removed line, else in the new one.
        sign: ``-`` or ``+``.
        text: Of the line.
    """

    number: int
    sign: str
    text: str


def give(project: Project, order: Order) -> list[Line]:
    """Write an order into params.yaml; return the lines that changed, none where it was given already.

    Raises:
        ParamsError: params.yaml is invalid, would be invalid with the order, cannot be edited or cannot be written.
        StoreError: The disk is full; params.yaml is as it was.
    """
    path = (project.root / "params.yaml").resolve()
    load_params(path)  # names what is wrong already
    before = path.read_bytes()
    document = load_yaml(before)
    if order.is_given(document):
        return []
    text = before.decode("utf-8")
    after = _edited(path, text, document, order)
    if path.read_bytes() != before:
        raise ParamsError(
            f"{path} was changed by somebody else at the same time; it was not touched",
            needed="one edit at a time",
            fix="repeat the command",
        )
    publish_params(path, after)
    project.__dict__.pop("params", None)  # parsed again at the next use
    return _changed(text, after)


def _edited(path: Path, text: str, document: dict[str, Any], order: Order) -> str:
    try:
        after = order.edit(text)
        found = load_yaml(after.encode())
        is_all = isinstance(found, dict) and order.is_all(document, found)
    except CannotEdit as error:
        raise _refused(path, order, str(error)) from None
    except (YamlFault, yaml.YAMLError, UnicodeEncodeError):
        is_all = False
    if not is_all:
        raise _refused(path, order, "the edit would change more than this key")
    parse_params(found, origin=str(path), text=after)
    return after


def _refused(path: Path, order: Order, why: str) -> ParamsError:
    return ParamsError(
        f"{path} has a form in which {order.place} cannot be edited: {why}; the file was not changed",
        needed=f"{order.place}, edited by hand",
        fix=f"edit {shown_path(path)}: {order.by_hand}",
    )


def _changed(before: str, after: str) -> list[Line]:
    old, new = before.splitlines(), after.splitlines()
    lines: list[Line] = []
    for tag, start, end, first, last in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            lines += [Line(number + 1, "-", old[number]) for number in range(start, end)]
            lines += [Line(number + 1, "+", new[number]) for number in range(first, last)]
    return lines
