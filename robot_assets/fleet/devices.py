"""What the robots of a target say that their devices are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from robot_assets.platforms.probe import Platform

if TYPE_CHECKING:
    from robot_assets.fleet.reports import Received, Report


@dataclass(frozen=True)
class ReportedDevice:
    """A device that robots have.

    Attributes:
        device: As they report it.
        robots: Their ids.
    """

    device: Platform
    robots: tuple[str, ...]


def reported_lately(received: Mapping[str, Received], offline_s: float, now: datetime) -> list[Report]:
    """The reports of robots that are not off."""
    return [one.report for one in received.values() if (now - one.received_at).total_seconds() <= offline_s]


def devices_of(reports: Iterable[Report]) -> tuple[ReportedDevice, ...]:
    """The devices in some reports, that of most robots first.

    A report whose platform this version cannot read, or whose fingerprint is that of another one, is left out: the
    robot runs another version of robot-assets, and no engine could be built for what is not known.
    """
    robots: dict[str, list[str]] = {}
    devices: dict[str, Platform] = {}
    for report in reports:
        if (device := _device(report)) is not None:
            devices[device.fingerprint] = device
            robots.setdefault(device.fingerprint, []).append(report.robot)
    found = [ReportedDevice(devices[name], tuple(sorted(names))) for name, names in robots.items()]
    return tuple(sorted(found, key=lambda one: (-len(one.robots), one.device.fingerprint)))


def most_common(devices: Sequence[ReportedDevice]) -> ReportedDevice | None:
    """The device that most robots have; None of none."""
    return devices[0] if devices else None


def _device(report: Report) -> Platform | None:
    try:
        device = Platform.model_validate(report.platform)
    except ValidationError:
        return None
    return device if device.fingerprint == report.fingerprint else None
