"""Audit: follow the records of an artifact, step by step, down to what was recorded on robots.

The chain has what was read when the artifact was made, not the present versions. Each record names the hash of every
input that its build opened; the audit goes from these hashes to the materializations that gave them. Each link lists
its problems: what cannot be found, and what would not hold in front of an auditor, one sentence each.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from robot_assets.core.errors import RobotAssetsError
from robot_assets.lineage.chain import Chain, GateRecord, Link
from robot_assets.lineage.errors import LineageError
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.lineage.record import Record, desired_state

READ_FACT = "read"
"""Fact of a gate with the assets that it opened: the version of each, by name."""

_TICK = timedelta(seconds=1)
"""Records have their start in whole seconds, rounded down."""


@dataclass(frozen=True)
class Materialization:
    """One materialization of one version of an asset.

    Attributes:
        number: Its number in the history.
        ended_at: When it was recorded; with a time zone.
    """

    number: int
    ended_at: datetime


class History(Protocol):
    """Past events, as an audit reads them."""

    def assets(self) -> Sequence[str]:
        """Names of all assets that were ever materialized or observed, sorted."""

    def latest_version(self, asset: str) -> str | None:
        """Data version of the latest materialization or observation of ``asset``; None when there is none."""

    def materializations(self, asset: str, version: str) -> Sequence[Materialization]:
        """All materializations that gave ``asset`` this version, the newest first."""

    def record(self, asset: str, number: int) -> Record:
        """The record of a materialization of ``asset``.

        Raises:
            LineageError: There is none, or it cannot be read.
        """

    def first_observed(self, asset: str, version: str) -> str | None:
        """When ``asset`` was first observed at this version, UTC, ISO 8601; None when it never was."""

    def declared(self, asset: str, version: str) -> Mapping[str, Any]:
        """What the latest observation of ``asset`` at this version has of :data:`DECLARATIONS`."""

    def gates(self, asset: str, version: str) -> Sequence[GateRecord]:
        """The last evaluation of every blocking check on exactly this version of ``asset``."""

    def holders(self, digest: str) -> Sequence[tuple[str, str]]:
        """(asset, version) of every version that begins with ``digest``, the latest first."""


class Presence(Protocol):
    """A place of artifacts; ``robot_assets.store.Store`` is one."""

    def has(self, digest: str) -> bool:
        """Whether every byte of ``digest`` is there."""


@dataclass
class _Step:
    """A version on its way into the chain: its readers, and what was found about it."""

    asset: str
    version: str
    readers: dict[str, list[datetime]] = field(default_factory=dict)
    record: Record | None = None
    observed_at: str | None = None
    problems: list[str] = field(default_factory=list)

    def add_reader(self, asset: str, at: datetime | None) -> None:
        """Add a reader, with its start where that is known. Several versions of one asset may have read this."""
        self.readers.setdefault(asset, []).extend([] if at is None else [at])

    @property
    def read_at(self) -> datetime | None:
        """When the first of its readers began."""
        return min((time for times in self.readers.values() for time in times), default=None)


def audit(
    asset: str,
    version: str,
    graph: Mapping[str, Stage],
    history: History,
    store: Presence,
    traits: Callable[[str], AssetTraits],
) -> Chain:
    """The chain of ``version`` of ``asset``: itself, and everything that it was made of.

    Takes time linear in the links and in the materializations of their versions; terminates on any history.

    Args:
        asset: Name of the artifact's asset.
        version: Its data version.
        graph: Stages by name, inputs before their readers: which assets are observed, which gates are expected.
        history: Materializations, observations and evaluations.
        store: Where the bytes of every link should be.
        traits: What is known of an asset by its name, also of one that the graph no longer has.

    Returns:
        Every link once, the artifact first, inputs after their readers.
    """
    place = {name: number for number, name in enumerate(graph)}
    steps = _follow((asset, version), graph, place, history)
    order = _readers_first(steps, (asset, version), place)
    by_asset: dict[str, list[_Step]] = {}
    for key in order:
        by_asset.setdefault(key[0], []).append(steps[key])
    return Chain(
        links=tuple(_link(steps[key], by_asset, graph.get(key[0]), history, store, traits(key[0])) for key in order)
    )


def _link(
    step: _Step,
    by_asset: Mapping[str, list[_Step]],
    stage: Stage | None,
    history: History,
    store: Presence,
    traits: AssetTraits,
) -> Link:
    gates = tuple(sorted(history.gates(step.asset, step.version), key=lambda gate: gate.name))
    expected = tuple(gate.name for gate in stage.gates) if stage else ()
    return Link(
        asset=step.asset,
        version=step.version,
        role=traits.role,
        holds_bytes=traits.holds_bytes,
        record=step.record,
        observed_at=step.observed_at,
        declared=dict(history.declared(step.asset, step.version)) if step.observed_at is not None else {},
        hole=traits.hole if step.record is None else "",
        gates=gates,
        expected_gates=expected,
        problems=(
            *step.problems,
            *_record_problems(step),
            *_gate_problems(gates, expected, by_asset),
            *(_presence_problems(step, stage, store) if traits.holds_bytes else ()),
            *_mixed_versions(step, by_asset[step.asset][0]),
        ),
    )


_Key = tuple[str, str]


def _follow(head: _Key, graph: Mapping[str, Stage], place: Mapping[str, int], history: History) -> dict[_Key, _Step]:
    """Every version that can be reached from the artifact through the inputs of records.

    Readers are followed before their inputs, in the order of ``graph``: the first reader of a version decides which
    of its materializations is meant. Where the graph was another one at that time, this may pick a younger
    materialization of the same bytes, and never other bytes.
    """
    steps = {head: _Step(*head)}
    waiting = [(-place.get(head[0], len(place)), head)]
    while waiting:
        _, key = heapq.heappop(waiting)
        step = steps[key]
        _look_up(step, graph.get(step.asset), history)
        if step.record is None:
            continue
        for read in step.record.inputs.items():
            if read not in steps:
                steps[read] = _Step(*read)
                heapq.heappush(waiting, (-place.get(read[0], len(place)), read))
            steps[read].add_reader(step.asset, _time(step.record.started_at))
    return steps


def _look_up(step: _Step, stage: Stage | None, history: History) -> None:
    """Find the record of the materialization that the first reader of ``step`` read, or its first observation."""
    made = history.materializations(step.asset, step.version)
    if not made:
        step.observed_at = history.first_observed(step.asset, step.version)
        step.problems += _unmade_problems(step, stage)
        return
    chosen, is_in_time = _materialization_read(made, step.read_at)
    if not is_in_time:
        step.problems.append(
            f"was recorded at {chosen.ended_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, after {_readers(step)} had read "
            "it: clocks differ, or an older history is lost"
        )
    try:
        step.record = history.record(step.asset, chosen.number)
    except LineageError as error:
        step.problems.append(error.found)


def _unmade_problems(step: _Step, stage: Stage | None) -> Iterator[str]:
    """Problems of a version that no materialization gave."""
    though = f", though {_readers(step)} read it" if step.readers else ""
    if step.observed_at is None:
        what = "observation" if stage is not None and stage.is_observed else "materialization"
        yield f"no {what} of this version is in the history{though}"
    elif stage is not None and not stage.is_observed:
        yield f"was only ever observed, never made by a build of this system{though}"


def _materialization_read(made: Sequence[Materialization], read_at: datetime | None) -> tuple[Materialization, bool]:
    """The newest of ``made`` that had ended when the first reader began; else the oldest, and False."""
    for one in made:
        if read_at is None or one.ended_at < read_at + _TICK:
            return one, True
    return made[-1], False


def _readers(step: _Step) -> str:
    """Such as ``a``, ``a and b``, ``a, b and 3 more``."""
    first, rest = list(step.readers)[:2], len(step.readers) - 2
    return " and ".join(first) if rest <= 0 else f"{', '.join(first)} and {rest} more"


def _readers_first(steps: Mapping[_Key, _Step], head: _Key, place: Mapping[str, int]) -> list[_Key]:
    """Every key, each after all of its readers; a circle in the history is cut.

    The reverse postorder of a depth-first search. What is entered first comes last, so the oldest ancestors are entered
    first.
    """

    def reads(key: _Key) -> Iterator[_Key]:
        record = steps[key].record
        return iter(sorted(record.inputs.items(), key=lambda one: place.get(one[0], -1)) if record else [])

    ended: list[_Key] = []
    entered = {head}
    path = [(head, reads(head))]
    while path:
        key, rest = path[-1]
        following = next((one for one in rest if one not in entered), None)
        if following is None:
            path.pop()
            ended.append(key)
        else:
            entered.add(following)
            path.append((following, reads(following)))
    return ended[::-1]


def _record_problems(step: _Step) -> Iterator[str]:
    record = step.record
    if record is None:
        return
    if (record.asset, record.data_version) != (step.asset, step.version):
        yield f"its record is about {record.asset} at {record.data_version}, not about this version"
    if not record.code_version:
        yield "its record has no code version"
    elif record.desired_state != desired_state(record.asset, record.code_version, record.inputs):
        yield "its record contradicts itself: the desired state is not that of its code version and inputs"
    if record.git_commit is None:
        yield "has no git commit, so its code cannot be looked up"
    elif record.git_dirty is None:
        yield f"whether its code was all of commit {record.git_commit[:8]} is not known"
    elif record.git_dirty:
        yield f"was made from uncommitted changes on top of commit {record.git_commit[:8]}"


def _gate_problems(
    gates: Sequence[GateRecord], expected: Sequence[str], by_asset: Mapping[str, list[_Step]]
) -> Iterator[str]:
    known = {gate.name for gate in gates}
    for gate in gates:
        if not gate.passed:
            yield f"{gate.name} failed: {' '.join(gate.summary.split())}"
        yield from _judged_with_others(gate, by_asset)
    for name in expected:
        if name not in known:
            yield f"{name} has not been evaluated on this version"


def _judged_with_others(gate: GateRecord, by_asset: Mapping[str, list[_Step]]) -> Iterator[str]:
    """A gate that read an asset of the chain at a version that is not in it, such as newer test images."""
    read = gate.facts.get(READ_FACT)
    for asset, version in read.items() if isinstance(read, dict) else ():
        versions = [step.version for step in by_asset.get(asset, ())]
        if versions and version not in versions:
            yield f"{gate.name} was judged with {asset} {str(version)[:12]}, and this chain has {versions[0][:12]}"


def _presence_problems(step: _Step, stage: Stage | None, store: Presence) -> Iterator[str]:
    """Bytes that are not in the store; recorded data that only a pointer names has to be there as well."""
    try:
        if store.has(step.version):
            return
    except RobotAssetsError as error:
        yield f"whether its bytes are still in the store is not known: {error.found}"
        return
    if stage is not None and stage.is_observed:
        yield "the store does not have the bytes that its pointer named"
    else:
        yield "its bytes are no longer in the store"


def _mixed_versions(step: _Step, first: _Step) -> Iterator[str]:
    """Another step of the chain read the same asset at another version, such as data of another split."""
    if step is not first:
        other = f"{_readers(first)} read {first.version[:12]}" if first.readers else "the artifact is another one"
        yield f"{_readers(step)} read this version, while {other}: two versions of one asset in one chain"


def _time(text: str) -> datetime | None:
    """A time of a record; None when it does not parse, so that one damaged record does not end an audit."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
