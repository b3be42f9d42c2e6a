"""Rollout as a level: a pure function of the desired release, what robots reported, the policy and the present time.

Nothing is remembered between two looks. A robot has taken its place in a batch when its report says that it switched to
the release, and not when it was listed. docs/rollout.md describes the rules with examples.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING

from robot_assets.core.text import escaped, listed
from robot_assets.fleet.reports import IN_PROGRESS, State
from robot_assets.fleet.spec import percent

if TYPE_CHECKING:
    from robot_assets.fleet.reports import Received, Report
    from robot_assets.fleet.spec import GroupSpec, RolloutSpec, WindowSpec

_NAMED = 5
_REASON_MAX = 120


class Phase(StrEnum):
    """Phase of a rollout."""

    NOTHING = "nothing to roll out"
    ROLLING = "rolling out"
    BAKING = "baking"
    APPROVAL = "waiting for approval"
    PAUSED = "paused"
    STOPPED = "stopped by failures"
    DONE = "complete"


class Status(StrEnum):
    """What a robot is to the rollout of one release."""

    WAITING = "waiting"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in progress"
    COMMITTED = "committed"
    BAKED = "baked"
    FAILED = "failed"
    SILENT = "silent"
    OFFLINE = "offline"
    UNKNOWN = "never reported"


STARTED = frozenset({Status.IN_PROGRESS, Status.COMMITTED, Status.BAKED, Status.FAILED, Status.SILENT})
"""Robots that switched to the release at some time: each has a place of the present batch."""

FAILURES = frozenset({Status.FAILED, Status.SILENT})
"""What counts against ``failures_max`` and ``failures_share_max``."""

_OFF = frozenset({Status.OFFLINE, Status.UNKNOWN})
_UNFINISHED = frozenset({Status.WAITING, Status.ASSIGNED, Status.IN_PROGRESS, Status.COMMITTED})


@dataclass(frozen=True)
class Decision:
    """Who may have a release now.

    Attributes:
        release: Its data version; None: there is none.
        phase: Of the rollout.
        why: The phase in one sentence, with its figures.
        batch: Number of the present batch, from 1; 0 where nothing is rolled out.
        batches: Number of batches.
        install: Robots that may have it, in the order of the group.
        robots: Status of every robot of the group, in the order of the group.
        sizes: Robots of each batch, cumulative.
    """

    release: str | None
    phase: Phase
    why: str
    batch: int = 0
    batches: int = 0
    install: tuple[str, ...] = ()
    robots: Mapping[str, Status] = field(default_factory=dict)
    sizes: tuple[int, ...] = ()


def decide(
    release: str | None,
    group: GroupSpec,
    robots: Sequence[str],
    reports: Mapping[str, Received],
    now: datetime,
    listed: Collection[str] = (),
) -> Decision:
    """Who may have ``release`` now.

    Args:
        release: The desired release: data version of ``release/<group>``; None: it has none that passed its gate.
        group: The group's entry in params.yaml: policy, ``paused``, ``approved``.
        robots: Enrolled robots of the group, in the order of the group: canaries first.
        reports: The last verified report of each robot that ever reported, by robot. Others are ignored.
        now: The present time, with a time zone.
        listed: Robots that may have ``release`` by what is published now. Some may have switched since their last
            report, so these keep their places: a robot that comes online before them in the group displaces none.
    """
    looks = tuple(_look(robot, release, group.rollout, reports.get(robot), now) for robot in dict.fromkeys(robots))
    if release is None:
        return _nothing(release, "no release of the group has passed its gate", looks)
    if not looks:
        return _nothing(release, "no robot of the group is enrolled", looks)
    progress = _Progress(release, group, looks, frozenset(listed))
    phase, why = _phase(progress)
    return Decision(
        release,
        phase,
        why,
        progress.batch,
        len(progress.sizes),
        progress.install,
        progress.statuses,
        progress.sizes,
    )


def batch_sizes(batches: Sequence[int | str], robots: int) -> tuple[int, ...]:
    """Robots of each batch, cumulative: shares rounded up, none above the group, each larger than the one before.

    A batch that adds no robot in a group of this size is left out, so that numbers of batches are those that a person
    sees: ``(1, "10%", "50%", "100%")`` of 3 robots are 1, 2 and 3.
    """
    sizes: list[int] = []
    for batch in batches:
        size = min(_size(batch, robots), robots)
        if size > (sizes[-1] if sizes else 0):
            sizes.append(size)
    return tuple(sizes)


def baked_needed(success_share_min: float, size: int) -> int:
    """Robots of a batch that have to be baked before the next one opens."""
    return ceil(_exact(success_share_min) * size)


def _size(batch: int | str, robots: int) -> int:
    return batch if isinstance(batch, int) else ceil(Fraction(percent(batch)) * robots / 100)


def _exact(share: float) -> Fraction:
    """A share as it was typed: 0.7 of 10 robots are 7, and not 8 because of a binary fraction."""
    return Fraction(str(share))


@dataclass(frozen=True)
class _Look:
    """A robot as it was last seen.

    Attributes:
        robot: Its id.
        status: To the release, before anybody is newly listed.
        is_off: Whether its last report is older than ``offline_s``.
        is_held: Whether its agent holds.
        may_return: Whether it has proven the release before and still has it.
        reason: Why the release failed on it.
    """

    robot: str
    status: Status
    is_off: bool = True
    is_held: bool = False
    may_return: bool = False
    reason: str = ""


def _look(robot: str, release: str | None, policy: RolloutSpec, received: Received | None, now: datetime) -> _Look:
    if received is None:
        return _Look(robot, Status.UNKNOWN)
    report, age_s = received.report, (now - received.received_at).total_seconds()
    status = _status(release, policy, report, age_s)
    return _Look(
        robot,
        status,
        age_s > policy.offline_s,
        report.state is State.HELD,
        release in report.proven and status not in STARTED,
        next((failure.reason for failure in report.failed if failure.release == release), ""),
    )


def _status(release: str | None, policy: RolloutSpec, report: Report, age_s: float) -> Status:
    """Status by a report alone. What a robot does with another release counts nothing."""
    if any(failure.release == release for failure in report.failed):
        return Status.FAILED
    if release is not None and _is_in_progress(release, report):
        return Status.SILENT if age_s > policy.silence_s else Status.IN_PROGRESS
    if release is not None and report.running == release and report.state not in IN_PROGRESS:
        return Status.BAKED if report.healthy_s >= policy.bake_s else Status.COMMITTED
    return Status.OFFLINE if age_s > policy.offline_s else Status.WAITING


def _is_in_progress(release: str, report: Report) -> bool:
    """Whether a robot has switched to the release and not yet committed to it, or is on its way back from it."""
    if report.state not in IN_PROGRESS:
        return False
    is_leaving = report.state is State.ROLLING_BACK or report.working_on is None
    return report.working_on == release or (report.running == release and is_leaving)


@dataclass(frozen=True)
class _Progress:
    """The rollout of one release in a group with robots."""

    release: str
    group: GroupSpec
    looks: tuple[_Look, ...]
    listed: frozenset[str] = frozenset()

    @property
    def policy(self) -> RolloutSpec:
        return self.group.rollout

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        return batch_sizes(self.policy.batches, len(self.looks))

    @cached_property
    def started(self) -> int:
        return sum(look.status in STARTED for look in self.looks)

    @cached_property
    def baked(self) -> int:
        return sum(look.status is Status.BAKED for look in self.looks)

    @cached_property
    def failures(self) -> int:
        return sum(look.status in FAILURES for look in self.looks)

    @cached_property
    def batch(self) -> int:
        """The first batch that has not succeeded, or whose successor is not approved; else the last one."""
        for number, size in enumerate(self.sizes[:-1], 1):
            if self.baked < self._needed(size) or not self._is_approved(number + 1):
                return number
        return len(self.sizes)

    @property
    def size(self) -> int:
        return self.sizes[self.batch - 1]

    @property
    def needed(self) -> int:
        return self._needed(self.size)

    @property
    def is_last(self) -> bool:
        return self.batch == len(self.sizes)

    @property
    def has_succeeded(self) -> bool:
        return self.baked >= self.needed

    def _needed(self, size: int) -> int:
        return baked_needed(self.policy.success_share_min, size)

    def _is_approved(self, batch: int) -> bool:
        approved = self.group.approved
        is_given = approved is not None and self.release.startswith(approved.release) and batch <= approved.batch
        return is_given or not self.policy.approval

    @cached_property
    def stop(self) -> str:
        """Why nobody new may have the release; empty where failures do not stop it."""
        return next(filter(None, (self._too_many(), self._too_large_a_share(), self._cannot_succeed())), "")

    def _too_many(self) -> str:
        most = self.policy.failures_max
        is_exceeded = most is not None and self.failures > most
        return f"{_robots(self.failures)} failed, and failures_max is {most}" if is_exceeded else ""

    def _too_large_a_share(self) -> str:
        """Of the batch, and not of those that have reported yet: else the first failure would be 100 %."""
        places = max(self.size, self.started)
        if Fraction(self.failures, places) <= _exact(self.policy.failures_share_max):
            return ""
        share = f"{100 * self.failures / places:.3g} %"
        return (
            f"{self.failures:,} of {_robots(places)} failed, {share}, and failures_share_max is "
            f"{self.policy.failures_share_max:g}"
        )

    def _cannot_succeed(self) -> str:
        """A robot on which the release failed does not take it again."""
        failed = sum(look.status is Status.FAILED for look in self.looks)
        places = max(self.size, self.started)
        if places - failed >= self.needed:
            return ""
        return (
            f"batch {self.batch} needs {self.needed:,} of {_robots(places)} baked "
            f"(success_share_min: {self.policy.success_share_min:g}), and {failed:,} failed"
        )

    @cached_property
    def new(self) -> frozenset[str]:
        """Robots that have not started and may have the release: those that have proven it, then free places."""
        if self.group.paused:
            return frozenset()
        returning = [look.robot for look in self.looks if look.may_return]
        return frozenset(returning if self.stop else [*returning, *self._next_ones()])

    def _next_ones(self) -> list[str]:
        online = [look.robot for look in self.looks if look.status is Status.WAITING and not look.may_return]
        online.sort(key=lambda robot: robot not in self.listed)  # stable: else in the order of the group
        return online[: max(0, self.size - self.started)]

    @property
    def install(self) -> tuple[str, ...]:
        """In the order of the group. A robot on which the release failed is never listed."""
        may_have = [look for look in self.looks if look.status in STARTED or look.robot in self.new]
        return tuple(look.robot for look in may_have if look.status is not Status.FAILED)

    @cached_property
    def statuses(self) -> dict[str, Status]:
        return {look.robot: self._status_of(look) for look in self.looks}

    def _status_of(self, look: _Look) -> Status:
        is_assigned = look.status is Status.WAITING and look.robot in self.new
        return Status.ASSIGNED if is_assigned else look.status

    def having(self, statuses: Iterable[Status]) -> list[_Look]:
        """The robots with one of some statuses, in the order of the group."""
        return [look for look in self.looks if self.statuses[look.robot] in statuses]


def _nothing(release: str | None, why: str, looks: Iterable[_Look]) -> Decision:
    return Decision(release, Phase.NOTHING, why, robots={look.robot: look.status for look in looks})


def _phase(progress: _Progress) -> tuple[Phase, str]:
    """The phase and why. What stops a rollout comes before what a person ordered."""
    if progress.stop:
        return Phase.STOPPED, _joined(progress.stop, _failed(progress), "nobody new may have it", _returning(progress))
    if progress.is_last and progress.has_succeeded and not progress.having(_UNFINISHED):
        return Phase.DONE, _complete(progress)
    if progress.group.paused:
        return Phase.PAUSED, _paused(progress)
    if progress.has_succeeded and not progress.is_last:
        return Phase.APPROVAL, _joined(_figures(progress), _next_batch(progress))
    return (Phase.BAKING if _is_baking(progress) else Phase.ROLLING), _joined(_figures(progress), *_waits_for(progress))


def _is_baking(progress: _Progress) -> bool:
    """Whether robots that have committed are all that the batch waits for."""
    committed = progress.having({Status.COMMITTED})
    is_moving = progress.having({Status.ASSIGNED, Status.IN_PROGRESS})
    return bool(committed) and not is_moving and progress.baked + len(committed) >= progress.needed


def _figures(progress: _Progress) -> str:
    baked = f"{progress.baked:,} of {_robots(progress.size)} baked, needed {progress.needed:,}"
    return f"batch {progress.batch} of {len(progress.sizes)}: {baked}"


def _complete(progress: _Progress) -> str:
    baked = f"{progress.baked:,} of {_robots(len(progress.looks))} baked"
    return _joined(baked, *_by_status(progress, (*FAILURES, *_OFF)))


def _paused(progress: _Progress) -> str:
    waiting = len(progress.having({Status.WAITING}))
    return _joined(
        _figures(progress),
        "paused: nobody new may have it",
        f"{_robots(waiting)} would be next" if waiting else "",
        *_by_status(progress, (Status.IN_PROGRESS, Status.COMMITTED, *FAILURES)),
    )


def _next_batch(progress: _Progress) -> str:
    following = progress.sizes[progress.batch]
    return f"batch {progress.batch + 1}, {_robots(following)} in all, waits for approval"


def _returning(progress: _Progress) -> str:
    """Robots that go back to a release, which no failure of others stops."""
    return _named("but back to it go", (look for look in progress.having({Status.ASSIGNED}) if look.may_return))


def _failed(progress: _Progress) -> str:
    """The robots on which it failed, and why on the first."""
    reason = next((look.reason for look in progress.looks if look.status is Status.FAILED), "")
    return _joined(
        *_by_status(progress, FAILURES),
        f"the first reports: {_one_line(reason)}" if reason else "",
    )


def _waits_for(progress: _Progress) -> list[str]:
    """Robots that the batch waits for, by what they do. A free place waits for a robot that is not there."""
    assigned = progress.having({Status.ASSIGNED})
    committed = progress.having({Status.COMMITTED})
    has_free_places = progress.started + sum(not look.may_return for look in assigned) < progress.size
    return [
        *_by_status(progress, (Status.IN_PROGRESS,)),
        _named("assigned", (look for look in assigned if not look.is_held), _window(progress.policy.window)),
        _named("held by their agents", (look for look in assigned if look.is_held)),
        _named(
            "committed",
            (look for look in committed if not look.is_off),
            f" (baked after {progress.policy.bake_s:g} s of health)",
        ),
        _named("committed, and off now", (look for look in committed if look.is_off)),
        *_by_status(progress, FAILURES),
        *(_by_status(progress, _OFF) if has_free_places else ()),
    ]


def _by_status(progress: _Progress, statuses: Iterable[Status]) -> list[str]:
    """The robots of some statuses, named by status in a fixed order."""
    return [_named(status, progress.having({status})) for status in Status if status in statuses]


def _named(what: str, looks: Iterable[_Look], note: str = "") -> str:
    robots = [look.robot for look in looks]
    return f"{what}: {listed(robots, _NAMED)}{note}" if robots else ""


def _window(window: WindowSpec | None) -> str:
    return f" (switch from {window.start:%H:%M} to {window.end:%H:%M} {window.timezone})" if window else ""


def _robots(count: int) -> str:
    return f"{count:,} {'robot' if count == 1 else 'robots'}"


def _one_line(text: str) -> str:
    """A robot's own words, cut where they are long."""
    line = escaped(" ".join(text.split()))
    return line if len(line) <= _REASON_MAX else f"{line[:_REASON_MAX]}..."


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))
