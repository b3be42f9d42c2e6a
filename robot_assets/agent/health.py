"""Whether what serves is healthy: a file that it touches, or a command that exits with 0.

The age of the file is measured without trust in the clock, which may be set while the robot runs: from one look to the
next, a change of its time is what counts, and the time since then is that of the monotonic clock. So a clock that jumps
forward makes nothing unhealthy beyond the next touch, and one that jumps back makes nothing healthy for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from robot_assets.agent.command import run
from robot_assets.agent.spec import HealthSpec, RobotSpec

Clock = Callable[[], float]

_JUMP_S, _DRIFT = 1.0, 1e-3
"""The clocks differ by more than this from look to look, and a share of the time: the wall clock was set, or the device
was suspended. A clock that is being adjusted drifts by half a millisecond a second (adjtime(3))."""


@dataclass(frozen=True)
class _Look:
    """One look at the health file.

    Attributes:
        mtime: Time of the file, seconds.
        wall: The wall clock.
        monotonic: The monotonic clock.
        age_s: Seconds since the file was touched, as well as they are known.
    """

    mtime: float
    wall: float
    monotonic: float
    age_s: float


class HealthWatch:
    """Looks at the health of what serves, and remembers the last look.

    Args:
        spec: How health is seen.
        since: Seconds since the epoch; a file that was not touched since then is that of what served before.
        clock: Monotonic seconds.
        wall: Seconds of the wall clock, which gives files their times.
    """

    def __init__(
        self, spec: HealthSpec, since: float = 0.0, clock: Clock = time.monotonic, wall: Clock = time.time
    ) -> None:
        self._spec = spec
        self._since = since
        self._clock = clock
        self._wall = wall
        self._last: _Look | None = None
        self._was_touched = False

    def check(self) -> str | None:
        """Why what serves is not healthy; None: it is."""
        return (self._file(self._spec.file) if self._spec.file else None) or self._command()

    def _file(self, path: Path) -> str | None:
        try:
            mtime = path.stat().st_mtime
        except OSError as error:
            return f"health file {path}: {error.strerror}"
        look = self._look(mtime)
        self._was_touched |= mtime > self._since if self._last is None else mtime != self._last.mtime
        self._last = look
        if look.age_s < 0:
            return f"health file {path} is dated {-look.age_s:.0f} s in the future and was not touched since"
        if not self._was_touched:
            return f"health file {path} was not touched since the switch"
        if look.age_s > self._spec.max_age_s:
            return f"health file {path} was touched {look.age_s:.1f} s ago, needed at most {self._spec.max_age_s:g} s"
        return None

    def _look(self, mtime: float) -> _Look:
        wall, monotonic, last = self._wall(), self._clock(), self._last
        if last is None:
            return _Look(mtime, wall, monotonic, wall - mtime)
        passed = monotonic - last.monotonic
        if mtime == last.mtime:
            # dated in the future at the first look: its age is not known, and it is not healthy until it is touched
            return _Look(mtime, wall, monotonic, last.age_s + passed if last.age_s >= 0 else last.age_s)
        has_jumped = abs(wall - last.wall - passed) > _JUMP_S + _DRIFT * passed
        return _Look(mtime, wall, monotonic, 0.0 if has_jumped else min(max(wall - mtime, 0.0), passed))

    def _command(self) -> str | None:
        if not self._spec.command:
            return None
        outcome = run(self._spec.command, self._spec.max_age_s)
        return None if outcome.code == 0 else outcome.what


def check(robot: RobotSpec, since: float = 0.0) -> str | None:
    """Why what serves is not healthy; None: it is, or ``robot.yaml`` does not say how that is seen.

    Args:
        robot: The robot.
        since: When what serves was started, seconds since the epoch.
    """
    return _watch(robot.health, since).check() if robot.health else None


@lru_cache(maxsize=8)
def _watch(spec: HealthSpec, since: float) -> HealthWatch:
    """One watch for each start of what serves: the time of the last look is compared with the next one."""
    return HealthWatch(spec, since)
