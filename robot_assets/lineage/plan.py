"""The plan: what is not fresh, why, what would be rebuilt where, and the expected cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robot_assets.lineage.graph import Stage
from robot_assets.lineage.record import RULE_CHANGED
from robot_assets.lineage.spec import Policy
from robot_assets.lineage.staleness import Built, State, Status

_MIGRATION = "docs/migration.md"


@dataclass(frozen=True)
class Step:
    """One asset of a plan.

    Attributes:
        asset: Its name.
        state: Its state; never fresh.
        causes: Why, one sentence each, root causes only: an asset that is merely behind has none of its own.
        after: The assets that have to be rebuilt first: the nearest ancestors that are stale themselves.
        pool: Where it would be built.
        policy: Who starts it: the sensor (``auto``) or a person (``manual``).
        expected_s: Seconds that its last build took; None when that is unknown. Gates alone count as 0, as does an
            observation.
        is_certain: False for what is only behind: the rebuild of an ancestor may give the same bytes.
    """

    asset: str
    state: State
    causes: tuple[str, ...]
    after: tuple[str, ...]
    pool: str
    policy: Policy
    expected_s: float | None
    is_certain: bool

    def as_json(self) -> dict[str, Any]:
        """Plain data for a machine."""
        return {
            "state": str(self.state),
            "causes": list(self.causes),
            "after": list(self.after),
            "pool": self.pool,
            "policy": self.policy,
            "expected_s": self.expected_s,
            "is_certain": self.is_certain,
        }


@dataclass(frozen=True)
class Cost:
    """Expected time on one node pool.

    Attributes:
        certain_s: Seconds of what is stale.
        at_most_s: With what is behind as well.
        unknown: Number of assets to build whose last build has no known time; most were never built.
    """

    certain_s: float
    at_most_s: float
    unknown: int

    def as_json(self) -> dict[str, Any]:
        """Plain data for a machine."""
        return {"certain_s": self.certain_s, "at_most_s": self.at_most_s, "unknown": self.unknown}


@dataclass(frozen=True)
class CommonCause:
    """One cause that is all that several assets of a plan have, for a table that shows them in one line.

    Attributes:
        cause: The sentence.
        assets: Names of the assets, in the order of the plan.
        more: Where a person reads on.
    """

    cause: str
    assets: tuple[str, ...]
    more: str

    def __str__(self) -> str:
        """The line."""
        return f"{len(self.assets)} assets: {self.cause}, see {self.more}"


def make_plan(
    graph: Mapping[str, Stage],
    found: Mapping[str, Status],
    built: Mapping[str, Built],
    causes: Mapping[str, Sequence[str]],
) -> tuple[Step, ...]:
    """Everything of ``graph`` that is not fresh, roots before what follows from them.

    Args:
        graph: The assets to plan for, inputs before their readers.
        found: Their statuses.
        built: The latest version of each.
        causes: The sentences of :func:`robot_assets.lineage.causes.explain` for each asset that is not fresh.
    """
    roots: dict[str, tuple[str, ...]] = {}
    steps = []
    for name, stage in graph.items():
        status = found[name]
        if status.is_fresh:
            continue
        after = dict.fromkeys(root for above in status.waits_for for root in _self_or_roots(above, found, roots))
        roots[name] = tuple(after)
        is_certain = status.state is not State.BEHIND
        steps.append(
            Step(
                asset=name,
                state=status.state,
                causes=tuple(cause for cause in causes.get(name, ()) if not cause.startswith("waits for ")),
                after=tuple(after),
                pool=stage.pool,
                policy="manual" if stage.is_observed else stage.policy,
                expected_s=_expected_s(stage, status, built.get(name)),
                is_certain=is_certain,
            )
        )
    return tuple(steps)


def costs(steps: Sequence[Step]) -> dict[str, Cost]:
    """The cost of a plan on each node pool, by name of the pool."""
    pools = dict.fromkeys(step.pool for step in steps)
    return {pool: _cost([step for step in steps if step.pool == pool]) for pool in pools}


def common_causes(steps: Sequence[Step]) -> tuple[CommonCause, ...]:
    """The causes that a table may show in one line each: a change of the rule of code versions, which all assets have.

    Only assets without another cause count, and a cause of a single asset is none.
    """
    assets: dict[str, list[str]] = {}
    for step in steps:
        if len(step.causes) == 1 and step.causes[0].startswith(RULE_CHANGED):
            assets.setdefault(step.causes[0], []).append(step.asset)
    return tuple(CommonCause(cause, tuple(names), _MIGRATION) for cause, names in assets.items() if len(names) > 1)


def _cost(steps: Sequence[Step]) -> Cost:
    known = [(step.expected_s, step.is_certain) for step in steps if step.expected_s is not None]
    return Cost(
        certain_s=round(sum(seconds for seconds, is_certain in known if is_certain), 1),
        at_most_s=round(sum(seconds for seconds, _ in known), 1),
        unknown=len(steps) - len(known),
    )


def _self_or_roots(name: str, found: Mapping[str, Status], roots: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """``name`` when it is a root itself, else what it is behind."""
    return roots[name] if found[name].state is State.BEHIND else (name,)


def _expected_s(stage: Stage, status: Status, mine: Built | None) -> float | None:
    if stage.is_observed or status.state in (State.GATE_DUE, State.GATE_FAILED):
        return 0.0
    return mine.duration_s if mine else None
