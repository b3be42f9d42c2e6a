"""Why an asset is not what it should be: what changed, from what, to what."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from robot_assets.lineage.code import CODE_RULE, Code
from robot_assets.lineage.graph import Stage
from robot_assets.lineage.record import Cause, CauseKind, Record
from robot_assets.lineage.staleness import Built, State, Status, present_inputs

_NAMED_AT_MOST = 3
"""Changed definitions of one module that are named one by one; more of them are named by their module."""


def explain(
    stage: Stage, status: Status, built: Mapping[str, Built], record: Record | None, code: Code
) -> tuple[str, ...]:
    """Why ``stage`` has ``status``, one sentence each; nothing when it is fresh.

    Args:
        stage: The asset.
        status: Its status.
        built: The latest version of each asset.
        record: The record of its last build; None when there is none.
        code: The code that ``status`` was decided with.
    """
    if status.state is State.MISSING and stage.is_observed:
        return ("was never observed",)
    waits = tuple(f"waits for {name}" for name in status.waits_for)
    if status.state in (State.MISSING, State.STALE):
        inputs = present_inputs(stage, built) | dict(status.kept)
        return (*_why_stale(stage, built, record, inputs, code), *waits)
    if status.due_gates:
        failed = set(status.failed_gates)
        return tuple(
            f"the gate {name} failed" if name in failed else f"the gate {name} has not run on this version"
            for name in status.due_gates
        )
    return waits


def _why_stale(
    stage: Stage, built: Mapping[str, Built], record: Record | None, inputs: Mapping[str, str], code: Code
) -> tuple[str, ...]:
    mine = built.get(stage.asset)
    if mine is not None and record is None:
        return ("was not materialized by a build of this system",)
    is_stored = mine is None or mine.is_stored
    found = causes_of(stage, record, inputs, code, is_stored=is_stored)
    return tuple(map(str, found)) or ("its last build was interrupted before it was recorded",)


def causes_of(
    stage: Stage, record: Record | None, inputs: Mapping[str, str], code: Code, *, is_stored: bool = True
) -> tuple[Cause, ...]:
    """What changed between the build of ``record`` and a build from ``inputs`` and ``code`` now."""
    if record is None:
        return (Cause(kind=CauseKind.NEVER_BUILT, what=stage.asset),)
    return tuple(_changes(stage, record, inputs, code, is_stored))


def _changes(stage: Stage, record: Record, inputs: Mapping[str, str], code: Code, is_stored: bool) -> Iterator[Cause]:
    if not is_stored:
        yield Cause(kind=CauseKind.LOST, what=stage.asset, old=record.data_version)
    yield from _difference(CauseKind.INPUT, record.inputs, inputs)
    if stage.is_observed or record.code_version == (now := code.version(stage.code, stage.params)):
        return
    params = [*_difference(CauseKind.PARAMETER, _leaves(record.params), _leaves(stage.params))]
    yield from params
    if record.code_rule != CODE_RULE:
        # Versions of two rules differ for the same code, so whether the code changed as well is unknown.
        yield Cause(kind=CauseKind.CODE_RULE, what=stage.asset, old=str(record.code_rule), new=str(CODE_RULE))
        return
    edits = [*_code_difference(record.code, code.definitions(stage.code))] if record.code else []
    yield from edits
    if not edits and (not params or not record.code):
        yield Cause(kind=CauseKind.CODE, what=stage.asset, old=record.code_version, new=now)


def _difference(kind: CauseKind, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Cause]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield Cause(kind=kind, what=name, old=old.get(name), new=new.get(name))


def _code_difference(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Cause]:
    """The changed definitions, each by name; those of a module as one cause where they are many."""
    by_module: dict[str, list[Cause]] = {}
    for cause in _difference(CauseKind.CODE, old, new):
        by_module.setdefault(cause.what.partition(":")[0], []).append(cause)
    for module, causes in by_module.items():
        yield from causes if len(causes) <= _NAMED_AT_MOST else [_as_one(module, causes)]


def _as_one(module: str, causes: list[Cause]) -> Cause:
    what = f"{module} ({len(causes)} definitions)"
    old, new = (_digest(getattr(cause, side) for cause in causes) for side in ("old", "new"))
    return Cause(kind=CauseKind.CODE, what=what, old=old, new=new)


def _digest(digests: Iterable[str | None]) -> str | None:
    """One digest for several, None being one of them; None when all are."""
    found = [*digests]
    text = ",".join(digest or "" for digest in found)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:12] if any(found) else None


def _leaves(params: Any, path: str = "") -> dict[str, str]:
    """Nested parameters as dotted keys; a list is one value, written as in params.yaml (1 is not "1")."""
    if not isinstance(params, Mapping):
        text = yaml.safe_dump(params, default_flow_style=True, width=math.inf, allow_unicode=True)
        return {path: text.removesuffix("...\n").strip()}
    found: dict[str, str] = {}
    for key, value in params.items():
        found |= _leaves(value, f"{path}.{key}" if path else str(key))
    return found
