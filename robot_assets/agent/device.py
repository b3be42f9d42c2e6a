"""What this device is. Probed in a process of its own, since that imports the runtimes of engines."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from robot_assets.fleet.errors import AgentError

_PROBE = """
import json
from robot_assets.platforms.probe import probe
found = probe(require_runtime=False)
print(json.dumps({"fingerprint": found.fingerprint, "platform": found.as_json()}))
"""
_LONGEST_S = 120


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


def differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """The facts in which this device differs from the one that a release was built for."""
    differing = [
        f"{key} is {_shown(here.get(key))}, it was built for {_shown(there.get(key))}"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    ]
    return "; ".join(differing) or "the fingerprint is that of another device"


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
