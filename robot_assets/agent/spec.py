"""``robot.yaml``: what a robot is, where its releases come from, and what it demands of them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from robot_assets.core.spec import Spec
from robot_assets.fleet.spec import BudgetsSpec

DEFAULT_PATH = Path("/etc/robot-assets/robot.yaml")


class HealthSpec(Spec):
    """How the agent sees that what serves is healthy: a file that is touched, or a command that exits with 0."""

    file: Path | None = None
    max_age_s: float = Field(default=10, gt=0, description="age of the file beyond which what serves is not healthy")
    command: tuple[str, ...] = ()
    start_s: float = Field(default=60, ge=0, description="time in which what serves has to become healthy again")


class BusySpec(Spec):
    """When the robot must not switch: a file exists, or a command exits with 0."""

    file: Path | None = None
    command: tuple[str, ...] = ()


class RobotSpec(Spec):
    """The content of ``robot.yaml``.

    Attributes:
        robot: Its id, as enrolled.
        group: Its group.
        url: The distribution repository: https://, s3://, file:// or a folder.
        reports_url: Where reports go; None: ``reports`` below ``url``.
        root: File with the root metadata that the robot starts to trust (``robot-assets fleet init`` writes it).
        key: File with the robot's own private key.
        trusted_keys: Whose signatures on engines count (``provenance.trusted_keys``).
        state: Folder of sets, metadata and state.
        poll_s: Seconds between two polls; jittered.
        report_s: Longest time between two reports.
        bandwidth_mib_s: Limit of downloads; None: none.
        reserve_mib: Free space that a download has to leave.
        budgets: Budgets of this robot: the gates of an engine have to have been at least as tight.
        health: How health is seen; None: the gates of the switch alone decide.
        busy: When the robot must not switch.
        on_switch: Command that makes what serves load ``current``.
    """

    robot: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")
    group: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    url: str
    reports_url: str | None = None
    root: Path
    key: Path
    trusted_keys: tuple[str, ...] = Field(min_length=1)
    state: Path = Path("/var/lib/robot-assets")
    poll_s: float = Field(default=60, gt=0)
    report_s: float = Field(default=300, gt=0)
    bandwidth_mib_s: float | None = Field(default=None, gt=0)
    reserve_mib: float = Field(default=256, ge=0)
    budgets: BudgetsSpec = BudgetsSpec()
    health: HealthSpec | None = None
    busy: BusySpec | None = None
    on_switch: tuple[str, ...] = ()
