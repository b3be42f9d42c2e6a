"""What is stale and why. Pure functions on plain records; stale is a level, not an edge.

An asset is *missing* when it was never built, *stale* when its code version, its set of inputs, or the present
hash of an input differs from what its last build read, and *behind* when only an ancestor is stale: whether it
will have to be rebuilt is not known before that ancestor has been (it may come out with the same bytes).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from robot_assets.lineage.code_version import code_version
from robot_assets.lineage.graph import Gate, Stage
from robot_assets.lineage.record import desired_state


class State(StrEnum):
    """How an asset stands against what it should be."""

    FRESH = "fresh"
    MISSING = "missing"
    STALE = "stale"
    BEHIND = "behind"
    GATE_DUE = "gate due"
    GATE_FAILED = "gate failed"


@dataclass(frozen=True)
class GateResult:
    """The last evaluation of a gate: for which state of the world, and how it ended."""

    state: str
    passed: bool


@dataclass(frozen=True)
class Built:
    """The latest version of an asset, as its record tells it.

    ``is_stored`` is False when the store has lost the bytes: then the asset has to be made again.
    """

    data_version: str
    code_version: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    gates: Mapping[str, GateResult] = field(default_factory=dict)
    is_stored: bool = True


@dataclass(frozen=True)
class Status:
    """The state of one asset.

    Attributes:
        state: Fresh or not.
        causes: Why not, one sentence each.
        desired_state: Its name; None while an input is not fresh, since the inputs' hashes are not known yet.
        due_gates: Gates that failed or have not run on this state.
    """

    state: State
    causes: tuple[str, ...] = ()
    desired_state: str | None = None
    due_gates: tuple[str, ...] = ()

    @property
    def can_be_read(self) -> bool:
        """Whether what depends on the asset may be built from it."""
        return self.state is State.FRESH


def statuses(graph: Mapping[str, Stage], built: Mapping[str, Built]) -> dict[str, Status]:
    """The status of every asset of ``graph``.

    Args:
        graph: Stages by name, inputs before their readers.
        built: The latest version of each asset that has one, observed assets included.
    """
    found: dict[str, Status] = {}
    for stage in graph.values():
        found[stage.asset] = _status(stage, graph, built, found)
    return found


def _status(
    stage: Stage, graph: Mapping[str, Stage], built: Mapping[str, Built], found: Mapping[str, Status]
) -> Status:
    mine = built.get(stage.asset)
    if stage.is_observed:
        return Status(State.FRESH) if mine else Status(State.MISSING, ("was never observed",))
    waiting = tuple(f"waits for {name} ({found[name].state})" for name in stage.inputs if not found[name].can_be_read)
    if waiting:
        return Status(State.MISSING if mine is None else State.BEHIND, waiting)
    inputs = {name: built[name].data_version for name in stage.inputs}
    code = stage_code_version(stage)
    wanted = desired_state(stage.asset, code, inputs)
    if mine is None:
        return Status(State.MISSING, ("was never built",), wanted)
    causes = tuple(_causes(mine, code, inputs))
    if causes:
        return Status(State.STALE, causes, wanted)
    return _gate_status(stage, mine, built, wanted)


def _causes(mine: Built, code: str, inputs: Mapping[str, str]) -> Iterable[str]:
    if not mine.is_stored:
        yield f"the store has lost {mine.data_version[:8]}"
    if mine.code_version != code:
        yield f"code or params changed ({_short(mine.code_version)} -> {code[:8]})"
    for name in sorted(inputs.keys() | mine.inputs.keys()):
        old, new = mine.inputs.get(name), inputs.get(name)
        if old is None:
            yield f"{name} is a new input"
        elif new is None:
            yield f"{name} is no longer an input"
        elif old != new:
            yield f"{name} changed ({old[:8]} -> {new[:8]})"


def _gate_status(stage: Stage, mine: Built, built: Mapping[str, Built], wanted: str) -> Status:
    """A fresh asset still has to have passed its gates, as they are now."""
    due, failed = [], []
    for gate in stage.gates:
        result = mine.gates.get(gate.name)
        if result is None or result.state != gate_state(stage.asset, gate, built):
            due.append(gate.name)
        elif not result.passed:
            failed.append(gate.name)
    if failed:
        return Status(State.GATE_FAILED, tuple(f"{name} failed" for name in failed), wanted, (*failed, *due))
    if due:
        return Status(State.GATE_DUE, tuple(f"{name} has not run on this state" for name in due), wanted, tuple(due))
    return Status(State.FRESH, (), wanted)


def stage_code_version(stage: Stage) -> str:
    """The code version of a stage that is produced here."""
    if stage.module is None:
        raise ValueError(f"{stage.asset} is observed, not produced: it has no code version")
    return code_version(stage.module, stage.params)


def gate_state(asset: str, gate: Gate, built: Mapping[str, Built]) -> str:
    """What a gate's answer is about: its code, its budget, and the versions of all that it reads."""
    read = {name: built[name].data_version for name in (asset, *gate.inputs) if name in built}
    return desired_state(f"{asset}:{gate.name}", code_version(gate.module, gate.params), read)


def _short(digest: str | None) -> str:
    return digest[:8] if digest else "unknown"
