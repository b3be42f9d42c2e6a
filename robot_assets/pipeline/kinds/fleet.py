"""``fleet/<group>``: what the robots of a group report that they run. Observed; it holds no bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.text import plural
from robot_assets.fleet.errors import FleetError
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Observation, Observer, Sensor, Sighting, StageKind

if TYPE_CHECKING:
    from robot_assets.fleet.received import Reports
    from robot_assets.fleet.view import FleetView
    from robot_assets.pipeline.names import AssetName
    from robot_assets.pipeline.params import Params
    from robot_assets.pipeline.project import Project

MEMO = "fleet_reports"
"""Folder of what was verified of reports, in the state folder of the project. It is not inside the repository, whose
default place is beside it: whoever can write there must not be able to write what counts as verified."""


@dataclass(frozen=True)
class Reported:
    """One look at the reports of a group.

    Attributes:
        robots: Its enrolled robots, in its order.
        reports: Their reports.
        where: The repository, without credentials.
    """

    robots: tuple[str, ...]
    reports: Reports
    where: str


def stages(params: Params) -> Iterator[Stage]:
    """One for each group of robots."""
    for group in params.fleet.groups:
        yield Stage(names.fleet(group), KIND.name)


def observe(observer: Observer, name: AssetName) -> Sighting | None:
    """What the robots of a group are to a rollout now; None before there is a repository, and for a step.

    Raises:
        FleetError: The repository cannot be reached, or params.yaml and the enrolled robots do not agree.
    """
    from robot_assets.fleet.level import fleet_facts, fleet_version

    found = None if observer.is_step else reported(observer, name.group)
    if found is None:
        return None
    fleet, now = observer.project.params.fleet, datetime.now(UTC)
    entry = fleet.groups[name.group]
    version = fleet_version(entry, found.robots, found.reports.received, fleet.timestamp_days, now)
    count = plural(len(found.reports.received), "report")
    return Sighting(version, f"{count} in {found.where}", fleet_facts(entry, found.robots, found.reports, now))


def reported(observer: Observer, group: str) -> Reported | None:
    """The reports of a group, read once in a look; None before there is a repository. Raises FleetError."""
    return observer.once(f"reports of {group}", lambda: _read(observer, group))


def read_group(view: FleetView, group: str, state: Path) -> Reported:
    """The reports of a group in its repository.

    Args:
        view: The fleet.
        group: The group.
        state: State folder of the project, which remembers what was verified.

    Raises:
        FleetError: The repository cannot be reached, or params.yaml and the enrolled robots do not agree.
    """
    from robot_assets.fleet.received import read_reports

    robots, files = view.robots(group), view.repository.files
    return Reported(robots, read_reports(files, group, robots, view.keys, state / MEMO), files.name)


def _read(observer: Observer, group: str) -> Reported | None:
    view = observer.once("fleet", lambda: _reached(observer.project))
    if isinstance(view, FleetError):
        raise view
    return read_group(view, group, observer.project.state) if view.exists else None


def _reached(project: Project) -> FleetView | FleetError:
    """The fleet, or why its repository cannot be reached: the groups of one look do not all wait for it."""
    view = _view(project)
    try:
        view.exists  # noqa: B018  (read here, where an error is kept)
    except FleetError as error:
        return error
    return view


def _view(project: Project) -> FleetView:
    from robot_assets.fleet.view import FleetView

    return FleetView(project.root, project.params.fleet)


def _unseen(project: Project, name: AssetName) -> RobotAssetsError:
    return FleetError(
        f"{name} has not been reported: there is no distribution repository at {_view(project).repository.files.name}",
        needed="the repository that robots take releases from and report to",
        fix="robot-assets fleet init   # or correct fleet.url in params.yaml",
    )


def _nothing_to_open(project: Project, name: AssetName, version: str) -> Path:
    return project.root / "data" / "fleet"


KIND = StageKind(
    name="fleet",
    pattern=names.FLEET,
    group="fleet",
    traits=AssetTraits(role="Reports of robots", holds_bytes=False),
    stages=stages,
    observation=Observation(
        description="What the robots of a group report that they run, each report signed by its robot. A change makes "
        "the rollout of the group stale, as does a timer of its policy that has elapsed.",
        tools=("cpu",),
        sensor=Sensor(
            name="fleet_reports",
            description="Reads the signed reports of robots in the distribution repository, for every group of "
            "fleet.groups. A change is recorded as an observation of fleet/<group>.",
            noun="fleet",
            idle="no fleet.groups in params.yaml",
            intervals=2,  # so that this look and the one of stale_assets after it fit into two of its intervals
        ),
        observe=observe,
        unseen=_unseen,
        reports_itself=lambda project, name: False,
        require_available=lambda project, name, version: None,
        open=_nothing_to_open,
        shows_changes=True,
    ),
)
