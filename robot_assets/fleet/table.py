"""A rollout as rows of text, for the page and the terminal: what each robot runs, how long, and why not the release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from robot_assets.core.text import escaped
from robot_assets.fleet.reports import State
from robot_assets.fleet.rollout import Phase, Status

if TYPE_CHECKING:
    from robot_assets.fleet.reports import Received, Report
    from robot_assets.fleet.rollout import Decision
    from robot_assets.fleet.spec import GroupSpec

DIGITS = 12
_REASON_MAX = 200
_UNITS = (("day", 86_400), ("h", 3600), ("min", 60), ("s", 1))

MOST_NOTABLE_FIRST = (
    Status.FAILED,
    Status.SILENT,
    Status.IN_PROGRESS,
    Status.ASSIGNED,
    Status.COMMITTED,
    Status.OFFLINE,
    Status.UNKNOWN,
    Status.WAITING,
    Status.BAKED,
)
"""Which robots a table has that is too short for all."""


def rows(
    decision: Decision,
    group: GroupSpec,
    reports: Mapping[str, Received],
    now: datetime,
    *,
    at_most: int | None = None,
) -> dict[str, dict[str, str]]:
    """One row for each robot, by its id, in the order of the group: column title -> cell.

    Args:
        decision: The decision that is shown.
        group: The group's entry in params.yaml.
        reports: The last verified report of each robot.
        now: The present time, with a time zone.
        at_most: Robots in the table, those first that need attention; None: all.
    """
    shown = notable(decision, at_most)
    return {robot: _row(robot, decision, group, reports.get(robot), now) for robot in decision.robots if robot in shown}


def notable(decision: Decision, at_most: int | None = None) -> frozenset[str]:
    """The robots that need attention most: failed and silent ones, then those that are on their way."""
    order = sorted(decision.robots, key=lambda robot: MOST_NOTABLE_FIRST.index(decision.robots[robot]))
    return frozenset(order[:at_most])


def left_out(decision: Decision, at_most: int | None) -> str:
    """The robots that a table of ``at_most`` rows lacks, such as ``150 more robots: 120 baked, 30 waiting``."""
    shown = notable(decision, at_most)
    rest = [status for robot, status in decision.robots.items() if robot not in shown]
    return f"{len(rest):,} more robot{'' if len(rest) == 1 else 's'}: {counted_statuses(rest)}" if rest else ""


def counted_statuses(statuses: list[Status]) -> str:
    """Statuses with their numbers in a fixed order: ``2 failed, 1,200 baked``."""
    counts = Counter(statuses)
    return ", ".join(f"{counts[status]:,} {status}" for status in MOST_NOTABLE_FIRST if counts[status])


def _row(robot: str, decision: Decision, group: GroupSpec, received: Received | None, now: datetime) -> dict[str, str]:
    report = received.report if received else None
    age_s = (now - received.received_at).total_seconds() if received else 0
    return {
        "status": decision.robots[robot],
        "release": _digits(report.running if report else None),
        "healthy": duration(report.healthy_s) if report and report.running else "",
        "last seen": f"{duration(age_s)} ago" if received else "never",
        "why not": why_not(robot, decision, group, received, now),
    }


def why_not(robot: str, decision: Decision, group: GroupSpec, received: Received | None, now: datetime) -> str:
    """Why a robot is not baked, in a few words; empty where it is. The words of robots are escaped."""
    if received is None:
        return "its agent has not reported yet"
    report, age_s = received.report, (now - received.received_at).total_seconds()
    match decision.robots[robot]:
        case Status.FAILED:
            return _own_words(next((one.reason for one in report.failed if one.release == decision.release), ""))
        case Status.SILENT:
            return f"no report for {duration(age_s)} while {report.state}"
        case Status.OFFLINE:
            was_ready = report.state is State.PREPARED and report.working_on == decision.release
            return f"no report for {duration(age_s)}{', since it was ready to switch' if was_ready else ''}"
        case Status.COMMITTED:
            health = f"healthy for {duration(report.healthy_s)} of {duration(group.rollout.bake_s)}"
            return f"{health}; no report for {duration(age_s)}" if age_s > group.rollout.offline_s else health
        case Status.IN_PROGRESS | Status.ASSIGNED | Status.WAITING as status:
            return _agent_says(report) or (report.state if status is Status.IN_PROGRESS else _turn(decision, status))
        case _:
            return ""


def _turn(decision: Decision, status: Status) -> str:
    """Why a robot that could take the release has not taken it."""
    if status is Status.ASSIGNED:
        return "has not switched yet"
    if decision.phase in (Phase.NOTHING, Phase.PAUSED, Phase.STOPPED, Phase.APPROVAL):
        return decision.phase
    return f"has no place in batch {decision.batch} of {decision.batches}"


def _agent_says(report: Report) -> str:
    """What an agent that holds or waits says of it."""
    said = _own_words(report.why)
    return f"{report.state}: {said}" if said and report.state is State.HELD else said


def _own_words(text: str) -> str:
    """The words of a robot on one line, cut where they are long."""
    line = escaped(" ".join(text.split()))
    return line if len(line) <= _REASON_MAX else f"{line[:_REASON_MAX]}..."


def _digits(version: str | None) -> str:
    return escaped(version.removesuffix(".dir")[:DIGITS]) if version else "none"


def duration(seconds: float) -> str:
    """A time of the two largest units that it has: ``45 s``, ``12 min``, ``3 h 20 min``, ``40 days``."""
    whole = max(0, int(seconds))
    for (unit, length), (smaller, smaller_length) in pairwise(_UNITS):
        if whole >= length:
            count, rest = divmod(whole, length)
            shown = f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
            is_coarse = count >= 10 or unit == "min"
            return shown if is_coarse or not rest // smaller_length else f"{shown} {rest // smaller_length} {smaller}"
    return f"{whole} s"
