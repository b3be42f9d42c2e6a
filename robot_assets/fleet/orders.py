"""Orders of people to a rollout: lines of the ``fleet`` section of params.yaml. Pure functions of its text.

An order is undone by restoring its line; so each changes as little text as possible and leaves comments, order and
style of everything else as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robot_assets.core.yaml_edits import CannotEdit, flow, is_last_key, with_item, with_key, without_item, without_key

RECALLS = ("fleet", "recalls")
LATEST = "latest"


@dataclass(frozen=True)
class Order:
    """One order as an edit of params.yaml.

    Attributes:
        steps: Of the key that it changes, such as ``("fleet", "groups", "outdoor", "paused")``.
        value: Value of that key afterwards, or the default that it has without the key.
        default: Value of a key that is not there.
        edit: The edit of the text. Raises CannotEdit.
        by_hand: The line to write instead, where the text cannot be edited.
    """

    steps: tuple[str, ...]
    value: Any
    default: Any
    edit: Callable[[str], str]
    by_hand: str

    @property
    def place(self) -> str:
        """The key, such as ``fleet.groups.outdoor.paused``."""
        return ".".join(self.steps)

    def is_given(self, document: Mapping[str, Any]) -> bool:
        """Whether ``document`` has it already."""
        return bool(_at(document, self.steps, self.default) == self.value)

    def is_all(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
        """Whether ``after`` is ``before`` with this order, and no other change."""
        return self.is_given(after) and _without(before, self.steps) == _without(after, self.steps)


def pause(group: str) -> Order:
    """Nobody new gets a release."""
    return _set(group, "paused", True, default=False)


def resume(group: str) -> Order:
    """The rollout goes on."""
    return _clear(group, "paused", False)


def pin(group: str, release: str) -> Order:
    """The group has this release, or ``latest``."""
    if release == LATEST:
        return _clear(group, "release", LATEST)
    return _set(group, "release", release, default=LATEST)


def approve(group: str, release: str, batch: int) -> Order:
    """Batches of a release up to ``batch`` may begin."""
    return _set(group, "approved", {"release": release, "batch": batch}, default=None)


def recall(digest: str, reason: str, present: Sequence[Mapping[str, Any]]) -> Order:
    """Nothing that is made of ``digest`` may run. ``present``: the entries of ``fleet.recalls``."""
    entry = {"hash": digest, "reason": reason}
    value = [*present, entry]
    return Order(
        RECALLS, value, [], lambda text: with_item(text, RECALLS, entry), f"add to fleet.recalls: - {flow(entry)}"
    )


def withdraw(index: int, present: Sequence[Mapping[str, Any]]) -> Order:
    """The entry ``index`` of ``fleet.recalls`` no longer counts."""
    value = [entry for number, entry in enumerate(present) if number != index]
    by_hand = f"remove from fleet.recalls: - {flow(dict(present[index]))}"
    return Order(RECALLS, value, [], lambda text: without_item(text, RECALLS, index), by_hand)


def _set(group: str, key: str, value: Any, default: Any) -> Order:
    steps = ("fleet", "groups", group, key)
    by_hand = f"write in fleet.groups.{group}: {key}: {flow(value)}"
    return Order(steps, value, default, lambda text: with_key(text, steps, value), by_hand)


def _clear(group: str, key: str, default: Any) -> Order:
    """Without the key that an order added; a line that a person wrote, or commented, gets the default instead."""
    steps = ("fleet", "groups", group, key)

    def edit(text: str) -> str:
        try:
            return without_key(text, steps) if is_last_key(text, steps) else with_key(text, steps, default)
        except CannotEdit:
            return with_key(text, steps, default)

    return Order(steps, default, default, edit, f"write in fleet.groups.{group}: {key}: {flow(default)}")


def _at(document: Any, steps: Sequence[str], default: Any) -> Any:
    for step in steps:
        if not isinstance(document, Mapping) or document.get(step) is None:
            return default
        document = document[step]
    return document


def _without(document: Any, steps: Sequence[str]) -> Any:
    """``document`` without the key at ``steps``; what other places share with it stays there."""
    first, *rest = steps
    if not isinstance(document, Mapping) or first not in document:
        return document
    if not rest:
        return {key: value for key, value in document.items() if key != first}
    return {**document, first: _without(document[first], rest)}


def normalized_hash(text: str) -> str:
    """A hash as ``fleet.recalls`` has it: lower-case digits without a prefix, or the line of a key as it is.

    Raises:
        ValueError: It is neither.
    """
    typed = text.strip()
    if typed.startswith("ed25519:"):
        return typed
    digits = typed.lower().removeprefix("sha256:").removesuffix(".dir")
    if not re.fullmatch("[0-9a-f]{8,64}", digits):
        raise ValueError("at least 8 hexadecimal digits, or ed25519:... of a key")
    return digits
