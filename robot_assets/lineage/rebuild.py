"""What to rebuild now: the decision of the rebuild sensor, as a pure function of what stands.

Level-triggered: it is asked again and again, and answers from the present state alone. What was asked for before
shows in the runs (in progress, ended, failed), so that nothing has to be remembered between two looks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from robot_assets.lineage.graph import Kind, Stage
from robot_assets.lineage.spec import LONGEST_BACKOFF_S, QuietSpec, RebuildSpec
from robot_assets.lineage.staleness import State, Status


@dataclass(frozen=True)
class Tries:
    """Ended runs that were asked for one desired state.

    Attributes:
        ended: All of them: numbers the next run.
        failed: Those that failed or were cancelled since the last that ended well.
        last_failed_at: When the last of them ended; None when none failed.
    """

    ended: int = 0
    failed: int = 0
    last_failed_at: datetime | None = None


@dataclass(frozen=True)
class Request:
    """One run to start: an asset with its gates, or some gates of an asset that stands.

    ``key`` names the run: the state that is wanted, and the how-manieth run for it this is. Dagster starts one
    run for one key, so that a look that is cut off and repeated starts nothing twice.
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
    """What a look at the graph comes to.

    Attributes:
        requests: Runs to start now, in graph order.
        held: Why nothing is started for the other assets that are ready to be rebuilt, by asset.
        given_up: Assets whose desired state has failed too often, with what is known of the tries.
    """

    requests: tuple[Request, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)
    given_up: Mapping[str, Tries] = field(default_factory=dict)


def decide(
    graph: Mapping[str, Stage],
    found: Mapping[str, Status],
    spec: RebuildSpec,
    in_progress: frozenset[str],
    tries: Mapping[str, Tries],
    now: datetime,
) -> Decision:
    """Which runs to start now.

    Args:
        graph: All stages, inputs before their readers.
        found: Their statuses.
        spec: Policy and limits.
        in_progress: Assets that unfinished runs are making or checking, whoever started them.
        tries: What is known of earlier runs, by desired state.
        now: The present moment, with a time zone.
    """
    look = _Look(graph, found, spec, in_progress, tries, now)
    requests: list[Request] = []
    held: dict[str, str] = {}
    given_up: dict[str, Tries] = {}
    busy = Counter(graph[name].pool for name in in_progress if name in graph)
    for name, status in found.items():
        if not status.is_ready or graph[name].is_observed:
            continue
        before = look.tries_of(name)
        reason = look.why_not(name)
        if reason is None and busy[graph[name].pool] >= spec.runs_per_pool:
            reason = f"node pool {graph[name].pool} is busy"
        if reason is None and len(requests) >= spec.runs_per_tick:
            reason = f"{spec.runs_per_tick} runs were started in this look"
        if reason is None:
            requests.append(Request(name, str(status.desired_state), before.ended + 1, _gates(status)))
            busy[graph[name].pool] += 1
            continue
        held[name] = reason
        if before.failed >= spec.tries:
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
class _Look:
    """All that one decision is made from."""

    graph: Mapping[str, Stage]
    found: Mapping[str, Status]
    spec: RebuildSpec
    in_progress: frozenset[str]
    tries: Mapping[str, Tries]
    now: datetime

    def tries_of(self, name: str) -> Tries:
        return self.tries.get(self.found[name].desired_state or "", Tries())

    def why_not(self, name: str) -> str | None:
        """Why the rebuild of an asset that is ready has to wait, but for limits on runs; None when it need not."""
        if name in self.in_progress:
            return "in progress"
        if name in self.upset:
            return "an input is being rebuilt"
        if getattr(self.spec.policy, self.graph[name].kind) == "manual":
            return "manual by policy"
        if reason := self._after_failures(self.tries_of(name)):
            return reason
        if is_quiet(self.spec.quiet, self.now):
            return "quiet window"
        canary = self.canaries.get(self.graph[name].inputs[0]) if self.graph[name].kind is Kind.ENGINE else None
        return None if canary in (None, name) else f"waits for the canary {canary}"

    def _after_failures(self, before: Tries) -> str | None:
        if before.failed >= self.spec.tries:
            return f"left alone after {before.failed} failed tries"
        if before.last_failed_at is None:
            return None
        wait_s = min(self.spec.backoff_s * 2.0 ** (before.failed - 1), LONGEST_BACKOFF_S)
        again = before.last_failed_at + timedelta(seconds=wait_s)
        if self.now >= again:
            return None
        return f"try {before.failed} of {self.spec.tries} failed; again at {again.astimezone(UTC):%H:%M:%S} UTC"

    @cached_property
    def upset(self) -> frozenset[str]:
        """What is being made, and everything that is made of it at any depth."""
        upset = set(self.in_progress)
        for stage in self.graph.values():
            if not upset.isdisjoint(stage.inputs):
                upset.add(stage.asset)
        return frozenset(upset)

    @cached_property
    def canaries(self) -> dict[str, str]:
        """The engine that goes first, by the ONNX model that it is built from.

        When many targets of one model are stale and none is fresh, the first in the order of params.yaml goes
        alone. Once it is fresh (built from the present ONNX, and through its gates), the others follow.
        """
        fleets: dict[str, list[str]] = {}
        for stage in self.graph.values():
            if stage.kind is Kind.ENGINE:
                fleets.setdefault(stage.inputs[0], []).append(stage.asset)
        canaries = {}
        for onnx, fleet in fleets.items():
            waiting = [name for name in fleet if self.found[name].is_ready]
            if len(waiting) >= self.spec.canary_from and not any(self.found[name].is_fresh for name in fleet):
                canaries[onnx] = waiting[0]
        return canaries


def _gates(status: Status) -> tuple[str, ...]:
    return status.due_gates if status.state in (State.GATE_DUE, State.GATE_FAILED) else ()
