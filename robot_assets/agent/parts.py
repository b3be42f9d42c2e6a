"""What the agent of a robot calls and does not do itself. Each part can be replaced, by a test or a simulation."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from robot_assets.agent.device import Device, probe_device
from robot_assets.agent.spec import RobotSpec
from robot_assets.fleet.assignments import Recall
from robot_assets.fleet.reports import Report

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _verify(release: Path, robot: RobotSpec) -> None:
    from robot_assets.agent.verify_process import verify

    verify(release, robot)


def _recalled(release: Path, version: str, recalls: Iterable[Recall]) -> Recall | None:
    from robot_assets.fleet.recall import recalled

    return recalled(release, version, recalls)


def _prove(release: Path, robot: RobotSpec) -> None:
    from robot_assets.agent.prove import prove

    prove(release, robot)


def _why_unhealthy(robot: RobotSpec, since: float) -> str | None:
    from robot_assets.agent.health import check

    return check(robot, since)


def _why_busy(robot: RobotSpec) -> str | None:
    from robot_assets.agent.busy import check

    return check(robot)


def _on_switch(robot: RobotSpec) -> None:
    from robot_assets.agent.switch_command import run_on_switch

    run_on_switch(robot)


def _send(robot: RobotSpec, report: Report | None) -> bool:
    from robot_assets.agent.reporting import send

    return send(robot, report)


def _boot_id() -> str:
    return BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Parts:
    """The parts, with the real ones as default.

    Attributes:
        verify: Whether a downloaded release is what trusted keys have signed, within the budgets of the robot; raises
            a RobotAssetsError that says why not.
        prove: Gates of the robot on a release that is in place; raises a RobotAssetsError when one fails.
        why_unhealthy: Why what serves is not healthy; None: it is. Signs of life count from a time on (seconds since
            the epoch).
        why_busy: Why the robot must not switch now; None: it may.
        on_switch: Makes what serves load ``current``; raises an AgentError when that fails.
        recalled: The recall that a release on this robot, with its data version, falls under; None: none.
        send: Delivers a report, else keeps it; without a report, delivers the one that was kept. Whether none is left.
        device: What this device is.
        now: The robot's clock.
        monotonic: Seconds that only increase.
        boot_id: Changes with each start of the device.
        log: Writes a line to the log.
    """

    verify: Callable[[Path, RobotSpec], None] = _verify
    prove: Callable[[Path, RobotSpec], None] = _prove
    why_unhealthy: Callable[[RobotSpec, float], str | None] = _why_unhealthy
    why_busy: Callable[[RobotSpec], str | None] = _why_busy
    on_switch: Callable[[RobotSpec], None] = _on_switch
    recalled: Callable[[Path, str, Iterable[Recall]], Recall | None] = _recalled
    send: Callable[[RobotSpec, Report | None], bool] = _send
    device: Callable[[], Device] = probe_device
    now: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    boot_id: Callable[[], str] = _boot_id
    log: Callable[[str], None] = _log
