"""The decision of the rebuild sensor: which runs to start now, as a pure function of the present state.

Level-triggered: it is evaluated at every tick, from the present state alone. Earlier requests show in the runs (in
progress, ended, failed), so that nothing has to be remembered between two ticks.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from robot_assets.core.text import plural
from robot_assets.lineage.graph import Stage
from robot_assets.lineage.spec import LONGEST_BACKOFF_S, QuietSpec, RebuildSpec
from robot_assets.lineage.staleness import State, Status

URGENT_BACKOFF_S = 900.0
"""Longest wait between two attempts of an urgent stage, which is never left alone: a pause that could not be published
while the network was down has to be published afterwards."""


@dataclass(frozen=True)
class Attempts:
    """Ended runs for one desired state.

    Attributes:
        ended: All of them; the next run has the next number.
        failed: Those that failed or were cancelled since the last success.
        last_failed_at: When the last of them ended; None when none failed.
    """

    ended: int = 0
    failed: int = 0
    last_failed_at: datetime | None = None


@dataclass(frozen=True)
class Request:
    """One run to start: an asset with its gates, or some gates of an asset that is up to date.

    ``key`` names the run by its desired state and its number. Dagster starts one run for one key, so that a tick that
    is interrupted and repeated starts nothing twice.
    """

    asset: str
    desired_state: str
    number: int
    gates: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The run key."""
        return f"{self.desired_state}:{self.number}"


@dataclass(frozen=True)
class Decision:
    """What to start, and what not.

    Attributes:
        requests: Runs to start now, in graph order.
        held: Why nothing is started for the other assets that are ready to be rebuilt, by asset.
        given_up: Assets whose desired state has failed too often, with their attempts.
    """

    requests: tuple[Request, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)
    given_up: Mapping[str, Attempts] = field(default_factory=dict)


def decide(
    graph: Mapping[str, Stage],
    found: Mapping[str, Status],
    spec: RebuildSpec,
    in_progress: frozenset[str],
    attempts: Mapping[str, Attempts],
    now: datetime,
) -> Decision:
    """Which runs to start now.

    Args:
        graph: All stages, inputs before their readers.
        found: Their statuses.
        spec: Limits.
        in_progress: Assets that unfinished runs are making or checking, whoever started them.
        attempts: Ended runs, by desired state.
        now: The present moment, with a time zone.
    """
    tick = _Tick(graph, found, spec, in_progress, attempts, now)
    requests: list[Request] = []
    held: dict[str, str] = {}
    given_up: dict[str, Attempts] = {}
    busy = Counter(graph[name].pool for name in in_progress if name in graph and not graph[name].is_urgent)
    limited = 0
    for name, status in found.items():
        if not status.is_ready or graph[name].is_observed:
            continue
        before = tick.attempts_of(name)
        reason = tick.why_not(name) or tick.why_later(name, busy, limited)
        if reason is None:
            requests.append(Request(name, str(status.desired_state), before.ended + 1, _gates(status)))
            if not graph[name].is_urgent:
                busy[graph[name].pool] += 1
                limited += 1
            continue
        held[name] = reason
        if before.failed >= spec.tries and not graph[name].is_urgent:
            given_up[name] = before
    return Decision(tuple(requests), held, given_up)


def is_quiet(quiet: QuietSpec | None, now: datetime) -> bool:
    """Whether ``now`` lies in the quiet window. Its start belongs to it, its end does not."""
    if quiet is None:
        return False
    local = now.astimezone(ZoneInfo(quiet.timezone)).time()
    if quiet.start <= quiet.end:
        return quiet.start <= local < quiet.end
    return local >= quiet.start or local < quiet.end


