"""What is stale. Pure functions on plain records; stale is a level, not an edge.

An asset is *missing* when it was never built, and *stale* when the state that it was built in (its code and the hash
of every input that it read) is not the state that it would be built in now. It is *behind* when only an ancestor is
stale: whether it has to be rebuilt is not known before the ancestor was, since a rebuild may give the same bytes. An
asset that is stale and waits for an ancestor is stale, and ``waits_for`` names the ancestor. An urgent stage waits for
none: it keeps the version of an input that is not fresh, until that is fresh again.

One digest decides (:func:`~robot_assets.lineage.record.desired_state`), so that the status of thousands of assets needs
one short value of each from the history. Why something is stale: ``robot_assets.lineage.causes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from robot_assets.lineage.code import Code
from robot_assets.lineage.graph import Gate, Stage
from robot_assets.lineage.record import desired_state


class State(StrEnum):
    """How an asset compares with what it should be."""

    FRESH = "fresh"
    MISSING = "missing"
    STALE = "stale"
    BEHIND = "behind"
    GATE_DUE = "gate pending"
    GATE_FAILED = "gate failed"


@dataclass(frozen=True, slots=True)
class GateResult:
    """The last evaluation of a gate: the state that it was about, and whether it passed."""

    state: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Built:
    """The latest version of an asset.

    Attributes:
        data_version: Hash of its bytes, or fingerprint of a device.
        state: The desired state that it was built for; None when something else than this system made it.
        gates: Last result of each gate.
        is_stored: Whether the store has the bytes; an asset whose bytes are lost has to be built again.
        duration_s: Seconds that the build took; None when unknown.
        inputs: Versions of the inputs that it was built from; only of urgent stages.
    """

    data_version: str
    state: str | None = None
    gates: Mapping[str, GateResult] = field(default_factory=dict)
    is_stored: bool = True
    duration_s: float | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """The state of one asset.

    Attributes:
        state: Fresh or not.
        waits_for: Inputs that are not fresh themselves, so that this asset cannot be built yet.
        desired_state: The state that it would be built for now, or that its gates would run for when they are all that
            is due; None while it waits, since the inputs' hashes will change.
        due_gates: Gates that failed or have not run on this state; the failed ones first.
        failed_gates: Those of the due gates that failed.
        kept: Versions that an urgent stage reads instead of those of inputs that are not fresh, by input.
    """

    state: State
    waits_for: tuple[str, ...] = ()
    desired_state: str | None = None
    due_gates: tuple[str, ...] = ()
    failed_gates: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_fresh(self) -> bool:
        """Whether it is what it should be, so that its dependents may be built from it."""
        return self.state is State.FRESH

    @property
    def is_ready(self) -> bool:
        """Whether it can be rebuilt, or its gates run, now."""
        return self.desired_state is not None and not self.is_fresh


def statuses(graph: Mapping[str, Stage], built: Mapping[str, Built], code: Code) -> dict[str, Status]:
    """The status of every asset of ``graph``, in time linear in its edges.

    Args:
        graph: Stages by name, inputs before their readers.
        built: The latest version of each asset that has one, observed assets included.
        code: The code as it is now.
    """
    found: dict[str, Status] = {}
    for stage in graph.values():
        found[stage.asset] = _status(stage, built, code, found)
    return found


def present_inputs(stage: Stage, built: Mapping[str, Built]) -> dict[str, str]:
    """Hash of every input of ``stage`` now; empty for an input that was never built, a hash that no record has."""
    return {name: built[name].data_version if name in built else "" for name in stage.inputs}


def gate_state(asset: str, gate: Gate, built: Mapping[str, Built], code: Code) -> str:
    """The state that a gate judges: its code, its budget, and the versions of all that it reads."""
    read = {name: built[name].data_version for name in (asset, *gate.inputs) if name in built}
    return desired_state(f"{asset}:{gate.name}", code.version(gate.code, gate.params), read)


def _status(stage: Stage, built: Mapping[str, Built], code: Code, found: Mapping[str, Status]) -> Status:
    mine = built.get(stage.asset)
    if stage.is_observed:
        return Status(State.FRESH if mine else State.MISSING)
    waits_for = tuple(name for name in stage.inputs if not found[name].is_fresh)
    if stage.is_urgent and mine is not None and waits_for and all(name in mine.inputs for name in waits_for):
        return _urgent_status(stage, mine, built, code, waits_for)
    wanted = desired_state(stage.asset, code.version(stage.code, stage.params), present_inputs(stage, built))
    reachable = None if waits_for else wanted
    if mine is None:
        return Status(State.MISSING, waits_for, reachable)
    if mine.state != wanted or not mine.is_stored:
        return Status(State.STALE, waits_for, reachable)
    if waits_for:
        return Status(State.BEHIND, waits_for)
    return _gate_status(stage, mine, built, code, wanted)


def _urgent_status(
    stage: Stage, mine: Built, built: Mapping[str, Built], code: Code, unfresh: tuple[str, ...]
) -> Status:
    """The status of an urgent stage with inputs that are not fresh: their versions are those of its last build."""
    kept = {name: mine.inputs[name] for name in unfresh}
    inputs = present_inputs(stage, built) | kept
    wanted = desired_state(stage.asset, code.version(stage.code, stage.params), inputs)
    if mine.state != wanted or not mine.is_stored:
        return Status(State.STALE, (), wanted, kept=kept)
    return Status(State.BEHIND, unfresh, kept=kept)


def _gate_status(stage: Stage, mine: Built, built: Mapping[str, Built], code: Code, wanted: str) -> Status:
    """The status of an asset in the right state: fresh once it has passed its gates as they are now."""
    present = {gate.name: gate_state(stage.asset, gate, built, code) for gate in stage.gates}
    answers = {
        name: mine.gates[name] for name, now in present.items() if name in mine.gates and mine.gates[name].state == now
    }
    failed = tuple(name for name, answer in answers.items() if not answer.passed)
    due = tuple(name for name in present if name not in answers)
    if not failed and not due:
        return Status(State.FRESH, (), wanted)
    state = State.GATE_FAILED if failed else State.GATE_DUE
    # A new budget is a new desired state: failed attempts with the old one do not count against it.
    return Status(state, (), desired_state(stage.asset, wanted, present), (*failed, *due), failed)
