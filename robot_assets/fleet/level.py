"""The version of a fleet: what its robots are to a rollout at one moment, as one digest.

Reports change all the time: the clock, the seconds of health, what an agent is doing. Nearly all of that decides
nothing. The version has what :func:`robot_assets.fleet.rollout.decide` distinguishes under the policy of the group, so
that it changes when a decision may change: something happened on a robot, or a timer of the policy has elapsed.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from robot_assets.fleet.reports import IN_PROGRESS, State

if TYPE_CHECKING:
    from robot_assets.fleet.received import Reports
    from robot_assets.fleet.reports import Received
    from robot_assets.fleet.spec import GroupSpec, RolloutSpec

_RENEWALS = 4
"""Times that the version changes by itself while a timestamp is valid. Assignments are published again once half of its
validity has passed, which a look at each quarter finds with a quarter to spare."""
_SHOWN = 20
_DIGITS = 12


def fleet_version(
    group: GroupSpec, robots: Sequence[str], reports: Mapping[str, Received], timestamp_days: float, now: datetime
) -> str:
    """The version of a fleet, 32 hexadecimal digits.

    Args:
        group: The group's entry in params.yaml.
        robots: Its enrolled robots, in its order.
        reports: The last report of each that counts.
        timestamp_days: Validity of the repository's timestamp.
        now: The present time, with a time zone.
    """
    renewals = int(now.timestamp() / (timestamp_days * 86_400 / _RENEWALS) + _offset(robots))
    levels = [[robot, _level(reports.get(robot), group.rollout, now)] for robot in robots]
    text = json.dumps([renewals, levels], sort_keys=True, separators=(",", ":"))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _offset(robots: Sequence[str]) -> float:
    """Spreads the renewals of groups over time: from 0 to 1."""
    digest = hashlib.md5("\n".join(robots).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4]) / 2**32


def _level(received: Received | None, policy: RolloutSpec, now: datetime) -> Any:
    """What matters of the last report of a robot."""
    if received is None:
        return None
    report, age_s = received.report, (now - received.received_at).total_seconds()
    is_moving = report.state in IN_PROGRESS
    return {
        "running": report.running,
        "working_on": report.working_on if is_moving else None,
        "state": report.state if is_moving or report.state is State.HELD else None,
        "baked": not is_moving and report.healthy_s >= policy.bake_s,
        "silent": is_moving and age_s > policy.silence_s,
        "off": age_s > policy.offline_s,
        "failed": sorted({failure.release for failure in report.failed}),
        "proven": sorted(report.proven),
        "fingerprint": report.fingerprint,
    }


def fleet_facts(
    group: GroupSpec, robots: Sequence[str], reports: Reports, now: datetime
) -> dict[str, int | str | list[str]]:
    """What is shown of a fleet: robots by release and by state, and the reports that do not count."""
    received = reports.received
    last = [received[robot] for robot in robots if robot in received]
    off = [one.report.robot for one in last if (now - one.received_at).total_seconds() > group.rollout.offline_s]
    named = {
        "robots by release": _counted(_short(one.report.running) for one in last),
        "robots by state": _counted(str(one.report.state) for one in last),
        "off": off,
        "never reported": [robot for robot in robots if robot not in received],
        "refused reports": [f"{name}: {reason}" for name, reason in reports.refused.items()],
        "remarks": [f"{robot}: {remark}" for robot, remark in reports.remarks.items()],
    }
    shown: dict[str, int | str | list[str]] = {title: _shortened(lines) for title, lines in named.items() if lines}
    return {"robots": len(robots), **shown}


def _counted(names: Iterable[str]) -> list[str]:
    return [f"{count} {name}" for name, count in sorted(Counter(names).items(), key=lambda one: (-one[1], one[0]))]


def _short(version: str | None) -> str:
    return version.removesuffix(".dir")[:_DIGITS] if version else "none"


def _shortened(lines: Sequence[str]) -> list[str]:
    """The first lines of many, and how many there are beyond."""
    rest = len(lines) - _SHOWN
    return [*lines[:_SHOWN], *([f"and {rest} more"] if rest > 0 else [])]
