"""Rollout as a level: a pure function of the desired release, what robots reported, the policy and the present time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robot_assets.fleet.reports import Received
    from robot_assets.fleet.spec import GroupSpec


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
    """

    release: str | None
    phase: Phase
    why: str
    batch: int = 0
    batches: int = 0
    install: tuple[str, ...] = ()
    robots: Mapping[str, Status] = field(default_factory=dict)


def decide(
    release: str | None, group: GroupSpec, robots: Sequence[str], reports: Mapping[str, Received], now: datetime
) -> Decision:
    """Who may have ``release`` now.

    Args:
        release: The desired release: data version of ``release/<group>``; None: it has none that passed its gate.
        group: The group's entry in params.yaml: policy, ``paused``, ``approved``.
        robots: Enrolled robots of the group, in the order of the group: canaries first.
        reports: The last verified report of each robot that ever reported, by robot.
        now: The present time, with a time zone.
    """
    raise NotImplementedError
