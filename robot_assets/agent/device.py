"""What this device is. Probed in a process of its own, since that imports the runtimes of engines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from robot_assets.core.text import escaped
from robot_assets.fleet.errors import AgentError
from robot_assets.release.bundle import Bundle

_PROBE = """
import json
from robot_assets.platforms.probe import probe
found = probe(require_runtime=False)
print(json.dumps({"fingerprint": found.fingerprint, "platform": found.as_json()}))
"""
_LONGEST_S = 120
AGE_MAX_S = 3600.0
MISFIT_AGE_MAX_S = 600.0
"""Where a release does not fit, the device is probed again sooner."""

_LONGEST_TEXT = 500
"""Of the facts of a device that a release states: they come from outside."""


@dataclass(frozen=True)
class Device:
    """A device.

    Attributes:
        fingerprint: Of its platform.
        platform: Its facts, as ``robot-assets platform probe --json``.
    """

    fingerprint: str
    platform: dict[str, Any] = field(default_factory=dict)


def probe_device() -> Device:
    """Probe the device that this process runs on.

    Raises:
        AgentError: The probe failed.
    """
    command = [sys.executable, "-c", _PROBE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(str(error)) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise _failed(lines[-1] if lines else f"exit code {done.returncode}")
    return Device(**json.loads(done.stdout.splitlines()[-1]))


class DeviceWatch:
    """Probes this device from time to time: it changes with an update of its software.

    Args:
        probe: Probes it.
        monotonic: Seconds that only increase.
    """

    def __init__(self, probe: Callable[[], Device], monotonic: Callable[[], float]) -> None:
        self._probe = probe
        self._monotonic = monotonic
        self._probed_at = 0.0
        self.last: Device | None = None

    def look(self, age_max_s: float = AGE_MAX_S) -> Device:
        """This device as it was within the last hour, or another time.

        Raises:
            AgentError: The probe failed.
        """
        now = self._monotonic()
        if self.last is None or now - self._probed_at > age_max_s:
            self.last, self._probed_at = self._probe(), now
        return self.last

    def misfit(self, bundle: Bundle, release: str) -> str:
        """Why a release is not for this device; empty: it is.

        Raises:
            AgentError: The probe failed.
        """
        for age_max_s in (AGE_MAX_S, MISFIT_AGE_MAX_S):
            here = self.look(age_max_s)
            if bundle.platform_fingerprint == here.fingerprint:
                return ""
        return f"release {release} is for another device: {differences(bundle.platform, here.platform)}"


def differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """The facts in which this device differs from the one that a release was built for."""
    differing = [
        f"{key} is {_shown(here.get(key))}, it was built for {_shown(there.get(key))}"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    ]
    shown = escaped("; ".join(differing)).replace("\n", " ")[:_LONGEST_TEXT]
    return shown or "the fingerprint is that of another device"


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _failed(why: str) -> AgentError:
    return AgentError(
        f"this device cannot be probed: {why}",
        needed="the facts of the device, with which engines are compared",
        fix="robot-assets platform probe",
    )
