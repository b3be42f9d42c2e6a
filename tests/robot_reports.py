"""Verified reports of robots, for tests of what is decided from them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from robot_assets.fleet.reports import Failure, Received, Report, State

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
OLD = f"{'0' * 32}.dir"
NEW = f"{'1' * 32}.dir"
BAKED_S = 1e6


def received(robot: str, running: str | None = OLD, *, age_s: float = 10, **given: Any) -> Received:
    """The last report of a robot, received some seconds before ``NOW``."""
    fields = {"state": State.IDLE if running is None else State.COMMITTED, "sequence": 1, "fingerprint": "f" * 64}
    at = NOW - timedelta(seconds=age_s)
    report = Report(robot=robot, group="delivery", at=at.isoformat(), running=running, **{**fields, **given})
    return Received(report, at)


def waiting(robot: str, **given: Any) -> Received:
    """A robot that runs the old release."""
    return received(robot, OLD, **given)


def baked(robot: str, **given: Any) -> Received:
    """A robot that has run the new release healthily for a long time."""
    return received(robot, NEW, **{"healthy_s": BAKED_S, "proven": (OLD, NEW), **given})


def committed(robot: str, **given: Any) -> Received:
    """A robot that has just committed to the new release."""
    return received(robot, NEW, **{"proven": (OLD, NEW), **given})


def proving(robot: str, **given: Any) -> Received:
    """A robot that has switched to the new release."""
    return received(robot, NEW, **{"state": State.PROVING, "working_on": NEW, "proven": (OLD,), **given})


def failed(robot: str, reason: str = "answers differ", **given: Any) -> Received:
    """A robot that went back from the new release."""
    return received(robot, OLD, **{"failed": (Failure(release=NEW, reason=reason),), "proven": (OLD,), **given})