@dataclass(frozen=True)
class _Tick:
    """Everything that one decision depends on."""

    graph: Mapping[str, Stage]
    found: Mapping[str, Status]
    spec: RebuildSpec
    in_progress: frozenset[str]
    attempts: Mapping[str, Attempts]
    now: datetime

    def attempts_of(self, name: str) -> Attempts:
        return self.attempts.get(self.found[name].desired_state or "", Attempts())

    def why_not(self, name: str) -> str | None:
        """Why the rebuild of a ready asset has to wait, limits on runs aside; None when it need not."""
        stage = self.graph[name]
        if name in self.in_progress:
            return "in progress"
        if name in self.unsettled and not stage.is_urgent:
            return "an input is being rebuilt"
        if stage.policy == "manual":
            return "manual by policy"
        before = self.attempts_of(name)
        if reason := self._until_next(before, URGENT_BACKOFF_S) if stage.is_urgent else self._after_failures(before):
            return reason
        if not stage.is_urgent and is_quiet(self.spec.quiet, self.now):
            return "quiet window"
        canary = self.canaries.get(stage.fleet) if stage.fleet is not None else None
        return None if canary in (None, name) else f"waits for the canary {canary}"

    def why_later(self, name: str, busy: Counter[str], started: int) -> str | None:
        """Which limit on runs holds an asset that need not wait otherwise."""
        stage = self.graph[name]
        if stage.is_urgent:
            most = self.spec.runs_per_tick
            return None if name in self.urgent_ones else f"{most} orders are being carried out"
        if busy[stage.pool] >= self.spec.runs_per_pool:
            return f"node pool {stage.pool} is busy"
        return (
            f"{self.spec.runs_per_tick} runs were started in this tick" if started >= self.spec.runs_per_tick else None
        )

    @cached_property
    def urgent_ones(self) -> frozenset[str]:
        """The urgent assets that are started now: beside all others, but not more at a time than a tick may start.

        Which ones, where there are more, changes from tick to tick: none waits forever because others are always ready.
        """
        waiting = [name for name, status in self.found.items() if status.is_ready and self.graph[name].is_urgent]
        running = sum(self.graph[name].is_urgent for name in self.in_progress if name in self.graph)
        drawn = sorted(filter(lambda name: self.why_not(name) is None, waiting), key=self._draw)
        return frozenset(drawn[: max(0, self.spec.runs_per_tick - running)])

    def _draw(self, name: str) -> bytes:
        text = f"{self.now.isoformat()} {name}"
        return hashlib.md5(text.encode(), usedforsecurity=False).digest()

    def _after_failures(self, before: Attempts) -> str | None:
        if before.failed >= self.spec.tries:
            return f"left alone after {plural(before.failed, 'failed attempt')}"
        return self._until_next(before, LONGEST_BACKOFF_S, f" of {self.spec.tries}")

    def _until_next(self, before: Attempts, longest_s: float, of_tries: str = "") -> str | None:
        if before.last_failed_at is None:
            return None
        wait_s = min(self.spec.backoff_s * 2.0 ** min(before.failed - 1, 20), longest_s)
        again = before.last_failed_at + timedelta(seconds=wait_s)
        if self.now >= again:
            return None
        return f"attempt {before.failed}{of_tries} failed; next at {again.astimezone(UTC):%H:%M:%S} UTC"

    @cached_property
    def unsettled(self) -> frozenset[str]:
        """What is in progress, and everything that is made of it at any depth."""
        unsettled = set(self.in_progress)
        for stage in self.graph.values():
            if not unsettled.isdisjoint(stage.inputs):
                unsettled.add(stage.asset)
        return frozenset(unsettled)

    @cached_property
    def canaries(self) -> dict[str, str]:
        """The stage that goes first, by fleet.

        When many stages of a fleet are stale and none is fresh, the first in graph order goes alone. Once it is fresh
        (built from the present inputs, and through its gates), the others follow.
        """
        fleets: dict[str, list[str]] = {}
        for stage in self.graph.values():
            if stage.fleet is not None:
                fleets.setdefault(stage.fleet, []).append(stage.asset)
        canaries = {}
        for fleet, members in fleets.items():
            waiting = [name for name in members if self.found[name].is_ready]
            if len(waiting) >= self.spec.canary_from and not any(self.found[name].is_fresh for name in members):
                canaries[fleet] = waiting[0]
        return canaries


def _gates(status: Status) -> tuple[str, ...]:
    return status.due_gates if status.state in (State.GATE_DUE, State.GATE_FAILED) else ()
