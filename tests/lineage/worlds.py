"""Worlds: a random graph, the facts about it, and the events that change them.

A world keeps plain facts (the code and the inputs that a build really had, what a gate really read). The digests that
staleness compares are computed from them, as is the plain statement of the rules in the tests.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from hypothesis import strategies as st

from robot_assets.lineage.code import Code, Entries
from robot_assets.lineage.graph import Gate, Stage
from robot_assets.lineage.record import desired_state
from robot_assets.lineage.staleness import Built, GateResult, Status, gate_state, statuses

numbers = st.integers(0, 2**20)
ENTRIES = (
    "robot_assets.core.verdict:Verdict",
    "robot_assets.core.publishing:publishing_file",
    "robot_assets.core.errors:RobotAssetsError",
)
"""Entry points that exist, for those who run them as stages of a real instance."""
VERSIONS = ("one", "two", "three")


class GivenCode(Code):
    """Code whose entry points have the digests that they are given; asking for any other is an error."""

    def __init__(self, digests: Mapping[str, str]) -> None:
        super().__init__()
        self._digests_given = dict(digests)

    def definitions(self, entries: Entries) -> dict[str, str]:
        return {entry: self._digests_given[entry] for entry in ([entries] if isinstance(entries, str) else entries)}


@dataclass(frozen=True)
class Judged:
    """One evaluation of a gate: the code that judged, what it read, and whether it passed."""

    code: str
    read: Mapping[str, str]
    passed: bool
    state: str


@dataclass(frozen=True)
class Made:
    """One build: its version, and the code and inputs that it really had."""

    version: str
    code: str
    inputs: Mapping[str, str]
    is_stored: bool = True
    judged: Mapping[str, Judged] = field(default_factory=dict)


@dataclass(frozen=True)
class World:
    """All facts of one moment. Events make new worlds and leave old ones as they are."""

    graph: Mapping[str, Stage]
    digests: Mapping[str, str]
    seen: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, Made] = field(default_factory=dict)

    @property
    def code(self) -> GivenCode:
        return GivenCode(self.digests)

    @property
    def built(self) -> dict[str, Built]:
        found = {name: Built(version) for name, version in self.seen.items()}
        for name, made in self.made.items():
            gates = {gate: GateResult(judged.state, judged.passed) for gate, judged in made.judged.items()}
            state = desired_state(name, made.code, made.inputs)
            found[name] = Built(made.version, state, gates, made.is_stored)
        return found

    @cached_property
    def found(self) -> dict[str, Status]:
        return statuses(self.graph, self.built, self.code)

    @property
    def unfresh(self) -> dict[str, Status]:
        return {name: status for name, status in self.found.items() if not status.is_fresh}

    @property
    def ready(self) -> tuple[str, ...]:
        return tuple(name for name, status in self.found.items() if status.is_ready)

    @property
    def produced(self) -> tuple[str, ...]:
        return tuple(name for name, stage in self.graph.items() if not stage.is_observed)

    @property
    def observed(self) -> tuple[str, ...]:
        return tuple(name for name, stage in self.graph.items() if stage.is_observed)

    def version(self, name: str) -> str | None:
        return self.made[name].version if name in self.made else self.seen.get(name)

    def ancestors(self, name: str) -> set[str]:
        above = set(self.graph[name].inputs)
        return above.union(*(self.ancestors(one) for one in above))

    def after(self, *events: Event) -> World:
        world = self
        for event in events:
            world = event.applied(world)
        return world

    def with_stage(self, stage: Stage) -> World:
        return replace(self, graph={**self.graph, stage.asset: stage})

    def with_made(self, name: str, made: Made) -> World:
        return replace(self, made={**self.made, name: made})

    def judging(self, name: str, gate: Gate, passed: bool) -> Judged:
        versions = {one: self.version(one) for one in (name, *gate.inputs)}
        read = {one: version for one, version in versions.items() if version is not None}
        state = gate_state(name, gate, self.built, self.code)
        return Judged(self.code.version(gate.code, gate.params), read, passed, state)


@dataclass(frozen=True)
class SetCode:
    """A person edits the code of an entry point."""

    entry: str
    digest: str

    def applied(self, world: World) -> World:
        return replace(world, digests={**world.digests, self.entry: self.digest})

    def undone(self, before: World) -> SetCode:
        return SetCode(self.entry, before.digests[self.entry])


@dataclass(frozen=True)
class SetEntry:
    """Another entry point makes an asset from now on."""

    asset: str
    entry: str

    def applied(self, world: World) -> World:
        return world.with_stage(replace(world.graph[self.asset], code=(self.entry,)))

    def undone(self, before: World) -> SetEntry:
        return SetEntry(self.asset, before.graph[self.asset].code[0])


@dataclass(frozen=True)
class SetParams:
    """A person edits params.yaml."""

    asset: str
    params: Mapping[str, Any]

    def applied(self, world: World) -> World:
        return world.with_stage(replace(world.graph[self.asset], params=self.params))

    def undone(self, before: World) -> SetParams:
        return SetParams(self.asset, before.graph[self.asset].params)


@dataclass(frozen=True)
class SetInputs:
    """An asset gains or loses inputs. Gates that read inputs read the new ones."""

    asset: str
    inputs: tuple[str, ...]

    def applied(self, world: World) -> World:
        stage = world.graph[self.asset]
        gates = _gates([gate.name for gate in stage.gates], self.inputs)
        return world.with_stage(replace(stage, inputs=self.inputs, gates=gates))

    def undone(self, before: World) -> SetInputs:
        return SetInputs(self.asset, before.graph[self.asset].inputs)


@dataclass(frozen=True)
class Observe:
    """An observed asset has another version."""

    asset: str
    version: str

    def applied(self, world: World) -> World:
        return replace(world, seen={**world.seen, self.asset: self.version})

    def undone(self, before: World) -> Observe:
        return Observe(self.asset, before.seen[self.asset])


@dataclass(frozen=True)
class FirstLook:
    """An observed asset is observed for the first time."""

    asset: str

    def applied(self, world: World) -> World:
        return world.after(Observe(self.asset, VERSIONS[0]))


@dataclass(frozen=True)
class Build:
    """A build from the present inputs, whose gates then pass, or have not run when the run was killed in between.

    An asset whose gates alone are due keeps its build.
    """

    asset: str
    version: str
    are_gates_run: bool = True

    def applied(self, world: World) -> World:
        stage = world.graph[self.asset]
        if not world.found[self.asset].due_gates:
            before = world.made.get(self.asset)
            made = made_now(world, self.asset, self.version)
            world = world.with_made(self.asset, replace(made, judged=before.judged if before else {}))
        gates = stage.gates if self.are_gates_run else ()
        return world.after(*(Judge(self.asset, gate.name, True) for gate in gates))


def made_now(world: World, name: str, version: str = VERSIONS[0]) -> Made:
    """A build of ``name`` from the present code and the present inputs."""
    stage = world.graph[name]
    inputs = {above: world.version(above) for above in stage.inputs}
    known = {above: version for above, version in inputs.items() if version is not None}
    return Made(version, world.code.version(stage.code, stage.params), known)


@dataclass(frozen=True)
class Lose:
    """The store loses the bytes of an asset."""

    asset: str

    def applied(self, world: World) -> World:
        return world.with_made(self.asset, replace(world.made[self.asset], is_stored=False))


@dataclass(frozen=True)
class Judge:
    """A gate is evaluated on the present versions."""

    asset: str
    gate: str
    passed: bool

    def applied(self, world: World) -> World:
        made = world.made[self.asset]
        gate = next(one for one in world.graph[self.asset].gates if one.name == self.gate)
        judged = {**made.judged, self.gate: world.judging(self.asset, gate, self.passed)}
        return world.with_made(self.asset, replace(made, judged=judged))


T = TypeVar("T")
Change = SetCode | SetEntry | SetParams | SetInputs | Observe
Event = Change | FirstLook | Build | Lose | Judge


def subject(change: Change) -> tuple[str, str]:
    """What a change is about: the order of two changes of one subject matters, that of other changes does not."""
    return type(change).__name__, change.entry if isinstance(change, SetCode) else change.asset


@st.composite
def graphs(draw: st.DrawFn, *, gates: bool = True) -> dict[str, Stage]:
    """Two to six stages, inputs before their readers; the first is observed."""
    stages: dict[str, Stage] = {}
    for number in range(draw(st.integers(2, 6))):
        name = f"toy/{'abcdef'[number]}"
        if number == 0 or draw(st.integers(0, 5)) == 0:
            stages[name] = Stage(name, "seen")
            continue
        read = draw(st.integers(0, 2**number - 1))
        inputs = tuple(other for bit, other in enumerate(stages) if read >> bit & 1)
        asked = draw(st.sampled_from(((), ("size",), ("size", "speed")))) if gates else ()
        entry = draw(st.sampled_from(ENTRIES))
        stages[name] = Stage(name, "toy", (entry,), {"epochs": 1}, inputs, _gates(asked, inputs))
    return stages


def _gates(names: Iterable[str], inputs: tuple[str, ...]) -> tuple[Gate, ...]:
    """``size`` reads the asset alone, ``speed`` its inputs as well."""
    read = {"size": (), "speed": inputs}
    return tuple(Gate(name, f"The {name} is right.", ENTRIES[:1], {}, read[name]) for name in names)


def started(graph: Mapping[str, Stage], unseen: Collection[str] = ()) -> World:
    """A world in which nothing was built, and everything but ``unseen`` was observed."""
    observed = {name: VERSIONS[0] for name, stage in graph.items() if stage.is_observed and name not in unseen}
    return World(graph, dict.fromkeys(ENTRIES, "one"), observed)


def finished(world: World) -> World:
    """After builds of everything that is ready, until nothing is."""
    while world.ready:
        world = world.after(*(Build(name, VERSIONS[0]) for name in world.ready))
    return world


def changes(world: World, *, code: bool = True) -> list[list[Change]]:
    """Every single change of ``world``, by kind. Some change nothing, as edits do."""
    kinds: list[list[Change]] = [
        [SetEntry(name, entry) for name in world.produced for entry in ENTRIES],
        [SetParams(name, {"epochs": count}) for name in world.produced for count in (1, 2, 3)],
        [Observe(name, version) for name in world.seen for version in VERSIONS],
        [*input_changes(world)],
    ]
    if code:
        kinds.append([SetCode(entry, digest) for entry in ENTRIES for digest in VERSIONS])
    return [kind for kind in kinds if kind]


def input_changes(world: World) -> list[SetInputs]:
    """Every addition of one input to one asset, and every removal of one."""
    names = list(world.graph)
    return [
        SetInputs(name, tuple(sorted({*world.graph[name].inputs} ^ {other}, key=names.index)))
        for name in world.produced
        for other in names[: names.index(name)]
    ]


def events(world: World, *, code: bool = True, losses: bool = True) -> list[list[Event]]:
    """Every single event that can happen to ``world``, by kind; builds twice, so that they are frequent."""
    builds: list[Event] = [
        Build(name, version, are_gates_run)
        for name in world.ready
        for version in VERSIONS
        for are_gates_run in ((True, False) if world.graph[name].gates else (True,))
    ]
    gates = [(name, gate.name) for name in world.made for gate in world.graph[name].gates]
    kinds: list[list[Event]] = [
        *([*kind] for kind in changes(world, code=code)),
        builds,
        builds,
        [FirstLook(name) for name in world.observed if name not in world.seen],
        [Judge(*gate, passed) for gate in gates for passed in (True, False)],
        [Lose(name) for name in world.made if losses],
    ]
    return [kind for kind in kinds if kind]


def one_of(kinds: list[list[T]]) -> st.SearchStrategy[T]:
    """A kind, then one of that kind."""
    return numbers.map(lambda number: _pick(kinds, number))


def _pick(kinds: list[list[T]], number: int) -> T:
    """The choice that a number encodes: drawing one number is several times as fast as building strategies per draw."""
    number, place = divmod(number, len(kinds))
    return kinds[place][number % len(kinds[place])]


@st.composite
def histories(
    draw: st.DrawFn, *, gates: bool = True, code: bool = True, losses: bool = True, unseen: bool = True, most: int = 12
) -> tuple[World, list[Event]]:
    """A world to start from, and the events that follow; now and then the last change is undone."""
    graph = draw(graphs(gates=gates))
    world = started(graph, draw(st.sampled_from([(), *zip(graph)])) if unseen else ())
    start = world = finished(world) if draw(st.booleans()) else world
    followed: list[Event] = []
    undo: list[Change] = []
    for number in draw(st.lists(numbers, max_size=most)):
        if undo and number % 5 == 4:
            event: Event = undo.pop()
        else:
            event = _pick(events(world, code=code, losses=losses), number // 5)
            if isinstance(event, Change):
                undo.append(event.undone(world))
        followed.append(event)
        world = world.after(event)
    return start, followed


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """The world after a history."""
    start, followed = draw(histories())
    return start.after(*followed)
